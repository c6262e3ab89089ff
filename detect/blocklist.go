package detect

import (
	"sort"
	"sync"
)

// blocklist lists the blocks in force. The tables decide; the list is what an operator sees. It has a fixed number of places: a
// block that finds none is in force all the same, and is not listed.
type blocklist struct {
	mu     sync.Mutex
	rows   []blockRow
	next   int
	lastID uint64
	alerts []Alert
	seq    uint64
}

type blockRow struct {
	Block
	hash  uint64 // of the cell
	until tick
	used  bool
}

// add lists a block and returns its place plus one, 0 when there is no room.
func (l *blocklist) add(b Block, hash uint64, until, now tick) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID++
	b.ID = l.lastID
	l.alert(b.Since, b.Signal, "")
	for range min(len(l.rows), listProbes) {
		i := l.next
		if l.next++; l.next == len(l.rows) {
			l.next = 0
		}
		if r := &l.rows[i]; !r.used || r.until <= now {
			*r = blockRow{Block: b, hash: hash, until: until, used: true}
			return uint32(i) + 1
		}
	}
	return 0
}

// blockPlace is where a block may be listed; the zero value is nowhere.
type blockPlace struct {
	place uint32 // plus one
	hash  uint64 // of the cell
}

// at finds the row of a block, nil where it is not listed. The list is locked.
func (l *blocklist) at(b blockPlace) *blockRow {
	if b.place == 0 {
		return nil
	}
	if r := &l.rows[b.place-1]; r.used && r.hash == b.hash {
		return r
	}
	return nil
}

// extend moves the end of a block that an attempt met. One in shadow decides nothing, so it counts each.
func (l *blocklist) extend(b blockPlace, until tick, nanos int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.at(b); r != nil {
		r.until, r.Until = until, nanos
		if r.Shadow {
			r.Stopped++
		}
	}
}

// stopped counts a send for the block that decided it: a send meets the blocks of a number, its ranges and its country at once.
func (l *blocklist) stopped(b blockPlace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.at(b); r != nil && !r.Shadow {
		r.Stopped++
	}
}

// end takes a block off the list and returns how many sends it stopped.
func (l *blocklist) end(b blockPlace) (stopped uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.at(b); r != nil {
		r.used = false
		return r.Stopped
	}
	return 0
}

func (l *blocklist) list(at int64) []Block {
	l.mu.Lock()
	var all []Block
	for i := range l.rows {
		if r := &l.rows[i]; r.used && r.Until > at {
			all = append(all, r.Block)
		}
	}
	l.mu.Unlock()
	sort.Slice(all, func(i, j int) bool { return all[i].ID > all[j].ID })
	return all
}

// get finds a block by its ID.
func (l *blocklist) get(id uint64) (row blockRow, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		if r := &l.rows[i]; r.used && r.ID == id {
			return *r, true
		}
	}
	return blockRow{}, false
}

// listProbes bounds the search for a free place: a full list must not slow down a busy hour.
const listProbes = 32

const alertsKept = 1024

// alert is called with the list locked.
func (l *blocklist) alert(at int64, s Signal, text string) {
	l.seq++
	a := Alert{Seq: l.seq, At: at, Signal: s, Text: text}
	if len(l.alerts) < alertsKept {
		l.alerts = append(l.alerts, a)
		return
	}
	l.alerts[(l.seq-1)%alertsKept] = a
}

// say raises an alert about the engine itself.
func (l *blocklist) say(at int64, s Signal, text string) {
	l.mu.Lock()
	l.alert(at, s, text)
	l.mu.Unlock()
}

func (l *blocklist) after(seq uint64) []Alert {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Alert
	for s := max(seq+1, l.seq-min(l.seq, uint64(len(l.alerts)))+1); s <= l.seq; s++ {
		out = append(out, l.alerts[(s-1)%alertsKept])
	}
	return out
}

// remove takes a block off the list by its ID.
func (l *blocklist) remove(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		if r := &l.rows[i]; r.used && r.ID == id {
			r.used = false
		}
	}
}
