package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// output is a log that a test reads while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// late is far beyond any deadline below, and what a busy machine needs on top of it: an answer that takes longer waited for
// something that nothing bounds.
const late = 2 * time.Second

func cure(_ *server, x *toxi) { x.cure() }

// TestFaults breaks the server or the way to it under load and mends it. In each: no window of a life of the server holds more
// than N, every call is answered, the store works again by itself, the log says it once, and nothing stays charged that was
// not answered.
func TestFaults(t *testing.T) {
	for _, fault := range []struct {
		name    string
		begin   func(*server, *toxi)
		end     func(*server, *toxi)
		forgets bool // the server lost what it held
		opens   bool // commands are refused meanwhile
	}{
		{"latency", func(_ *server, x *toxi) { x.poison("latency", map[string]any{"latency": 300, "jitter": 50}) }, cure, false, true},
		{"half-open", func(_ *server, x *toxi) { x.poison("timeout", map[string]any{"timeout": 0}) }, cure, false, true},
		{"resets", func(_ *server, x *toxi) { x.poison("reset_peer", map[string]any{"timeout": 20}) }, cure, false, false},
		{"bandwidth", func(_ *server, x *toxi) { x.poison("bandwidth", map[string]any{"rate": 2}) }, cure, false, true},
		{"crumbs", func(_ *server, x *toxi) {
			x.poison("slicer", map[string]any{"average_size": 7, "size_variation": 5, "delay": 100})
		}, cure, false, false},
		{"cut off", func(_ *server, x *toxi) { x.poison("limit_data", map[string]any{"bytes": 3000}) }, cure, false, false},
		{"stopped", func(s *server, _ *toxi) { s.signal(syscall.SIGSTOP) }, func(s *server, _ *toxi) { s.signal(syscall.SIGCONT) }, false, true},
		{"killed and restarted", func(s *server, _ *toxi) { s.kill() }, func(s *server, _ *toxi) { s.start() }, true, true},
		{"flushed", func(s *server, _ *toxi) { s.do("FLUSHALL") }, func(*server, *toxi) {}, true, false},
		{"scripts lost", func(s *server, _ *toxi) { s.do("SCRIPT", "FLUSH") }, func(s *server, _ *toxi) { s.do("SCRIPT", "FLUSH") }, false, false},
		{"full", func(s *server, _ *toxi) { s.do("CONFIG", "SET", "maxmemory", "1000") }, func(s *server, _ *toxi) { s.do("CONFIG", "SET", "maxmemory", "0") }, false, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			r := startServer(t)
			x := startToxiproxy(t, r.addr)
			var log output
			s := open(t, redisstore.Options{Addrs: []string{x.addr}, Timeout: 150 * time.Millisecond, Near: -1, Log: slog.New(slog.NewTextHandler(&log, nil))})
			short := limiter.Limit{Name: "short", Group: "number", N: 5, Window: 200 * time.Millisecond}
			long := limiter.Limit{Name: "long", Group: "number", N: 100_000, Window: time.Hour}
			rules := define(t, s, short, long)
			charges := func(k int) []limiter.Charge {
				key := s.Key(fmt.Append(nil, k))
				return []limiter.Charge{{Rule: rules[0], Key: key, Cost: 1}, {Rule: rules[1], Key: key, Cost: 1}}
			}
			const keys = 4
			var mu sync.Mutex
			var admitted [keys][]time.Time
			failed, slowest := 0, time.Duration(0)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := g; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						begin := time.Now()
						d, err := s.Take(context.Background(), begin, charges(i%keys))
						took := time.Since(begin)
						mu.Lock()
						switch slowest = max(slowest, took); {
						case err != nil:
							failed++
							if e := new(redisstore.UnavailableError); !errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("error %v", err)
							}
						case d.Allowed:
							admitted[i%keys] = append(admitted[i%keys], d.At)
						}
						mu.Unlock()
						time.Sleep(time.Millisecond)
					}
				})
			}
			time.Sleep(300 * time.Millisecond)
			mu.Lock()
			before := admitted
			mu.Unlock()
			fault.begin(r, x)
			time.Sleep(600 * time.Millisecond)
			if fault.opens && s.Faults().Opened == 0 {
				t.Error("commands are sent on and on")
			}
			fault.end(r, x)
			eventually(t, "admits again", func() bool {
				d, err := s.Take(context.Background(), time.Now(), charges(99))
				return err == nil && d.Allowed
			})
			time.Sleep(400 * time.Millisecond)
			close(stop)
			wg.Wait()

			var total int64
			for k, log := range admitted {
				if fault.forgets {
					checkWindows(t, short, log[:len(before[k])])
					continue
				}
				checkWindows(t, short, log)
				total += int64(len(log))
			}
			if slowest > late {
				t.Errorf("an answer took %v", slowest)
			}
			if !fault.forgets {
				// What had no answer is given back.
				var held int64
				eventually(t, "only what was answered is held", func() bool {
					held = 0
					for k := range keys {
						u, err := s.Peek(context.Background(), time.Now(), charges(k)[1])
						if err != nil {
							return false
						}
						held += u.Held
					}
					return held == total
				})
			}
			if n := strings.Count(log.String(), "\n"); n > int(2*s.Faults().Opened) {
				t.Errorf("the log has %d lines for %d times the store was away:\n%s", n, s.Faults().Opened, log.String())
			}
			t.Logf("%d admitted, %d failed, slowest %v, %+v", total, failed, slowest, s.Faults())
		})
	}
}

