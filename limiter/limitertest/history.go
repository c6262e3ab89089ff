package limitertest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// History is a run of many goroutines on one store, by the real clock with windows of some ms, whose admitted charges are all
// looked at: no window may hold more than N. Keys come back just when they expire, others flood the store so that slots are
// recycled under them, readings are late by up to Skew, and a check has up to five rules: without these three a store that is
// wrong passes (it did, in every prototype).
type History struct {
	Goroutines int           // 0 means 200
	For        time.Duration // by the readings; 0 means one round
	Skew       time.Duration // 0 means 3ms
	Keys       int           // of the flood; 0 means 50,000
}

// historyLimits has permits in one line, in two, in a wide slot, buckets and stripes.
func historyLimits() []limiter.Limit {
	ms := time.Millisecond
	return []limiter.Limit{
		{Name: "n1", Group: "number", N: 1, Window: 2 * ms},
		{Name: "n5", Group: "number", N: 5, Window: 7 * ms},
		{Name: "c3", Group: "client", N: 3, Window: 3 * ms},
		{Name: "c8", Group: "client", N: 8, Window: 5 * ms},
		{Name: "s20", Group: "subaccount", N: 20, Window: 11 * ms},
		{Name: "a70", Group: "account", N: 70, Window: 4 * ms},
		{Name: "a100", Group: "account", N: 100, Window: 6 * ms, Stripes: 3},
	}
}

// event is one admitted charge.
type event struct {
	at       int64 // Decision.At in ns
	key      int32
	rule     int16
	cost     int16
	refunded bool
}

// worker is one goroutine of a History. Between rounds it keeps what it knows.
type worker struct {
	h       *historyRun
	rnd     *rand.Rand
	late    time.Duration // how much its clock is behind
	private limiter.Key   // a key that only this worker charges
	own     []event       // of the private key
	log     []event
	denied  int
	full    int
}

type historyRun struct {
	t     testing.TB
	s     limiter.Store
	rules []*limiter.Rule
	alone *limiter.Rule // charged to private keys
	skew  time.Duration
	keys  int
	begin time.Time
}

// Run runs the history and returns how many checks were admitted.
func (h History) Run(t testing.TB, s limiter.Store) int {
	t.Helper()
	h.Goroutines, h.Keys = cmp.Or(h.Goroutines, 200), cmp.Or(h.Keys, 50_000)
	h.Skew = cmp.Or(h.Skew, 3*time.Millisecond)
	limits := append(historyLimits(), limiter.Limit{Name: "alone", Group: "private", N: 3, Window: 30 * time.Millisecond})
	rules, err := s.Define(context.Background(), limits)
	if err != nil {
		t.Fatal(err)
	}
	last := len(rules) - 1
	run := &historyRun{t: t, s: s, rules: rules[:last], alone: rules[last], skew: h.Skew, keys: h.Keys, begin: time.Now()}
	workers := make([]*worker, h.Goroutines)
	for i := range workers {
		rnd := rand.New(rand.NewPCG(uint64(i), 99))
		workers[i] = &worker{
			h: run, rnd: rnd, private: s.Key(fmt.Appendf(nil, "private %d", i)),
			late: time.Duration(rnd.Int64N(int64(h.Skew))) * time.Duration(i%2), // half of the clocks are right
		}
	}
	admitted, denied, full, rounds := 0, 0, 0, 0
	var tail []event // what may still share a window with the next round
	for {
		var wg sync.WaitGroup
		for _, w := range workers {
			wg.Go(func() { w.round(400) })
		}
		wg.Wait()
		if t.Failed() {
			return admitted
		}
		events := tail
		for _, w := range workers {
			events = append(events, w.log...)
			admitted += len(w.log)
			w.log = w.log[:0]
		}
		run.check(events)
		newest := slices.MaxFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) }).at
		tail = slices.DeleteFunc(events, func(e event) bool { return e.at < newest-int64(40*time.Millisecond) })
		rounds++
		if time.Since(run.begin) >= h.For || t.Failed() {
			break
		}
	}
	for _, w := range workers {
		denied += w.denied
		full += w.full
		run.checkOwn(w)
	}
	t.Logf("%d charges admitted, %d checks denied, %d of them for room, in %d rounds; %+v", admitted, denied, full, rounds, s.Stats())
	return admitted
}

