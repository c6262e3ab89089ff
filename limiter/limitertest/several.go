package limitertest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// testSeveral: all charges are taken or none, whichever of them is the one that is full.
func testSeveral(t *testing.T, s Suite) {
	limits := []limiter.Limit{
		{Name: "minute", Group: "number", N: 2, Window: time.Minute},
		{Name: "half hour", Group: "number", N: 10, Window: 30 * time.Minute},
		{Name: "client", Group: "client", N: 20, Window: time.Minute},
		{Name: "account", Group: "account", N: 100, Window: time.Second},
		{Name: "money", Group: "account", N: 1_000_000, Window: time.Hour, Stripes: 3},
		{Name: "delay", Group: "number", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 1, Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}},
	}
	for full := range limits {
		t.Run(limits[full].Name, func(t *testing.T) {
			c := newCaller(t, s)
			rules := c.define(limits...)
			k := c.key("k")
			var all []limiter.Charge
			for _, r := range rules {
				all = append(all, charge(r, k, 1))
			}
			if d := c.allow(start, all...); d.Binding != 0 || d.Remaining != 1 {
				t.Fatalf("bound by %+v, want the minute's last unit", d)
			}
			// Fill the one rule, then ask for all: in any order the full one is named and the others stay as they are.
			if limits[full].Kind == limiter.Delay {
				c.allow(start, all[full])
			} else {
				c.allow(start, charge(rules[full], k, limits[full].N-1))
			}
			before := make([]limiter.Usage, len(all))
			for i := range all {
				before[i] = c.peek(start, all[i])
			}
			for range 20 {
				mixed := append([]limiter.Charge(nil), all...)
				rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
				if d := c.deny(start, mixed...); mixed[d.Binding].Rule != rules[full] {
					t.Fatalf("denied by %q, want %q", mixed[d.Binding].Rule.Limit().Name, limits[full].Name)
				}
			}
			for i := range all {
				if after := c.peek(start, all[i]); after != before[i] {
					t.Errorf("a denied check changed %q from %+v to %+v", limits[i].Name, before[i], after)
				}
			}
			// By taking on: what the others have left is what they had.
			for i, r := range rules {
				if i == full || limits[i].Kind == limiter.Delay {
					continue
				}
				c.allow(start, charge(r, k, limits[i].N-1))
				c.deny(start, all[i])
			}
		})
	}

	t.Run("the longest wait is named", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limits...)
		k := c.key("k")
		c.allow(start, charge(r[0], k, 2), charge(r[1], k, 10))
		if d := c.deny(start, charge(r[0], k, 1), charge(r[1], k, 1)); d.Binding != 1 || d.RetryAfter != 30*time.Minute {
			t.Errorf("%+v, want the half hour's", d)
		}
		if d := c.deny(start, charge(r[1], k, 1), charge(r[0], k, 1)); d.Binding != 0 || d.RetryAfter != 30*time.Minute {
			t.Errorf("%+v, want the half hour's", d)
		}
	})

	t.Run("many keys of one rule", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limits[0])[0]
		a, b := c.key("a"), c.key("b")
		c.allow(start, charge(r, a, 1), charge(r, b, 2))
		if d := c.deny(start, charge(r, a, 1), charge(r, b, 1)); d.Binding != 1 {
			t.Errorf("bound by %d, want 1", d.Binding)
		}
		c.allow(start, charge(r, a, 1))
		c.deny(start, charge(r, a, 1))
	})
}

// testRetryAfter: now+RetryAfter passes, and for limits up to MaxExact a microsecond before does not. Above, only the early
// side may differ.
func testRetryAfter(t *testing.T, s Suite) {
	rnd := rand.New(rand.NewPCG(1, 2))
	c := newCaller(t, s)
	limits := shapes()
	rules := c.define(limits...)
	for i := range s.steps(20_000) {
		r := rules[i%len(rules)]
		l := r.Limit()
		if l.Window > time.Hour {
			continue
		}
		k := c.key(string(rune('a' + i)))
		now := start
		for {
			cost := 1 + rnd.Int64N(1+l.N/4)
			d := c.take(now, charge(r, k, cost))
			now = now.Add(time.Duration(rnd.Int64N(1 + 4*int64(l.Window)/min(l.N, 16)))).Truncate(us)
			if d.Allowed {
				continue
			}
			// now has moved on; ask again for the wait from here.
			u := c.peek(now, charge(r, k, cost))
			if u.RetryAfter == 0 {
				c.allow(now, charge(r, k, cost))
				continue
			}
			if l.N <= limiter.MaxExact {
				if d := c.deny(now.Add(u.RetryAfter-us), charge(r, k, cost)); d.RetryAfter != us {
					t.Fatalf("%s: %v before it can pass RetryAfter is %v", l.Name, us, d.RetryAfter)
				}
			}
			if d := c.take(now.Add(u.RetryAfter), charge(r, k, cost)); !d.Allowed {
				t.Fatalf("%s: cost %d still denied after RetryAfter %v: %+v", l.Name, cost, u.RetryAfter, d)
			}
			break
		}
	}
}