// TestLostAnswers: a check whose answer is lost is asked again and charged once.
func TestLostAnswers(t *testing.T) {
	r := startServer(t)
	p := startProxy(t, r.addr)
	s := open(t, redisstore.Options{Addrs: []string{p.addr()}, Timeout: 5 * time.Second, Near: -1})
	rules := define(t, s,
		limiter.Limit{Name: "exact", Group: "g", N: 60, Window: time.Hour},
		limiter.Limit{Name: "buckets", Group: "g", N: 1000, Window: time.Hour},
		limiter.Limit{Name: "delay", Group: "g", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 100, Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}})
	k := s.Key([]byte("k"))
	var all []limiter.Charge
	for _, r := range rules {
		all = append(all, limiter.Charge{Rule: r, Key: k, Cost: 1})
	}
	take(t, s, time.Now(), all...)
	for i := range 20 {
		p.deafness.Store(1)
		if d := take(t, s, time.Now(), all...); !d.Allowed || d.Remaining != int64(60-2-i) {
			t.Fatalf("check %d: %+v", i, d)
		}
		for _, c := range all {
			if held := peekHeld(t, s, c); held != int64(i+2) {
				t.Fatalf("%q holds %d after %d checks", c.Rule.Limit().Name, held, i+2)
			}
		}
	}
	if f := s.Faults(); f.Retried < 20 {
		t.Errorf("no answer was lost: %+v", f)
	}
}

// TestLostAnswers_givenUp: a check that nobody waits for any more takes nothing, also if it reaches the server late.
func TestLostAnswers_givenUp(t *testing.T) {
	r := startServer(t)
	p := startProxy(t, r.addr)
	s := open(t, redisstore.Options{Addrs: []string{p.addr()}, Timeout: 30 * time.Millisecond, Near: -1})
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
	eventually(t, "the first is admitted", func() bool {
		d, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c})
		return err == nil && d.Allowed
	})
	eventually(t, "only it is held", func() bool { return peekHeldQuietly(s, c) == 1 })
	p.hole.Store(true)
	for range 3 {
		if _, err := s.Take(context.Background(), time.Now(), []limiter.Charge{c}); err == nil {
			t.Fatal("an answer came through the hole")
		}
	}
	p.hole.Store(false) // now they arrive
	eventually(t, "given up", func() bool { f := s.Faults(); return f.GivenUp+f.Stuck >= 3 })
	eventually(t, "only the first is held", func() bool { return peekHeldQuietly(s, c) == 1 })
}

// TestLostAnswers_late: as above, where the check reaches the server only after it was given up over another connection.
func TestLostAnswers_late(t *testing.T) {
	r := startServer(t)
	p := startProxy(t, r.addr)
	s := open(t, redisstore.Options{Addrs: []string{p.addr()}, Timeout: 30 * time.Millisecond, Near: -1})
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
	eventually(t, "the first is admitted", func() bool {
		d, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c})
		return err == nil && d.Allowed
	})
	eventually(t, "only it is held", func() bool { return peekHeldQuietly(s, c) == 1 })
	before := s.Faults().GivenUp
	p.stuck.Store(p.opened.Load())
	if _, err := s.Take(context.Background(), time.Now(), []limiter.Charge{c}); err == nil {
		t.Fatal("an answer came through")
	}
	eventually(t, "given up over another connection", func() bool { return s.Faults().GivenUp > before })
	calls := func() string {
		info, _ := r.do("INFO", "commandstats").ToString()
		_, v, _ := strings.Cut(info, "cmdstat_evalsha:calls=")
		v, _, _ = strings.Cut(v, ",")
		return v
	}
	was := calls()
	p.stuck.Store(0)
	eventually(t, "it arrives", func() bool { return calls() != was })
	if held := peekHeld(t, s, c); held != 1 {
		t.Errorf("%d held, want only the first", held)
	}
}

