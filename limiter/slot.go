package limiter

import (
	"math/bits"
	"sync/atomic"
)

// A slot's tag says whose it is: 48 bits of the key's fingerprint and 16 bits of bank. With the home, which comes from the
// other half of the key, more than 64 bits name a key.
const (
	bankBits     = 16
	bankMask     = 1<<bankBits - 1
	reservedBank = bankMask // being given to a key; the bits above hold the generation of who does it
	emptyTag     = 0        // never used: no key lies beyond it
)

func tagOf(k Key, bank uint16) uint64 { return k.Fingerprint&^bankMask | uint64(bank) }

func (t *Table) reservedTag() uint64 { return t.gen>>genShift<<bankBits | reservedBank }

// home is the index of the tag word of the first slot where a key may lie. The reach from it never leaves the region. The bank
// is mixed in, or a key that has more banks than a reach has slots would find its own reach full.
func (t *Table) home(p *place, k Key) int64 {
	at := k.Place + uint64(p.bank)*0x9e3779b97f4a7c15
	hi, _ := bits.Mul64(at, uint64(t.geo.slots[p.class]-classReach[p.class]+1))
	return t.base[p.class] + int64(hi)*classWords[p.class]
}

// find returns the index of the tag word of a key's slot, or 0. A key lies before the first empty slot from its home: slots are
// never emptied again, only given to another key.
func (t *Table) find(p *place, k Key) int64 {
	tag := tagOf(k, p.bank)
	i := t.home(p, k)
	step := classWords[p.class]
	for range classReach[p.class] {
		switch load(&t.mem[i]) {
		case tag:
			return i
		case emptyTag:
			return 0
		}
		i += step
	}
	return 0
}

// insert returns the slot of a key, made if need be, and the reading from which its words are free: lo, or the floor if that is
// later. It returns 0 where every slot in reach is in use.
func (t *Table) insert(r *tableRule, k Key, lo int64) (slot, from int64) {
	tag := tagOf(k, r.bank)
	first := t.home(&r.place, k)
	step := classWords[r.class]
	mu := &t.making[uint64(first/step)/64%makingLocks]
	mu.Lock()
	defer mu.Unlock()

	// The key may have come while we waited; only then may a slot before it be taken.
	end, candidates := first+classReach[r.class]*step, int64(0)
	for i := first; i < end; i += step {
		w := load(&t.mem[i])
		if w == tag {
			return i, lo
		}
		if candidates == 0 && t.spent(i, w, lo) {
			candidates = i
		}
		if w == emptyTag {
			break
		}
	}
	if candidates == 0 {
		return 0, lo
	}
	for i := candidates; i < end; i += step {
		if !t.vacate(i, lo) {
			continue
		}
		// Order matters: vacate has raised the floor before it made the old key absent, so whoever brings that key back
		// sees the floor.
		from = max(lo, int64(atomic.LoadUint64(&t.life.floor)))
		if (*t.banks.Load())[r.bank].past.width > 0 {
			t.initBuckets(i, from/r.width)
		} else {
			for j := i + 1; j < i+step; j++ {
				store(&t.mem[j], vacant|uint64(from))
			}
		}
		store(&t.mem[i], tag)
		return i, from
	}
	return 0, lo
}

// spent says that a slot looks free for another key, by reading lo.
func (t *Table) spent(slot int64, tag uint64, lo int64) bool {
	bank := tag & bankMask
	switch {
	case tag == emptyTag:
		return true
	case bank == reservedBank:
		return tag != t.reservedTag() // left by a process that died
	}
	banks := *t.banks.Load()
	if bank >= uint64(len(banks)) {
		return false
	}
	b := &banks[bank]
	if b.past.width > 0 {
		return t.bucketsSpent(slot, b.past, lo)
	}
	for j := int64(1); j < classWords[b.class]; j++ {
		if !t.wordSpent(load(&t.mem[slot+j]), b.forgetOf(j), lo) {
			return false
		}
	}
	return true
}

func (b *bankView) forgetOf(word int64) int64 {
	if b.forget == nil {
		return 0
	}
	return b.forget[word]
}

// wordSpent says that a word may be forgotten. Its held-until must lie before the reading, not at it, so that the word that
// takes its place is a later one and no CAS can mistake the two. An undecided word of a dead process says nothing, except that
// a delay word still tells how many charges came before (forget is more than 0 only for these).
func (t *Table) wordSpent(w uint64, forget, lo int64) bool {
	if w&undecided != 0 && w&genMask != t.gen && forget == 0 {
		return true
	}
	return until(w)+forget < lo
}

// vacate makes a spent slot nobody's: it takes its words away from whoever still looks at them and marks the tag reserved. It
// reports false where the slot is in use after all, and leaves it as it was.
func (t *Table) vacate(slot int64, lo int64) bool {
	tag := load(&t.mem[slot])
	if !t.spent(slot, tag, lo) {
		return false
	}
	if bank := tag & bankMask; tag == emptyTag || bank == reservedBank {
		if !cas(&t.mem[slot], tag, t.reservedTag()) {
			return false // another inserter was first
		}
		if tag == emptyTag {
			atomic.AddUint64(&t.life.occupied, 1)
		}
		return true
	}
	b := &(*t.banks.Load())[tag&bankMask]
	var ok bool
	var latest int64
	if b.past.width > 0 {
		latest, ok = t.takeBuckets(slot, tag, b.past, lo)
	} else {
		latest, ok = t.takeWords(slot, tag, b, lo)
	}
	if !ok {
		return false
	}
	raise(&t.life.floor, uint64(latest))
	store(&t.mem[slot], t.reservedTag())
	t.recycled.Add(1)
	return true
}

// takeWords takes away every word of a slot, or none, and returns the latest held-until among them.
func (t *Table) takeWords(slot int64, tag uint64, b *bankView, lo int64) (latest int64, ok bool) {
	var old [63]uint64
	n := classWords[b.class] - 1
	for j := range n {
		p := &t.mem[slot+1+j]
		w := load(p)
		// Order matters: with the tag read after it the first word is the one we judge by, and whoever has it has the slot. In a
		// slot that changed hands the words may be buckets.
		if j == 0 && load(&t.mem[slot]) != tag {
			return 0, false
		}
		if t.wordSpent(w, b.forgetOf(j+1), lo) && cas(p, w, undecided|t.gen|nextStamp(w)|untilMask) {
			old[j] = w
			// Not what a dead process left. A living check whose claim lapsed may still be answered.
			if w&undecided == 0 || w&genMask == t.gen || b.forgetOf(j+1) > 0 {
				latest = max(latest, until(w)+b.forgetOf(j+1))
			}
			continue
		}
		t.giveBack(slot, b, old[:j], lo)
		return 0, false
	}
	return latest, true
}

// giveBack puts back words that were taken away. A claim among them has lapsed, and its check could not decide it meanwhile: it
// counts as decided, held until its end by an older reading.
func (t *Table) giveBack(slot int64, b *bankView, old []uint64, lo int64) {
	for j, w := range old {
		if w&undecided != 0 && b.forgetOf(int64(j+1)) == 0 {
			w = freed(w, lo, nextStamp(w))
		}
		store(&t.mem[slot+1+int64(j)], w) // nobody else writes a word that is taken away
	}
}