// round makes n checks.
func (w *worker) round(n int) {
	ctx := context.Background()
	var charges []limiter.Charge
	var keys []int32
	for range n {
		now := time.Now().Add(-w.late)
		if w.rnd.IntN(8) == 0 {
			now = now.Add(-time.Duration(w.rnd.Int64N(int64(w.h.skew))))
		}
		if w.rnd.IntN(8) == 0 {
			runtime.Gosched() // between the reading and the check
		}
		charges, keys = charges[:0], keys[:0]
		group := ""
		key, k := int32(0), limiter.Key{}
		for _, r := range w.h.rules {
			l := r.Limit()
			if w.rnd.IntN(3) == 0 {
				continue
			}
			if l.Group != group || w.rnd.IntN(10) == 0 { // now and then two keys of a group
				group, key = l.Group, w.pick(now)
				k = w.h.s.Key(fmt.Appendf(nil, "%s %d", group, key))
			}
			charges, keys = append(charges, charge(r, k, 1+w.rnd.Int64N(min(3, l.N)))), append(keys, key)
		}
		if len(charges) == 0 {
			continue
		}
		if w.rnd.IntN(4) == 0 {
			// Fewer rules, so that something is admitted.
			i := w.rnd.IntN(len(charges))
			charges, keys = charges[i:i+1], keys[i:i+1]
		}
		alone := w.rnd.IntN(3) == 0
		var before limiter.Usage
		if alone {
			charges = append(charges, charge(w.h.alone, w.private, 1))
			before = w.peek(now)
		}
		d, err := w.h.s.Take(ctx, now, charges)
		switch {
		case err != nil:
			w.h.t.Errorf("Take: %v", err)
			return
		case d.At.Before(now):
			w.h.t.Errorf("decided at %v, before the reading %v", d.At, now)
			return
		case !d.Allowed:
			w.denied++
			if d.Full {
				w.full++
			}
			// It may have expired and been forgotten meanwhile, but nothing may have come.
			if after := before; alone {
				if after = w.peek(now); after.Held > before.Held {
					w.h.t.Errorf("a denied check left %d units of a key that held %d", after.Held, before.Held)
					return
				}
			}
			continue
		}
		refunded := w.rnd.IntN(8) == 0
		if alone {
			charges = charges[:len(charges)-1]
			w.own = append(w.own, event{at: d.At.UnixNano(), cost: 1, refunded: refunded})
		}
		for i, c := range charges {
			w.log = append(w.log, event{at: d.At.UnixNano(), key: keys[i], rule: int16(slices.Index(w.h.rules, c.Rule)), cost: int16(c.Cost), refunded: refunded})
		}
		if refunded {
			if alone {
				charges = charges[:len(charges)+1]
			}
			if err := w.h.s.Refund(ctx, d.At, charges); err != nil {
				w.h.t.Errorf("Refund: %v", err)
				return
			}
		}
	}
}

func (w *worker) peek(now time.Time) limiter.Usage {
	u, err := w.h.s.Peek(context.Background(), now, charge(w.h.alone, w.private, 1))
	if err != nil {
		w.h.t.Errorf("Peek: %v", err)
	}
	return u
}

// pick chooses a key: one that is always hot, one whose turn it is and that all come back to just when it has expired, or any.
func (w *worker) pick(now time.Time) int32 {
	switch w.rnd.IntN(10) {
	case 0, 1, 2:
		return int32(w.rnd.IntN(4))
	case 3, 4, 5, 6:
		turn := now.Sub(w.h.begin) / (4 * time.Millisecond)
		return 4 + int32(turn%7)
	default:
		return 11 + int32(w.rnd.IntN(w.h.keys))
	}
}

// check looks at every window of every rule and key.
func (h *historyRun) check(events []event) {
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key), cmp.Compare(a.at, b.at))
	})
	for i := 0; i < len(events); {
		j := i
		for j < len(events) && events[j].rule == events[i].rule && events[j].key == events[i].key {
			j++
		}
		h.checkKey(h.rules[events[i].rule].Limit(), events[i:j])
		i = j
	}
}

func (h *historyRun) checkOwn(w *worker) {
	slices.SortFunc(w.own, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	h.checkKey(h.alone.Limit(), w.own)
}

func (h *historyRun) checkKey(l limiter.Limit, events []event) {
	sum, first := int64(0), 0
	for i, e := range events {
		for events[first].at+int64(l.Window) <= e.at {
			if !events[first].refunded {
				sum -= int64(events[first].cost)
			}
			first++
		}
		if e.refunded {
			continue
		}
		if sum += int64(e.cost); sum > l.N {
			h.t.Errorf("%s, key %d: %d units within %v, limit %d in %v: %v", l.Name, e.key, sum, time.Duration(e.at-events[first].at), l.N, l.Window, events[first:i+1])
			return
		}
	}
}

func testHistory(t *testing.T, s Suite) {
	open := s.Tight
	if open == nil {
		open = s.Open
	}
	store := open(t)
	dur := time.Duration(float64(Torture(t, 10*time.Second)) * min(1, s.Steps))
	if admitted := (History{For: dur}).Run(t, store); admitted == 0 {
		t.Error("nothing was admitted")
	}
	s.settled(t, store)
	if s.Tight != nil && store.Stats().Recycled == 0 {
		t.Error("no slot was recycled: this proves nothing")
	}
}