// testRefund: exactly what was taken comes back, and nothing that others took.
func testRefund(t *testing.T, s Suite) {
	for _, l := range []limiter.Limit{
		{Name: "exact", Group: "a", N: 6, Window: time.Minute},
		{Name: "buckets", Group: "b", N: 600, Window: time.Minute},
		{Name: "stripes", Group: "c", N: 600, Window: time.Minute, Stripes: 5},
	} {
		t.Run(l.Name, func(t *testing.T) {
			c := newCaller(t, s)
			other := limiter.Limit{Name: "other", Group: "z", N: 5, Window: time.Hour}
			rules := c.define(l, other)
			r, k, k2 := rules[0], c.key("k"), c.key("k2")
			six := func(n int64) int64 { return n * l.N / 6 }
			later := start.Add(10 * time.Second)

			both := []limiter.Charge{charge(r, k, six(2)), charge(rules[1], k2, 1)}
			first := c.allow(start, both...)
			second := c.allow(later, charge(r, k, six(4)))
			c.allow(later, charge(r, k2, six(1)))
			c.refund(first.At, both...)
			c.holds(later, r, k, six(4))
			c.holds(later, rules[1], k2, 0)
			c.holds(later, r, k2, six(1))
			// Nothing more is to be had back for the first.
			c.refund(first.At, charge(r, k, six(2)))
			c.holds(later, r, k, six(4))
			c.allow(later, charge(r, k, six(2)))
			c.deny(later, charge(r, k, 1))
			// A part of the second, then the rest.
			c.refund(second.At, charge(r, k, six(1)))
			c.holds(later, r, k, six(5))

			// What expired is gone already: refunds change nothing, however often.
			after := later.Add(l.Window + early(l))
			for range 3 {
				c.refund(first.At, both...)
				c.refund(second.At, charge(r, k, six(4)))
			}
			c.allow(after, charge(r, k, l.N))
			for range 3 {
				c.refund(first.At, both...)
				c.refund(second.At, charge(r, k, six(4)))
			}
			c.holds(after, r, k, l.N)
			c.deny(after, charge(r, k, 1))
			c.refund(start, charge(r, c.key("never seen"), 1))
		})
	}

	t.Run("delay", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 0, Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}})[0]
		k := c.key("k")
		c.allow(start, charge(r, k, 0))
		second := c.allow(start.Add(time.Minute), charge(r, k, 0))
		c.refund(start, charge(r, k, 0)) // not the newest: nothing
		c.holds(second.At, r, k, 2)
		c.refund(second.At, charge(r, k, 0))
		c.holds(second.At, r, k, 1)
		c.allow(second.At, charge(r, k, 0))
		if d := c.deny(second.At, charge(r, k, 0)); d.RetryAfter != 2*time.Minute {
			t.Errorf("wait %v, want 2m: the refunded charge must not lengthen it", d.RetryAfter)
		}
	})
}

// testReset: a key forgets one rule and keeps the others.
func testReset(t *testing.T, s Suite) {
	c := newCaller(t, s)
	rules := c.define(
		limiter.Limit{Name: "exact", Group: "g", N: 3, Window: time.Minute},
		limiter.Limit{Name: "beside", Group: "g", N: 3, Window: time.Minute},
		limiter.Limit{Name: "buckets", Group: "g", N: 300, Window: time.Minute},
		limiter.Limit{Name: "stripes", Group: "g", N: 300, Window: time.Minute, Stripes: 4},
		limiter.Limit{Name: "delay", Group: "g", Kind: limiter.Delay, Backoff: limiter.Backoff{Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}},
	)
	k, other := c.key("k"), c.key("other")
	var all []limiter.Charge
	for _, r := range rules {
		all = append(all, charge(r, k, r.Limit().N))
	}
	for i, r := range rules {
		now := start.Add(time.Duration(i) * 2 * time.Hour)
		c.allow(now, all...)
		c.allow(now, charge(rules[0], other, 3))
		for j := range all {
			c.deny(now, all[j])
		}
		c.reset(now, r, c.key("never seen"))
		c.deny(now, all[i])
		c.reset(now, r, k)
		c.holds(now, r, k, 0)
		for j := range all {
			if j != i {
				c.deny(now, all[j])
			}
		}
		c.deny(now, charge(rules[0], other, 1))
		c.allow(now, all[i])
		if d := c.deny(now, all[i]); r.Limit().Kind == limiter.Delay && d.RetryAfter != time.Minute {
			t.Errorf("the wait after a reset is %v, want the first", d.RetryAfter)
		}
	}
}

func testMarker(t *testing.T, s Suite) {
	c := newCaller(t, s)
	rules := c.define(
		limiter.Limit{Name: "good", Group: "number", Kind: limiter.Marker},
		limiter.Limit{Name: "minute", Group: "number", N: 2, Window: time.Minute},
		limiter.Limit{Name: "again", Group: "number", Kind: limiter.Marker},
	)
	r, k := rules[0], c.key("k")
	is := func(at time.Time, r *limiter.Rule, want time.Duration) {
		t.Helper()
		held := int64(0)
		if want > 0 {
			held = 1
		}
		if u := c.peek(at, charge(r, k, 0)); u.Held != held || u.RetryAfter != want {
			t.Fatalf("marker at start+%v: %+v, want %v left", at.Sub(start), u, want)
		}
	}
	is(start, r, 0)
	c.allow(start, charge(rules[1], k, 1))
	is(start, r, 0)
	c.mark(start, start.Add(time.Hour), r, k)
	is(start, r, time.Hour)
	is(start, rules[2], 0)
	is(start.Add(time.Hour-us), r, us)
	is(start.Add(time.Hour), r, 0)
	c.mark(start, start.Add(time.Minute), r, k) // never sooner
	is(start, r, time.Hour)
	c.mark(start, start.Add(2*time.Hour), r, k)
	is(start, r, 2*time.Hour)
	c.reset(start, r, k)
	is(start, r, 0)
	c.mark(start, start.Add(time.Minute), r, k)
	is(start, r, time.Minute)
	c.holds(start, rules[1], k, 1)
	c.allow(start, charge(rules[1], k, 1))
	c.deny(start, charge(rules[1], k, 1))
	if u := c.peek(start, charge(r, c.key("other"), 0)); u.Held != 0 {
		t.Error("another key is marked")
	}
}
