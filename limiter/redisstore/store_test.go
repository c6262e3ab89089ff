package redisstore_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/limitertest"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

var prefixes atomic.Int64

// byReadings are options for tests with clocks of their own: a store on keys that nobody else has.
func byReadings(addr ...string) redisstore.Options {
	return redisstore.Options{Addrs: addr, Prefix: fmt.Sprintf("t%d:", prefixes.Add(1)), Clock: redisstore.CallersClock,
		Slack: time.Minute, Timeout: 20 * time.Second, Near: -1}
}

// TestStore is the suite that the embedded table passes too.
func TestStore(t *testing.T) { suite(t, "redis-server", 0.02) }

// TestStore_valkey is the same on Valkey, without the long history.
func TestStore_valkey(t *testing.T) { suite(t, "valkey-server", 0.01) }

func suite(t *testing.T, program string, steps float64) {
	r := startProgram(t, program)
	options := map[limiter.Store]redisstore.Options{}
	openAs := func(t *testing.T, o redisstore.Options) limiter.Store {
		s := open(t, o)
		options[s] = o
		return s
	}
	limitertest.Suite{
		Open: func(t *testing.T) limiter.Store {
			if program == "valkey-server" && strings.HasSuffix(t.Name(), "/History") {
				t.Skip("on redis-server")
			}
			return openAs(t, byReadings(r.addr))
		},
		Reopen: func(t *testing.T, s limiter.Store) limiter.Store {
			s.Close()
			return openAs(t, options[s])
		},
		Steps: steps,
	}.Run(t)
}

// TestFormats: units that no longer fit a byte are kept as well, in one bucket and in several.
func TestFormats(t *testing.T) {
	r := startServer(t)
	s := open(t, byReadings(r.addr))
	c := limiter.Charge{Rule: define(t, s, limiter.Limit{Name: "r", Group: "g", N: 1000, Window: time.Hour})[0], Cost: 1}
	for _, step := range []time.Duration{0, time.Minute + 10*time.Second} {
		c.Key = s.Key([]byte(step.String()))
		now, held := time.Now(), int64(0)
		for _, cost := range []int64{1, 253, 1, 1, 1, 255, 488} {
			c.Cost = cost
			take(t, s, now, c)
			held += cost
			if u, err := s.Peek(t.Context(), now, c); err != nil || u.Held != held {
				t.Fatalf("%v apart: %d held, want %d: %v", step, u.Held, held, err)
			}
			now = now.Add(step)
		}
	}
}
