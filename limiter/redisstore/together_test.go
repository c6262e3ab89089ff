package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// calls is how often the script was called.
func (s *server) calls() (n int) {
	info, _ := s.do("INFO", "commandstats").ToString()
	_, v, _ := strings.Cut(info, "cmdstat_evalsha:calls=")
	_, _ = fmt.Sscanf(v, "%d", &n)
	return n
}

// TestTogether: checks that come together share calls, one alone has its own, and each is judged as if it came alone.
func TestTogether(t *testing.T) {
	r := startServer(t)
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Near: -1, Timeout: 20 * time.Second})
	rules := define(t, s, limiter.Limit{Name: "common", Group: "g", N: 500, Window: time.Hour}, limiter.Limit{Name: "own", Group: "o", N: 30, Window: time.Hour},
		limiter.Limit{Name: "delay", Group: "o", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 20, Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}})
	const callers, each = 64, 40
	common := limiter.Charge{Rule: rules[0], Key: s.Key([]byte("k")), Cost: 1}
	first := r.calls()
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		own := limiter.Charge{Rule: rules[1], Key: s.Key(fmt.Append(nil, i)), Cost: 1}
		delay := limiter.Charge{Rule: rules[2], Key: own.Key, Cost: 1}
		wg.Go(func() {
			for n := range each {
				charges := []limiter.Charge{own}
				switch i % 4 {
				case 0:
					charges = []limiter.Charge{common, own}
				case 1:
					charges = []limiter.Charge{common}
				case 2:
					charges = []limiter.Charge{delay}
				}
				d, err := s.Take(context.Background(), time.Now(), charges)
				switch {
				case err != nil:
					t.Error(err)
				case i%4 < 2:
					if d.Allowed {
						admitted.Add(1)
					}
				case i%4 == 2:
					if want := n <= 20; d.Allowed != want {
						t.Errorf("delay %d: %+v", n, d)
					}
				default:
					if want := n < 30; d.Allowed != want || d.Allowed && d.Remaining != int64(29-n) {
						t.Errorf("take %d of 30: %+v", n, d)
					}
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 500 || peekHeld(t, s, common) != 500 {
		t.Errorf("%d admitted and %d held, want 500", admitted.Load(), peekHeld(t, s, common))
	}
	if n := r.calls() - first; n > callers*each/2 {
		t.Errorf("%d calls for %d checks", n, callers*each)
	} else {
		t.Logf("%d calls for %d checks", n, callers*each)
	}
	first = r.calls()
	for range 10 {
		take(t, s, time.Now(), limiter.Charge{Rule: rules[1], Key: s.Key([]byte("alone")), Cost: 1})
	}
	if n := r.calls() - first; n != 10 {
		t.Errorf("%d calls for 10 checks one after another", n)
	}
}

// TestTogether_lost: what is charged is what was answered, where answers of shared calls are lost and callers do not wait for them.
func TestTogether_lost(t *testing.T) {
	r := startServer(t)
	p := startProxy(t, r.addr)
	s := open(t, redisstore.Options{Addrs: []string{p.addr()}, Near: -1, Timeout: 20 * time.Second})
	c := limiter.Charge{Rule: define(t, s, limiter.Limit{Name: "r", Group: "g", N: 1 << 20, Window: time.Hour})[0], Key: s.Key([]byte("k")), Cost: 1}
	p.latency.Store(int64(2 * time.Millisecond))
	var admitted, left atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range 30 {
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if (i+n)%3 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(1+i%6)*time.Millisecond)
				}
				if i == 0 && n%10 == 5 {
					p.deafness.Store(1)
				}
				switch d, err := s.Take(ctx, time.Now(), []limiter.Charge{c}); {
				case err == nil && d.Allowed:
					admitted.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					left.Add(1)
				case errors.As(err, new(*redisstore.UnavailableError)): // a reset is the end of many calls at once
					eventually(t, "it is back", func() bool { return peekHeldQuietly(s, c) >= 0 })
				default:
					t.Errorf("%+v, %v", d, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	eventually(t, "only what was answered is held", func() bool { return peekHeldQuietly(s, c) == admitted.Load() })
	f := s.Faults()
	if left.Load() == 0 || f.Retried == 0 || f.GivenUp == 0 {
		t.Errorf("nothing was lost: %d left, %+v", left.Load(), f)
	}
	t.Logf("%d admitted, %d left, %+v", admitted.Load(), left.Load(), f)
}

// TestTogether_full: in one call a full server denies what it knows, and says of the rest that it cannot remember it.
func TestTogether_full(t *testing.T) {
	r := startServer(t, "--maxmemory-policy", "noeviction")
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Near: -1, Timeout: 20 * time.Second})
	rules := define(t, s, minute)
	known := limiter.Charge{Rule: rules[0], Key: s.Key([]byte("known")), Cost: 5}
	take(t, s, time.Now(), known)
	r.do("CONFIG", "SET", "maxmemory", "1000")
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 20 {
				c := known
				if i%2 == 0 {
					c = limiter.Charge{Rule: rules[0], Key: s.Key(fmt.Append(nil, i)), Cost: 1}
				}
				if d, err := s.Take(context.Background(), time.Now(), []limiter.Charge{c}); err != nil || d.Allowed || d.Full != (i%2 == 0) {
					t.Errorf("%+v, %v", d, err)
				}
			}
		})
	}
	wg.Wait()
}
