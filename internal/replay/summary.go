package replay

import (
	"cmp"
	"slices"
	"time"
)

// Word is what became of a send.
type Word uint8

// The words, from the mildest.
const (
	Allowed Word = iota
	Flagged
	Challenged
	Denied
	words
)

// String returns "allow", "flag", "challenge" or "deny".
func (w Word) String() string { return [...]string{"allow", "flag", "challenge", "deny"}[w] }

// Stops says that the send did not go out as it was asked.
func (w Word) Stops() bool { return w >= Challenged }

// Tally counts sends. Money is in millionths of the currency of the prices; 0 without.
type Tally struct {
	Sends, Money int64
	// Verified are those that the log says were verified: of stopped ones, people who would have been hurt.
	Verified, VerifiedMoney int64
}

func (t *Tally) add(o *Tally) {
	t.Sends += o.Sends
	t.Money += o.Money
	t.Verified += o.Verified
	t.VerifiedMoney += o.VerifiedMoney
}

// ByWord is a tally for each word.
type ByWord [words]Tally

// Stopped are the challenged and the denied.
func (b *ByWord) Stopped() (t Tally) {
	t.add(&b[Challenged])
	t.add(&b[Denied])
	return t
}

// All are all.
func (b *ByWord) All() (t Tally) {
	for i := range b {
		t.add(&b[i])
	}
	return t
}

// Bounds of a summary: what finds no room is counted as other, or for ranges takes the place of the rarest.
const (
	maxBuckets  = 240
	maxReasons  = 512
	maxPlaces   = 300 // countries and ZZ
	maxAccounts = 256
	maxRanges   = 1024
	other       = "other"
)

// Summary is what a replay comes to, in a memory that does not grow with the log.
type Summary struct {
	From, To  time.Time // of the sends
	Total     ByWord
	Reasons   map[Cause]*Tally // of stopped and flagged sends
	Countries map[string]*ByWord
	Accounts  map[string]*ByWord
	// Buckets are the total by time: Width each, the first begins at Start.
	Buckets []ByWord
	Start   time.Time
	Width   time.Duration

	ranges  ranges
	waiting waiting[stop]
}

// Cause is a verdict and its reason.
type Cause struct {
	Word   Word
	Reason string
}

// stop is a stopped send whose outcome may still be read.
type stop struct {
	cause   Cause
	country string
	account string
	area    uint64
	money   int64
	at      time.Time
}

func newSummary() *Summary {
	return &Summary{Reasons: map[Cause]*Tally{}, Countries: map[string]*ByWord{}, Accounts: map[string]*ByWord{}, Width: time.Minute,
		ranges: ranges{of: map[uint64]int{}}, waiting: newWaiting[stop]()}
}

// judged is one send as it was judged.
type judged struct {
	id   uint64
	stop stop
}

// send counts a send.
func (s *Summary) send(j *judged) {
	at, w := j.stop.at, j.stop.cause.Word
	if s.From.IsZero() {
		s.From, s.Start = at, at.Truncate(time.Hour)
	}
	if at.After(s.To) {
		s.To = at
	}
	t := Tally{Sends: 1, Money: j.stop.money}
	s.count(j, &t)
	if w != Allowed { // also flagged ones: were they people?
		s.waiting.add(j.id, j.stop)
	}
}

// verified counts that a send was verified, in the log.
func (s *Summary) verified(id uint64) {
	stop, ok := s.waiting.take(id)
	if !ok {
		return
	}
	t := Tally{Verified: 1, VerifiedMoney: stop.money}
	s.count(&judged{stop: stop}, &t)
}

func (s *Summary) count(j *judged, t *Tally) {
	w := j.stop.cause.Word
	s.Total[w].add(t)
	s.bucket(j.stop.at)[w].add(t)
	place(s.Countries, cmp.Or(j.stop.country, "ZZ"), other, maxPlaces)[w].add(t)
	place(s.Accounts, cmp.Or(j.stop.account, "-"), other, maxAccounts)[w].add(t)
	if w != Allowed {
		place(s.Reasons, j.stop.cause, Cause{w, other}, maxReasons).add(t)
	}
	if w.Stops() && j.stop.area != 0 {
		s.ranges.at(j.stop.area).add(t)
	}
}

// place finds or makes a place, that of the rest where there is no room.
func place[K comparable, V any](all map[K]*V, key, rest K, room int) *V {
	v := all[key]
	if v == nil {
		if len(all) >= room {
			key, v = rest, all[rest]
		}
		if v == nil {
			v = new(V)
			all[key] = v
		}
	}
	return v
}

// bucket is that of a time. When there are too many, two become one.
func (s *Summary) bucket(at time.Time) *ByWord {
	i := max(0, int(at.Sub(s.Start)/s.Width))
	for i >= maxBuckets {
		for k := range (len(s.Buckets) + 1) / 2 {
			both := s.Buckets[2*k]
			if 2*k+1 < len(s.Buckets) {
				for w := range both {
					both[w].add(&s.Buckets[2*k+1][w])
				}
			}
			s.Buckets[k] = both
		}
		s.Buckets = s.Buckets[:(len(s.Buckets)+1)/2]
		s.Width *= 2
		i /= 2
	}
	for len(s.Buckets) <= i {
		s.Buckets = append(s.Buckets, ByWord{})
	}
	return &s.Buckets[i]
}

// ranges counts the ranges of four digits with most stopped sends: the space-saving sketch of Metwally et al. (2005). A range that
// is met when all places are taken inherits the place of the rarest, and its count as an error.
type ranges struct {
	of   map[uint64]int
	rows []Range
}

// Range is a range of ten thousand numbers.
type Range struct {
	Digits uint64 // its leading digits, all but four
	Tally
	Inherited int64 // at most so many of Sends are of other ranges
}

func (r *ranges) at(area uint64) *Tally {
	i, ok := r.of[area]
	switch {
	case ok:
	case len(r.rows) < maxRanges:
		i = len(r.rows)
		r.rows = append(r.rows, Range{Digits: area})
	default:
		for k := range r.rows {
			if r.rows[k].Sends < r.rows[i].Sends {
				i = k
			}
		}
		delete(r.of, r.rows[i].Digits)
		r.rows[i] = Range{Digits: area, Tally: Tally{Sends: r.rows[i].Sends}, Inherited: r.rows[i].Sends}
	}
	r.of[area] = i
	return &r.rows[i].Tally
}

// Ranges are those with most stopped sends, at most n.
func (s *Summary) Ranges(n int) []Range {
	all := slices.Clone(s.ranges.rows)
	slices.SortFunc(all, func(a, b Range) int {
		return cmp.Or(cmp.Compare(b.Sends-b.Inherited, a.Sends-a.Inherited), cmp.Compare(a.Digits, b.Digits))
	})
	return all[:min(n, len(all))]
}

// waiting remembers the latest sends by id: between keep and twice as many.
type waiting[T any] struct{ young, old map[uint64]T }

func newWaiting[T any]() waiting[T] { return waiting[T]{map[uint64]T{}, map[uint64]T{}} }

func (w *waiting[T]) add(id uint64, v T) {
	if len(w.young) >= keepStopped {
		clear(w.old)
		w.young, w.old = w.old, w.young
	}
	w.young[id] = v
}

// take finds and forgets.
func (w *waiting[T]) take(id uint64) (v T, ok bool) {
	for _, all := range []map[uint64]T{w.young, w.old} {
		if v, ok = all[id]; ok {
			delete(all, id)
			return v, true
		}
	}
	return v, false
}

// keepStopped stopped sends of about 200 bytes.
const keepStopped = 1 << 16
