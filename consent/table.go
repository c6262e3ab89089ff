package consent

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// table finds what is known of a person in one cache miss. It holds tens of millions of slots of 24 bytes without pointers,
// filled to 80 % at most, so that an entry takes 30 bytes at most and 24 at least.
//
// A person's slots lie behind one another from where its seal points: whatever scopes they are for, one look finds them all.
// Seals are keyed, so nobody outside can aim at a place. Each of the parts has a lock of its own: readers share it, and a
// change of one entry stops a 256th of them for some nanoseconds.
type table struct {
	parts [256]part
}

type part struct {
	mu    sync.RWMutex
	slots []slot
	used  int
}

// slot says that something holds for a person in a scope since a second. Scope 0 is an empty slot.
type slot struct {
	seal  seal
	scope scopeID
	since uint32 // Unix seconds, to the year 2106
}

func (t *table) part(s *seal) *part { return &t.parts[s[0]] }

// home spreads seals over the slots in the order of their bits, so that growing keeps neighbours.
func (p *part) home(s *seal) int {
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(s[1:9]), uint64(len(p.slots)))
	return int(hi)
}

// look appends the person's slots to found.
func (t *table) look(s *seal, found []slot) []slot {
	p := t.part(s)
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.used == 0 {
		return found
	}
	for i := p.home(s); p.slots[i].scope != 0; i = p.after(i) {
		if p.slots[i].seal == *s {
			found = append(found, p.slots[i])
		}
	}
	return found
}

// has says that something holds for a person in a scope.
func (t *table) has(s *seal, scope scopeID) bool {
	p := t.part(s)
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.used == 0 {
		return false
	}
	_, ok := p.find(s, scope)
	return ok
}

// put enters a slot or changes what it says.
func (t *table) put(e slot) {
	p := t.part(&e.seal)
	p.mu.Lock()
	defer p.mu.Unlock()
	if 5*(p.used+1) > 4*len(p.slots) {
		p.resize(max(8, len(p.slots)+len(p.slots)/4))
	}
	if at, ok := p.find(&e.seal, e.scope); ok {
		p.slots[at].since = e.since
	} else {
		p.slots[at] = e
		p.used++
	}
}

// drop takes a slot out and says whether it was there.
func (t *table) drop(s *seal, scope scopeID) bool {
	p := t.part(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == 0 {
		return false
	}
	hole, ok := p.find(s, scope)
	if !ok {
		return false
	}
	// Who was pushed over this place moves back, so that no search ends at the hole too early.
	for i := p.after(hole); p.slots[i].scope != 0; i = p.after(i) {
		home := p.home(&p.slots[i].seal)
		if p.distance(home, i) >= p.distance(hole, i) {
			p.slots[hole], hole = p.slots[i], i
		}
	}
	p.slots[hole] = slot{}
	p.used--
	return true
}

// each calls yield for a copy of every slot, part by part, until it returns false.
func (t *table) each(yield func(slot) bool) {
	var copied []slot
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.RLock()
		copied = append(copied[:0], p.slots...)
		p.mu.RUnlock()
		for _, e := range copied {
			if e.scope != 0 && !yield(e) {
				return
			}
		}
	}
}

// become makes a table what another is, which nobody uses any more.
func (t *table) become(other *table) {
	for i := range t.parts {
		p, o := &t.parts[i], &other.parts[i]
		p.mu.Lock()
		p.slots, p.used = o.slots, o.used
		p.mu.Unlock()
	}
}

// size is how many entries there are, and the bytes that they take.
func (t *table) size() (entries, bytes int) {
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.RLock()
		entries, bytes = entries+p.used, bytes+24*len(p.slots)
		p.mu.RUnlock()
	}
	return entries, bytes
}

func (p *part) find(s *seal, scope scopeID) (at int, ok bool) {
	at = p.home(s)
	for ; p.slots[at].scope != 0; at = p.after(at) {
		if p.slots[at].seal == *s && p.slots[at].scope == scope {
			return at, true
		}
	}
	return at, false
}

func (p *part) after(i int) int {
	if i++; i == len(p.slots) {
		return 0
	}
	return i
}

// distance is how far a slot lies behind another.
func (p *part) distance(from, to int) int {
	if to < from {
		to += len(p.slots)
	}
	return to - from
}

func (p *part) resize(n int) {
	old := p.slots
	p.slots = make([]slot, n)
	for i := range old {
		if old[i].scope != 0 {
			at, _ := p.find(&old[i].seal, old[i].scope)
			p.slots[at] = old[i]
		}
	}
}
