package server

import (
	"sync"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// ledger remembers when hits were taken, because a store gives back by the reading at which it took, and Envoy's refunds name
// none. It is in memory and bounded: what it has forgotten is not given back, which errs on the strict side.
type ledger struct {
	mu    sync.Mutex
	books map[ledgerKey][]takenHits
}

type ledgerKey struct {
	rule string
	key  limiter.Key
}

type takenHits struct {
	at   time.Time
	cost int64
}

const (
	maxBooks   = 1 << 16 // counters
	maxEntries = 64      // of a counter, the newest
)

func newLedger() *ledger { return &ledger{books: make(map[ledgerKey][]takenHits)} }

func (l *ledger) add(c limiter.Charge, at time.Time) {
	k := ledgerKey{c.Rule.Limit().Name, c.Key}
	l.mu.Lock()
	defer l.mu.Unlock()
	book, known := l.books[k]
	if !known && len(l.books) >= maxBooks {
		for other := range l.books { // any
			delete(l.books, other)
			break
		}
	}
	if len(book) == maxEntries {
		book = append(book[:0], book[1:]...)
	}
	l.books[k] = append(book, takenHits{at, c.Cost})
}

// pop takes out c.Cost of the oldest hits after a time.
func (l *ledger) pop(c limiter.Charge, after time.Time) []takenHits {
	k, want := ledgerKey{c.Rule.Limit().Name, c.Key}, c.Cost
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []takenHits
	book := l.books[k]
	for len(book) > 0 {
		t := &book[0]
		if t.at.After(after) { // the others have run out
			if want == 0 {
				break
			}
			n := min(t.cost, want)
			out = append(out, takenHits{t.at, n})
			want, t.cost = want-n, t.cost-n
			if t.cost > 0 {
				break
			}
		}
		book = book[1:]
	}
	if len(book) == 0 {
		delete(l.books, k)
	} else {
		l.books[k] = book
	}
	return out
}
