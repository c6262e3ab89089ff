package limiter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestFew_quietKeysTakeNoWideSlot(t *testing.T) {
	// Narrow and double slots only: there is no room for buckets.
	limits := []Limit{
		{Name: "minute", Group: "client", N: 10, Window: time.Minute},
		{Name: "second", Group: "client", N: 3000, Window: time.Second},
	}
	tab, r := open1(t, Options{Size: 4 << 20, Shares: [3]int{0, 80, 20}}, limits...)
	wide := tab.geo.slots[wide]
	for i := range 10 * wide {
		k := tab.Key([]byte(fmt.Sprint("client", i)))
		for range fewPermits {
			if d := take(t, tab, t0, Charge{r[0], k, 1}, Charge{r[1], k, 1}); !d.Allowed {
				t.Fatalf("client %d of %d: %+v", i, wide, d)
			}
		}
	}
	if got := tab.Stats().Occupied; got != 10*wide {
		t.Errorf("%d slots for %d clients, want one each", got, 10*wide)
	}
}

// A unit that is given back after its window may have served another check since; the buckets still hold what came a little later.
func TestFew_lateRefundTakesNothingOfOthers(t *testing.T) {
	const n = 100
	tab, r := open1(t, Options{Size: 1 << 20}, Limit{Name: "x", Group: "g", N: n, Window: time.Minute})
	k := tab.Key([]byte("k"))
	one := Charge{r[0], k, 1}
	for range fewPermits {
		take(t, tab, t0, one)
	}
	later := t0.Add(time.Millisecond) // the same bucket
	for range n - fewPermits {
		take(t, tab, later, one)
	}
	now := t0.Add(time.Minute)
	for range fewPermits {
		if d := take(t, tab, now, one); !d.Allowed {
			t.Fatalf("%+v, want the permits of a minute ago", d)
		}
	}
	for range fewPermits {
		if err := tab.Refund(ctx, t0, []Charge{one}); err != nil {
			t.Fatal(err)
		}
	}
	if d := take(t, tab, now, one); d.Allowed {
		t.Errorf("%d and one more in a minute: %+v", n, d)
	}
}

// Whatever a rule was before, what is admitted and what the window still holds are together no more than its N.
func TestFew_ruleChanges_neverAboveN(t *testing.T) {
	ns := []int64{40, 62, 63, 66, 100, 1000, 2_000_000}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		l := Limit{Name: "x", Group: "g", N: ns[rnd.IntN(len(ns))], Window: time.Minute}
		tab, r := open1(t, Options{Size: 1 << 20}, l)
		k := tab.Key([]byte("k"))
		type grant struct {
			at   time.Time
			cost int64
		}
		var log []grant
		now := t0
		for range 3000 {
			now = now.Add(time.Duration(rnd.Int64N(int64(time.Second))))
			switch {
			case rnd.IntN(100) == 0:
				l.N = ns[rnd.IntN(len(ns))]
				var err error
				if r, err = tab.Define(ctx, []Limit{l}); err != nil {
					t.Fatal(err)
				}
			case rnd.IntN(20) == 0 && len(log) > 0:
				i := rnd.IntN(len(log))
				if err := tab.Refund(ctx, log[i].at, []Charge{{r[0], k, min(log[i].cost, l.N)}}); err != nil {
					t.Fatal(err)
				}
				log = slices.Delete(log, i, i+1) // it may find nothing where the rule changed since, and must never take another's
			default:
				cost := 1 + rnd.Int64N(min(l.N, 9))
				d := take(t, tab, now, Charge{r[0], k, cost})
				var held int64
				for _, g := range log {
					if d.At.Sub(g.at) < l.Window {
						held += g.cost
					}
				}
				if d.Allowed && held+cost > l.N {
					t.Fatalf("seed %d: %d held and %d admitted of %d", seed, held, cost, l.N)
				}
				if d.Allowed {
					log = append(log, grant{d.At, cost})
				}
			}
		}
	}
}

// A rule that changes all the time goes on in banks it had before, and forgets nothing that still counts.
func TestDefine_changesForever(t *testing.T) {
	tab, err := Open(Options{Size: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	k := tab.Key([]byte("k"))
	now := t0
	var log []time.Time
	for i := range 2000 {
		l := Limit{Name: "x", Group: "g", N: 100 + int64(i%3), Window: time.Minute, Stripes: 2}
		r := define(t, tab, l)
		for range 90 {
			now = now.Add(700 * time.Millisecond)
			log = slices.DeleteFunc(log, func(at time.Time) bool { return now.Sub(at) >= l.Window })
			d := take(t, tab, now, Charge{r[0], k, 1})
			if d.Allowed && int64(len(log)) >= l.N {
				t.Fatalf("change %d: one more than the %d of %d", i, len(log), l.N)
			}
			if !d.Allowed && int64(len(log)) < l.N-10 {
				t.Fatalf("change %d: denied with %d of %d: %+v", i, len(log), l.N, d)
			}
			if d.Allowed {
				log = append(log, d.At)
			}
		}
	}
	if n := len(tab.reg.Banks); n > 10 {
		t.Errorf("%d banks after 2000 changes", n)
	}
}
