// Package limitertest is one suite that every [limiter.Store] passes: tables for the borders, a model check against a plain
// sliding log, a history check under real concurrency, linearizability of small histories, and crash and reopen.
//
//	func TestStore(t *testing.T) {
//		limitertest.Run(t, func(t *testing.T) limiter.Store { ... })
//	}
package limitertest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// Suite says how to test a store.
type Suite struct {
	// Open returns an empty store. It sees to its Close with t.Cleanup. It has room for 10,000 keys of any rule.
	Open func(t *testing.T) limiter.Store
	// Reopen closes a store that Open made and opens it again with all it held. Nil where a store forgets.
	Reopen func(t *testing.T, s limiter.Store) limiter.Store
	// Tight returns an empty store that has to forget expired keys all the time when it is given 50,000. Nil where a store
	// has no such bound; its history is then checked on Open's.
	Tight func(t *testing.T) limiter.Store
	// Settled fails the test if a store that nobody calls still has something undecided. May be nil.
	Settled func(t *testing.T, s limiter.Store)
	// Steps scales the random parts: 1 (also 0) is a few seconds for a store that answers in a microsecond, a store behind a
	// network wants less.
	Steps float64
}

// Run runs the suite on stores that open returns, at full length.
func Run(t *testing.T, open func(t *testing.T) limiter.Store) { Suite{Open: open}.Run(t) }

// Run runs all parts that s has what they need for.
func (s Suite) Run(t *testing.T) {
	if s.Steps == 0 {
		s.Steps = 1
	}
	if testing.Short() {
		s.Steps /= 10
	}
	for _, part := range []struct {
		name string
		run  func(t *testing.T, s Suite)
	}{
		{"Window", testWindow},
		{"Cost", testCost},
		{"Several", testSeveral},
		{"RetryAfter", testRetryAfter},
		{"Refund", testRefund},
		{"Peek", testPeek},
		{"Reset", testReset},
		{"Delay", testDelay},
		{"Marker", testMarker},
		{"Define", testDefine},
		{"Readings", testReadings},
		{"Errors", testErrors},
		{"Reopen", testReopen},
		{"Model", testModel},
		{"Linearizable", testLinearizable},
		{"History", testHistory},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, s) })
	}
}

func (s Suite) settled(t *testing.T, store limiter.Store) {
	t.Helper()
	if s.Settled != nil {
		s.Settled(t, store)
	}
}

func (s Suite) steps(n int) int { return max(1, int(float64(n)*s.Steps)) }

// Torture is how long the history check runs: the duration in the environment's SENDGATE_TORTURE, else the given one.
func Torture(t testing.TB, usual time.Duration) time.Duration {
	v := os.Getenv("SENDGATE_TORTURE")
	if v == "" {
		return usual
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("SENDGATE_TORTURE: %v: write a duration such as 60s", err)
	}
	return d
}

// start is when most tests begin: not at a round microsecond of a second, so that no bucket begins with the test.
var start = time.Date(2026, 3, 4, 5, 6, 7, 123_457_000, time.UTC)

const us = time.Microsecond

// caller calls a store and ends its test on an error.
type caller struct {
	t *testing.T
	s limiter.Store
}

func newCaller(t *testing.T, s Suite) caller { return caller{t, s.Open(t)} }

func (c caller) define(limits ...limiter.Limit) []*limiter.Rule {
	c.t.Helper()
	rules, err := c.s.Define(context.Background(), limits)
	if err != nil {
		c.t.Fatalf("Define: %v", err)
	}
	if len(rules) != len(limits) {
		c.t.Fatalf("Define returned %d rules for %d limits", len(rules), len(limits))
	}
	return rules
}

func (c caller) key(name string) limiter.Key { return c.s.Key([]byte(name)) }

func charge(r *limiter.Rule, k limiter.Key, cost int64) limiter.Charge {
	return limiter.Charge{Rule: r, Key: k, Cost: cost}
}

// take takes, and checks what is true of every Decision.
func (c caller) take(at time.Time, charges ...limiter.Charge) limiter.Decision {
	c.t.Helper()
	d, err := c.s.Take(context.Background(), at, charges)
	if err != nil {
		c.t.Fatalf("Take: %v", err)
	}
	switch {
	case d.Allowed && (d.RetryAfter != 0 || d.Full):
		c.t.Fatalf("allowed with RetryAfter %v, Full %v", d.RetryAfter, d.Full)
	case !d.Allowed && (d.RetryAfter <= 0 || d.Binding < 0):
		c.t.Fatalf("denied with RetryAfter %v, Binding %d", d.RetryAfter, d.Binding)
	case d.Binding < -1 || d.Binding >= len(charges) || d.Remaining < 0:
		c.t.Fatalf("Binding %d of %d charges, Remaining %d", d.Binding, len(charges), d.Remaining)
	case d.At.Before(at):
		c.t.Fatalf("At %v is before the reading %v", d.At, at)
	}
	return d
}

func (c caller) allow(at time.Time, charges ...limiter.Charge) limiter.Decision {
	c.t.Helper()
	d := c.take(at, charges...)
	if !d.Allowed {
		c.t.Fatalf("denied at start+%v: %+v, want allowed", at.Sub(start), d)
	}
	return d
}

func (c caller) deny(at time.Time, charges ...limiter.Charge) limiter.Decision {
	c.t.Helper()
	d := c.take(at, charges...)
	if d.Allowed {
		c.t.Fatalf("allowed at start+%v: %+v, want denied", at.Sub(start), d)
	}
	return d
}

func (c caller) peek(at time.Time, ch limiter.Charge) limiter.Usage {
	c.t.Helper()
	u, err := c.s.Peek(context.Background(), at, ch)
	if err != nil {
		c.t.Fatalf("Peek: %v", err)
	}
	return u
}

// holds checks how many units a key holds.
func (c caller) holds(at time.Time, r *limiter.Rule, k limiter.Key, want int64) {
	c.t.Helper()
	if u := c.peek(at, charge(r, k, 1)); u.Held != want {
		c.t.Fatalf("rule %q holds %d at start+%v, want %d", r.Limit().Name, u.Held, at.Sub(start), want)
	}
}

func (c caller) refund(at time.Time, charges ...limiter.Charge) {
	c.t.Helper()
	if err := c.s.Refund(context.Background(), at, charges); err != nil {
		c.t.Fatalf("Refund: %v", err)
	}
}

func (c caller) reset(at time.Time, r *limiter.Rule, k limiter.Key) {
	c.t.Helper()
	if err := c.s.Reset(context.Background(), at, r, k); err != nil {
		c.t.Fatalf("Reset: %v", err)
	}
}

func (c caller) mark(now, until time.Time, r *limiter.Rule, k limiter.Key) {
	c.t.Helper()
	if err := c.s.Mark(context.Background(), now, until, r, k); err != nil {
		c.t.Fatalf("Mark: %v", err)
	}
}

func (c caller) costError(err error, rule string, cost, limit int64) {
	c.t.Helper()
	var e *limiter.CostError
	if !errors.As(err, &e) || e.Rule != rule || e.Cost != cost || e.Limit != limit {
		c.t.Fatalf("error %v, want a CostError of rule %q, cost %d, limit %d", err, rule, cost, limit)
	}
}

// early is how much sooner than allowed a limit above MaxExact may refuse: 2% of its window, and a little more below 21ms,
// where a microsecond is no longer small beside a bucket.
func early(l limiter.Limit) time.Duration {
	if l.N <= limiter.MaxExact {
		return 0
	}
	return l.Window/limiter.Buckets + min(17*us, l.Window/50)
}
