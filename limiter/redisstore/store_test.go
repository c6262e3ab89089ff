package redisstore_test

import (
	"fmt"
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
func TestStore(t *testing.T) {
	r := startServer(t)
	options := map[limiter.Store]redisstore.Options{}
	openAs := func(t *testing.T, o redisstore.Options) limiter.Store {
		s := open(t, o)
		options[s] = o
		return s
	}
	limitertest.Suite{
		Open: func(t *testing.T) limiter.Store { return openAs(t, byReadings(r.addr)) },
		Reopen: func(t *testing.T, s limiter.Store) limiter.Store {
			s.Close()
			return openAs(t, options[s])
		},
		Steps: 0.02,
	}.Run(t)
}
