package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ululelimiter "github.com/ulule/limiter/v3"
	ulule "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	sendgate "github.com/sendgate/sendgate/limiter"
)

const (
	ours   = "sendgate"
	goLim  = "go-limiter memorystore"
	xrate  = "sync.Map of x/time/rate"
	gcra   = "throttled GCRA memstore"
	ululeM = "ulule memory"
)

var (
	contenders = []string{ours, goLim, xrate, gcra, ululeM}
	ctx        = context.Background()
)

func cores() int { return runtime.GOMAXPROCS(0) }

func goVersion() string { return runtime.Version() }

func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var all []string
	for _, d := range info.Deps {
		for _, m := range []string{"go-limiter", "throttled", "ulule", "x/time"} {
			if strings.Contains(d.Path, m) {
				all = append(all, d.Path+" "+d.Version)
			}
		}
	}
	return strings.Join(all, ", ")
}

// taker takes one unit of one rule for a key and says whether it was admitted. As in a server the key comes as bytes that were
// just put together, of which the others want a string, and each take reads the clock once: ours is handed the reading, the
// others read it themselves.
type taker func(key []byte) bool

// newTaker makes a limiter of n per window with room for keys.
func newTaker(who string, n int, window time.Duration, keys int) taker {
	switch who {
	case ours:
		// 80% full, in slots that fit the rule.
		shares, slot := [3]int{1, 0, 0}, int64(64)
		switch {
		case n > 15:
			shares, slot = [3]int{0, 0, 1}, 512
		case n > 7:
			shares, slot = [3]int{0, 1, 0}, 128
		}
		t, r := openOurs(sendgate.Options{Size: max(1<<20, int64(keys)*slot*10/8+1<<20), Shares: shares},
			sendgate.Limit{Name: "rule", Group: "number", N: int64(n), Window: window})
		return oursTaker(t, r[0])
	case goLim:
		s := newGoLimiter(n, window)
		return func(key []byte) bool {
			_, _, _, ok, err := s.Take(ctx, string(key))
			must(err)
			return ok
		}
	case xrate:
		var m sync.Map
		every := rate.Every(window / time.Duration(n))
		return func(key []byte) bool {
			l, ok := m.Load(string(key))
			if !ok {
				l, _ = m.LoadOrStore(string(key), rate.NewLimiter(every, n))
			}
			return l.(*rate.Limiter).Allow()
		}
	case gcra:
		store, err := memstore.NewCtx(keys * 2)
		must(err)
		g, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDuration(n, window), MaxBurst: n - 1})
		must(err)
		return func(key []byte) bool {
			limited, _, err := g.RateLimitCtx(ctx, string(key), 1)
			must(err)
			return !limited
		}
	case ululeM:
		l := ululelimiter.New(ulule.NewStoreWithOptions(ululelimiter.StoreOptions{Prefix: "l", CleanUpInterval: time.Hour}),
			ululelimiter.Rate{Period: window, Limit: int64(n)})
		return func(key []byte) bool {
			c, err := l.Get(ctx, string(key))
			must(err)
			return !c.Reached
		}
	}
	panic("unknown contender " + who)
}

func oursTaker(t *sendgate.Table, r *sendgate.Rule) taker {
	now := newClock()
	return func(key []byte) bool {
		d, err := t.Take(ctx, now(), []sendgate.Charge{{Rule: r, Key: t.Key(key), Cost: 1}})
		must(err)
		return d.Allowed
	}
}

// newClock is read as Sendgate's server reads its own (server.Clock): the wall time of its start, carried on by the monotonic clock.
func newClock() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Add(time.Since(start)) }
}

func newGoLimiter(n int, window time.Duration) limiter.Store {
	s, err := memorystore.New(&memorystore.Config{Tokens: uint64(n), Interval: window, SweepInterval: 24 * time.Hour, SweepMinTTL: 24 * time.Hour})
	must(err)
	return s
}

func openOurs(o sendgate.Options, limits ...sendgate.Limit) (*sendgate.Table, []*sendgate.Rule) {
	t, err := sendgate.Open(o)
	must(err)
	r, err := t.Define(ctx, limits)
	must(err)
	return t, r
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// number is the i-th of 100 million numbers, neighbours far apart.
func number(buf *[16]byte, i int) []byte {
	b := append(buf[:0], "+65"...)
	n := i * 48271 % 100_000_000
	for d := 10_000_000; d > 0; d /= 10 {
		b = append(b, byte('0'+n/d%10))
	}
	return b
}
