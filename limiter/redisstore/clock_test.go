package redisstore_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/limitertest"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

var minute = limiter.Limit{Name: "minute", Group: "number", N: 5, Window: time.Minute}

func define(t testing.TB, s limiter.Store, limits ...limiter.Limit) []*limiter.Rule {
	t.Helper()
	rules, err := s.Define(context.Background(), limits)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func take(t testing.TB, s limiter.Store, now time.Time, charges ...limiter.Charge) limiter.Decision {
	t.Helper()
	d, err := s.Take(context.Background(), now, charges)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sidecar is a store whose machine's clock is off.
type sidecar struct {
	limiter.Store
	off time.Duration
}

func (s sidecar) now() time.Time { return time.Now().Add(s.off) }

// TestClock_fiveSecondsOff: sidecars whose clocks are 5 s ahead and behind share one limit by the server's clock.
func TestClock_fiveSecondsOff(t *testing.T) {
	for _, cluster := range []bool{false, true} {
		addrs := []string{""}
		name := "one server"
		if cluster {
			name = "cluster"
		}
		t.Run(name, func(t *testing.T) {
			if cluster {
				addrs = startCluster(t, 3).addrs()
			} else {
				addrs[0] = startServer(t).addr
			}
			window := 400 * time.Millisecond
			limit := limiter.Limit{Name: "short", Group: "number", N: 5, Window: window}
			other := limiter.Limit{Name: "other", Group: "client", N: 1 << 20, Window: time.Hour}
			var sidecars []sidecar
			for _, off := range []time.Duration{5 * time.Second, 0, -5 * time.Second} {
				s := open(t, redisstore.Options{Addrs: addrs, Timeout: 5 * time.Second})
				redisstore.SetClockOff(s, off)
				sidecars = append(sidecars, sidecar{s, off})
			}
			var log []time.Time // by one clock, after the answer
			var mu sync.Mutex
			var wg sync.WaitGroup
			until := time.Now().Add(1500 * time.Millisecond)
			for i, s := range sidecars {
				rules := define(t, s, limit, other)
				k, k2 := s.Key([]byte("k")), s.Key([]byte{byte(i)})
				wg.Go(func() {
					for time.Now().Before(until) {
						d, err := s.Take(context.Background(), s.now(), []limiter.Charge{{Rule: rules[0], Key: k, Cost: 1}, {Rule: rules[1], Key: k2, Cost: 1}})
						if err != nil {
							t.Error(err)
							return
						}
						if d.Allowed {
							mu.Lock()
							log = append(log, d.At)
							mu.Unlock()
							if off := time.Since(d.At); off.Abs() > 2*time.Second {
								t.Errorf("decided at %v, %v from the server's time", d.At, off)
							}
							if i%2 == 0 { // as the gate does
								if _, err := s.Peek(context.Background(), d.At, limiter.Charge{Rule: rules[1], Key: k2, Cost: 1}); err != nil {
									t.Error(err)
								}
								if _, err := s.Take(context.Background(), d.At, []limiter.Charge{{Rule: rules[1], Key: k2, Cost: 1}}); err != nil {
									t.Error(err)
								}
							}
						} else if d.RetryAfter > window+time.Second {
							t.Errorf("RetryAfter %v by a window of %v", d.RetryAfter, window)
						}
					}
				})
			}
			wg.Wait()
			checkWindows(t, limit, log)
			if len(log) < 15 {
				t.Errorf("%d admitted in 1.5 s, want 5 in each %v", len(log), window)
			}
		})
	}
}

// checkWindows fails the test if any interval of a window holds more than N of what was admitted, one unit each.
func checkWindows(t testing.TB, l limiter.Limit, log []time.Time) {
	t.Helper()
	slices.SortFunc(log, time.Time.Compare)
	for i := int(l.N); i < len(log); i++ {
		if first := log[i-int(l.N)]; log[i].Sub(first) < l.Window {
			t.Fatalf("%d units within %v, limit %d in %v", l.N+1, log[i].Sub(first), l.N, l.Window)
		}
	}
}

// TestHistory_threeSidecars looks at every window of what three stores admitted together.
func TestHistory_threeSidecars(t *testing.T) {
	r := startServer(t)
	stores := make([]limiter.Store, 3)
	for i := range stores {
		stores[i] = open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 20 * time.Second})
	}
	h := limitertest.History{Goroutines: 60, For: limitertest.Torture(t, 2*time.Second), Keys: 5000}
	if h.Run(t, &several{stores: stores}) == 0 {
		t.Error("nothing was admitted")
	}
}

// several is stores that take turns: each call goes to another. Rules are those of all.
type several struct {
	stores []limiter.Store
	rules  map[*limiter.Rule][]*limiter.Rule
	turn   atomic.Int64
}

func (s *several) next() int { return int(s.turn.Add(1)) % len(s.stores) }

func (s *several) Define(ctx context.Context, limits []limiter.Limit) ([]*limiter.Rule, error) {
	s.rules = map[*limiter.Rule][]*limiter.Rule{}
	var first []*limiter.Rule
	for i, store := range s.stores {
		rules, err := store.Define(ctx, limits)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = rules
		}
		for j, r := range rules {
			s.rules[first[j]] = append(s.rules[first[j]], r)
		}
	}
	return first, nil
}

func (s *several) of(i int, charges []limiter.Charge) []limiter.Charge {
	own := make([]limiter.Charge, len(charges))
	for j, c := range charges {
		own[j] = limiter.Charge{Rule: s.rules[c.Rule][i], Key: c.Key, Cost: c.Cost}
	}
	return own
}

func (s *several) Key(b []byte) limiter.Key { return s.stores[s.next()].Key(b) }

func (s *several) Take(ctx context.Context, now time.Time, charges []limiter.Charge) (limiter.Decision, error) {
	i := s.next()
	return s.stores[i].Take(ctx, now, s.of(i, charges))
}

func (s *several) Refund(ctx context.Context, at time.Time, charges []limiter.Charge) error {
	i := s.next()
	return s.stores[i].Refund(ctx, at, s.of(i, charges))
}

func (s *several) Peek(ctx context.Context, now time.Time, c limiter.Charge) (limiter.Usage, error) {
	i := s.next()
	return s.stores[i].Peek(ctx, now, s.of(i, []limiter.Charge{c})[0])
}

func (s *several) Reset(ctx context.Context, now time.Time, r *limiter.Rule, k limiter.Key) error {
	i := s.next()
	return s.stores[i].Reset(ctx, now, s.rules[r][i], k)
}

func (s *several) Mark(ctx context.Context, now, until time.Time, r *limiter.Rule, k limiter.Key) error {
	i := s.next()
	return s.stores[i].Mark(ctx, now, until, s.rules[r][i], k)
}

func (s *several) Stats() limiter.Stats { return s.stores[0].Stats() }

func (s *several) Close() error { return nil }
