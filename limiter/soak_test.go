package limiter_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/limitertest"
)

// TestSoak runs until so many checks were admitted as SENDGATE_SOAK_CHECKS says (1e9), or for as long as SENDGATE_TORTURE says
// (60s in `make test`), and looks at every window while it goes:
// beside the limiter each rule and key has a short sorted list of its last decisions under a lock of its own, and N+1 decisions
// that lie less than a window apart fail the test. A decision that comes to its list later than 256 others can no longer be
// looked at; these are counted.
func TestSoak(t *testing.T) {
	wanted, stop := soakLength(t)
	s, err := limiter.Open(limiter.Options{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ms := time.Millisecond
	limits := []limiter.Limit{
		{Name: "n5", Group: "number", N: 5, Window: 3 * ms},
		{Name: "n2", Group: "number", N: 2, Window: 1 * ms},
		{Name: "c12", Group: "client", N: 12, Window: 7 * ms},
		{Name: "s40", Group: "subaccount", N: 40, Window: 11 * ms},
		{Name: "a100", Group: "account", N: 100, Window: 5 * ms},
		{Name: "h1000", Group: "account", N: 1000, Window: 20 * ms, Stripes: 4},
	}
	keys := []int{3000, 3000, 1000, 200, 60, 10}
	rules, err := s.Define(context.Background(), limits)
	if err != nil {
		t.Fatal(err)
	}
	lists := make([][]decisions, len(limits))
	for i := range limits {
		lists[i] = make([]decisions, keys[i])
	}

	var admitted, denied, unseen atomic.Int64
	begin := time.Now()
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			ctx := context.Background()
			rnd := rand.New(rand.NewPCG(uint64(g), uint64(begin.UnixNano())))
			late := time.Duration(rnd.Int64N(int64(3*ms))) * time.Duration(g%2)
			var charges []limiter.Charge
			var ids [6]int
			var buf [9]byte
			for float64(admitted.Load()) < wanted && stop.Err() == nil && !t.Failed() {
				var a, d, u int64
				for range 1000 {
					now := time.Now().Add(-late)
					if rnd.Uint32()%16 == 0 {
						now = now.Add(-time.Duration(rnd.Int64N(int64(3 * ms))))
						runtime.Gosched()
					}
					charges = charges[:0]
					id := 0
					for i, r := range rules {
						if i > 0 && (limits[i].Group != limits[i-1].Group) || i == 0 {
							if id = rnd.IntN(keys[i]); rnd.Uint32()%8 == 0 {
								id = rnd.IntN(3)
							}
						}
						if rnd.Uint32()%3 == 0 {
							id := id % keys[i]
							buf[0] = limits[i].Group[0]
							binary.LittleEndian.PutUint64(buf[1:], uint64(id))
							ids[len(charges)] = id
							charges = append(charges, limiter.Charge{Rule: r, Key: s.Key(buf[:]), Cost: 1 + int64(rnd.Uint32()%2)})
						}
					}
					if len(charges) == 0 {
						continue
					}
					dec, err := s.Take(ctx, now, charges)
					if err != nil {
						t.Error(err)
						return
					}
					if !dec.Allowed {
						d++
						continue
					}
					if rnd.Uint32()%16 == 0 {
						if err := s.Refund(ctx, dec.At, charges); err != nil {
							t.Error(err)
							return
						}
						continue
					}
					a++
					for j, c := range charges {
						i := slices.Index(rules, c.Rule)
						switch lists[i][ids[j]].add(dec.At.UnixNano(), c.Cost, limits[i].N, int64(limits[i].Window)) {
						case tooMany:
							t.Errorf("%s, key %d: more than N within a window at %v", limits[i].Name, ids[j], dec.At)
							return
						case tooLate:
							u++
						}
					}
				}
				admitted.Add(a)
				denied.Add(d)
				unseen.Add(u)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.Logf("%v: %d admitted, %d denied, %d charges came too late to be looked at, %+v", time.Since(begin).Round(time.Second), admitted.Load(), denied.Load(), unseen.Load(), s.Stats())
			continue
		case <-done:
		}
		break
	}
	settled(t, s)
	t.Logf("%v: %d admitted, %d denied, %d charges came too late to be looked at, %+v", time.Since(begin).Round(time.Second), admitted.Load(), denied.Load(), unseen.Load(), s.Stats())
}

// soakLength is how many checks to admit at most, and what ends the test before.
func soakLength(t *testing.T) (wanted float64, stop context.Context) {
	checks, torture := os.Getenv("SENDGATE_SOAK_CHECKS"), limitertest.Torture(t, 0)
	if checks == "" && torture == 0 {
		t.Skip("set SENDGATE_SOAK_CHECKS to a number of checks, such as 1e9, or SENDGATE_TORTURE to a duration, such as 60s")
	}
	wanted, stop = math.Inf(1), t.Context()
	if checks != "" {
		var err error
		if wanted, err = strconv.ParseFloat(checks, 64); err != nil {
			t.Fatal(err)
		}
	}
	if torture > 0 {
		var cancel context.CancelFunc
		stop, cancel = context.WithTimeout(stop, torture)
		t.Cleanup(cancel)
	}
	return wanted, stop
}

type verdict int

const (
	fine verdict = iota
	tooMany
	tooLate
)

// decisions are the last units that a rule admitted for a key, sorted by Decision.At. The zero value is ready.
type decisions struct {
	mu  sync.Mutex
	ats []int64
}

func (d *decisions) add(at, cost, n, window int64) verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := max(256, 3*int(n))
	for range cost {
		i := len(d.ats)
		for i > 0 && d.ats[i-1] > at {
			i--
		}
		if i == 0 && len(d.ats) >= keep {
			return tooLate
		}
		d.ats = slices.Insert(d.ats, i, at)
		for j := max(0, i-int(n)); j <= i && j+int(n) < len(d.ats); j++ {
			if d.ats[j+int(n)]-d.ats[j] < window {
				return tooMany
			}
		}
		if len(d.ats) >= 2*keep {
			d.ats = append(d.ats[:0], d.ats[len(d.ats)-keep:]...)
		}
	}
	return fine
}