func peekHeldQuietly(s limiter.Store, c limiter.Charge) int64 {
	u, err := s.Peek(context.Background(), time.Now(), c)
	if err != nil {
		return -1
	}
	return u.Held
}

// TestOutOfMemory: a full server denies or lets pass what it cannot remember, as the rule says, and still denies what it knows.
func TestOutOfMemory(t *testing.T) {
	r := startServer(t, "--maxmemory-policy", "noeviction")
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Near: -1, Timeout: 5 * time.Second})
	closed, opened := minute, minute
	opened.Name, opened.FailOpen = "open", true
	rules := define(t, s, closed, opened)
	known := limiter.Charge{Rule: rules[0], Key: s.Key([]byte("known")), Cost: 5}
	take(t, s, time.Now(), known)
	r.do("CONFIG", "SET", "maxmemory", "1000")
	if d := take(t, s, time.Now(), known); d.Allowed || d.Full || d.RetryAfter < 50*time.Second {
		t.Errorf("a limited key: %+v", d)
	}
	fresh := limiter.Charge{Rule: rules[0], Key: s.Key([]byte("fresh")), Cost: 1}
	if d := take(t, s, time.Now(), fresh); d.Allowed || !d.Full || d.RetryAfter <= 0 {
		t.Errorf("a new key of a rule that fails closed: %+v", d)
	}
	pass := fresh
	pass.Rule = rules[1]
	if d := take(t, s, time.Now(), pass); !d.Allowed || d.Skipped != 1 {
		t.Errorf("a new key of a rule that fails open: %+v", d)
	}
	if d := take(t, s, time.Now(), pass, fresh); d.Allowed || !d.Full || d.Binding != 1 {
		t.Errorf("both: %+v", d)
	}
	if st := s.Stats(); st.FullClosed != 2 || st.FullOpen != 1 {
		t.Errorf("%+v", st)
	}
	r.do("CONFIG", "SET", "maxmemory", "0")
	if d := take(t, s, time.Now(), fresh); !d.Allowed || d.Remaining != 4 {
		t.Errorf("with memory again: %+v", d)
	}
}

// TestEviction: a server that forgets when it is full is warned of.
func TestEviction(t *testing.T) {
	for policy, warns := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		r := startServer(t, "--maxmemory", "100mb", "--maxmemory-policy", policy)
		var log output
		s := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		s.Close() // waits for what runs beside
		if strings.Contains(log.String(), "noeviction") != warns {
			t.Errorf("%s: the log says %q", policy, log.String())
		}
	}
}

// TestCallersDeadline: a caller's own deadline is reported as such, and says nothing about the server.
func TestCallersDeadline(t *testing.T) {
	r := startServer(t)
	p := startProxy(t, r.addr)
	s := open(t, redisstore.Options{Addrs: []string{p.addr()}, Timeout: time.Minute, Near: -1})
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
	take(t, s, time.Now(), c)
	p.hole.Store(true)
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := s.Take(ctx, time.Now(), []limiter.Charge{c}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want the caller's deadline", err)
		}
		cancel()
	}
	if f := s.Faults(); f.Opened != 0 {
		t.Errorf("impatient callers cut off the server: %+v", f)
	}
	p.hole.Store(false)
	eventually(t, "works again", func() bool { _, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c}); return err == nil })
}

// TestOpen_away: a store whose server is away opens, answers at once that it is away, and works when the server has come.
func TestOpen_away(t *testing.T) {
	r := startServer(t)
	r.kill()
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Near: -1, Timeout: 5 * time.Second})
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
	for range 1000 { // with 5 s each this would not end
		if _, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c}); !errors.As(err, new(*redisstore.UnavailableError)) {
			t.Fatalf("error %v", err)
		}
	}
	r.start()
	eventually(t, "admits", func() bool { _, err := s.Take(t.Context(), time.Now(), []limiter.Charge{c}); return err == nil })
}
