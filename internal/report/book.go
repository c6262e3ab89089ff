package report

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// Bounds of a book.
const (
	// MaxRows is how many rules, candidates and detectors are told apart.
	MaxRows = 512
	// KeptHours is how many hours a row remembers one by one: a fortnight. Its total is of all time.
	KeptHours = 14 * 24
	// MaxGroups is how many countries, and how many accounts, a row tells apart. The rest are counted as [Other].
	MaxGroups = 64
	// Other is the name of the rest.
	Other = "other"
)

// Tally counts sends. Amounts are millionths of a currency.
type Tally struct {
	Judged int64 `json:"judged,omitempty"`
	// Denied and Challenged went out and would not have, and Money is what they cost. Of a live rule: it did stop them.
	Denied     int64 `json:"denied,omitempty"`
	Challenged int64 `json:"challenged,omitempty"`
	Money      int64 `json:"money,omitempty"`
	// Of those, what was verified or failed later.
	Verified      int64 `json:"verified,omitempty"`
	VerifiedMoney int64 `json:"verified_money,omitempty"`
	Failed        int64 `json:"failed,omitempty"`
	// Freed were stopped by the live rule alone, and the candidate would have let them pass.
	Freed      int64 `json:"freed,omitempty"`
	FreedMoney int64 `json:"freed_money,omitempty"`
}

// Stopped is how many sends would have been stopped, by a denial or a challenge.
func (t *Tally) Stopped() int64 { return t.Denied + t.Challenged }

func (t *Tally) add(o *Tally) {
	t.Judged += o.Judged
	t.Denied += o.Denied
	t.Challenged += o.Challenged
	t.Money += o.Money
	t.Verified += o.Verified
	t.VerifiedMoney += o.VerifiedMoney
	t.Failed += o.Failed
	t.Freed += o.Freed
	t.FreedMoney += o.FreedMoney
}

// Check is one send as a row sees it.
type Check struct {
	At time.Time // of the check, also for what became of it
	// At most one of them is set. None: the rule lets it pass.
	Denied, Challenged, Freed bool
	Country, Account          string
	Money                     int64
}

// Book is all rows. Every method is safe for concurrent use.
type Book struct {
	mu        sync.Mutex
	rows      map[uint32]*Row
	forgotten int64
}

// New makes an empty book.
func New() *Book { return &Book{rows: make(map[uint32]*Row)} }

// ID is what a row is called where there is room for a number only.
func ID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

// Row finds or makes the row of a name. It is nil, and counts nothing, where the book is full or another name has the same ID.
func (b *Book) Row(name string) *Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := ID(name)
	r := b.rows[id]
	switch {
	case r != nil && r.name == name:
		return r
	case r != nil || len(b.rows) >= MaxRows:
		b.forgotten++
		return nil
	}
	r = &Row{name: name, id: id}
	b.rows[id] = r
	return r
}

// Retire forgets rows that never counted: they are of a policy that was tried. Whoever holds one asks for it again.
func (b *Book) Retire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.rows {
		if r.empty() {
			delete(b.rows, id)
		}
	}
}

// Find is the row of an ID, nil where there is none.
func (b *Book) Find(id uint32) *Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rows[id]
}

// Forgotten is how often a row found no room.
func (b *Book) Forgotten() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.forgotten
}

// Entries is a copy of all rows by name, of the checks of an hour that ends after since. The zero time: of all that is remembered.
func (b *Book) Entries(since time.Time) []Entry {
	b.mu.Lock()
	rows := make([]*Row, 0, len(b.rows))
	for _, r := range b.rows {
		rows = append(rows, r)
	}
	b.mu.Unlock()
	out := make([]Entry, len(rows))
	for i, r := range rows {
		out[i] = r.entry(since)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
