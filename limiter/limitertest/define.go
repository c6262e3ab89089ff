package limitertest

import (
	"slices"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// testDefine: a new set of rules keeps the counters of those that stay, and never holds more than the new N.
func testDefine(t *testing.T, s Suite) {
	limit := func(n int64, w time.Duration) limiter.Limit {
		return limiter.Limit{Name: "r", Group: "g", N: n, Window: w}
	}
	const w = time.Minute
	for _, step := range []struct {
		name string
		ns   []int64 // one Define after the other, a second apart; each is filled
	}{
		{"raise within a line", []int64{2, 5}},
		{"raise to another slot", []int64{5, 12, 40, 62}},
		{"raise one by one", []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}},
		{"raise into buckets", []int64{10, 100, 1000, 100_000}},
		{"lower", []int64{10, 4, 1}},
		{"lower buckets", []int64{1000, 100}},
		{"lower out of buckets", []int64{1000, 30}},
		{"up and down", []int64{3, 30, 3, 300, 3, 5}},
	} {
		t.Run(step.name, func(t *testing.T) {
			c := newCaller(t, s)
			k, now, held := c.key("k"), start, int64(0)
			for i, n := range step.ns {
				r := c.define(limit(n, w))[0]
				c.holds(now, r, k, held)
				if held < n {
					c.allow(now, charge(r, k, n-held))
					held = n
				}
				if d := c.deny(now, charge(r, k, 1)); d.Remaining != 0 {
					t.Fatalf("N %d, %d held: %+v", n, held, d)
				}
				if i < len(step.ns)-1 {
					now = now.Add(time.Second)
				}
			}
			// Another window later everything is free again, and only N of it.
			n := step.ns[len(step.ns)-1]
			r := c.define(limit(n, w))[0]
			now = now.Add(w + 2*w/limiter.Buckets)
			c.allow(now, charge(r, k, n))
			c.deny(now, charge(r, k, 1))
		})
	}

	t.Run("lowering frees as permits end", func(t *testing.T) {
		c := newCaller(t, s)
		r, k := c.define(limit(4, w))[0], c.key("k")
		for i := range 4 {
			c.allow(start.Add(time.Duration(i)*time.Second), charge(r, k, 1))
		}
		r = c.define(limit(2, w))[0]
		// 4 held; the third to end makes room for the first under the new N.
		if d := c.deny(start.Add(4*time.Second), charge(r, k, 1)); d.RetryAfter != w-2*time.Second {
			t.Errorf("RetryAfter %v, want %v", d.RetryAfter, w-2*time.Second)
		}
		c.deny(start.Add(w+2*time.Second-us), charge(r, k, 1))
		c.allow(start.Add(w+2*time.Second), charge(r, k, 1))
		c.deny(start.Add(w+2*time.Second), charge(r, k, 1))
		c.allow(start.Add(w+3*time.Second), charge(r, k, 1))
		c.deny(start.Add(w+3*time.Second), charge(r, k, 1))
	})

	t.Run("others stay", func(t *testing.T) {
		c := newCaller(t, s)
		other := limiter.Limit{Name: "other", Group: "g", N: 3, Window: time.Hour}
		far := limiter.Limit{Name: "r", Group: "another group", N: 3, Window: time.Hour}
		old := c.define(limit(5, w), other, far)
		k := c.key("k")
		c.allow(start, charge(old[0], k, 5), charge(old[1], k, 3), charge(old[2], k, 3))
		// In another order, with a newcomer before them.
		now := c.define(limiter.Limit{Name: "new", Group: "g", N: 2, Window: w}, far, other, limit(5, w))
		c.allow(start, charge(now[0], k, 2))
		for _, r := range now[1:] {
			c.deny(start, charge(r, k, 1))
		}
		// Dropped and taken up again.
		c.define(limiter.Limit{Name: "alone", Group: "g", N: 1, Window: w})
		back := c.define(other, limit(5, w), far)
		for _, r := range back {
			c.deny(start, charge(r, k, 1))
			c.holds(start, r, k, r.Limit().N)
		}
		// The same name in another group, and of another kind, is another rule.
		moved := c.define(limiter.Limit{Name: "other", Group: "elsewhere", N: 3, Window: time.Hour},
			limiter.Limit{Name: "r", Group: "g", Kind: limiter.Marker})
		c.allow(start, charge(moved[0], k, 3))
		if u := c.peek(start, charge(moved[1], k, 0)); u.Held != 0 {
			t.Error("a limit that became a marker is marked")
		}
	})

	t.Run("window", func(t *testing.T) {
		for _, n := range []int64{3, 300} {
			c := newCaller(t, s)
			r, k := c.define(limit(n, w))[0], c.key("k")
			c.allow(start, charge(r, k, n))
			r = c.define(limit(n, w/2))[0]
			// A unit that is held ends when it would have.
			c.deny(start.Add(w-us), charge(r, k, 1))
			now := start.Add(w + 2*w/limiter.Buckets)
			d := c.allow(now, charge(r, k, n))
			if d := c.deny(now, charge(r, k, 1)); d.RetryAfter > w/2+early(limit(n, w/2)) {
				t.Errorf("N %d: RetryAfter %v by a window of %v", n, d.RetryAfter, w/2)
			}
			c.refund(d.At, charge(r, k, n))
			c.allow(now, charge(r, k, n))
		}
	})

	t.Run("an error changes nothing", func(t *testing.T) {
		c := newCaller(t, s)
		r, k := c.define(limit(5, w))[0], c.key("k")
		c.allow(start, charge(r, k, 3))
		if _, err := c.s.Define(t.Context(), []limiter.Limit{limit(50, w), {Name: "bad"}}); err == nil {
			t.Fatal("no error")
		}
		c.allow(start, charge(r, k, 2))
		c.deny(start, charge(r, k, 1))
	})
}

// testReadings: clocks that are late, early, stepped or finer than a microsecond.
func testReadings(t *testing.T, s Suite) {
	for _, l := range []limiter.Limit{
		{Name: "exact", Group: "a", N: 4, Window: time.Minute},
		{Name: "buckets", Group: "b", N: 400, Window: time.Minute},
		{Name: "stripes", Group: "c", N: 400, Window: time.Minute, Stripes: 4},
	} {
		quarter := l.N / 4
		t.Run(l.Name+" out of order", func(t *testing.T) {
			// Decisions of any order of readings: no window holds more than N.
			c := newCaller(t, s)
			r, k := c.define(l)[0], c.key("k")
			var log []grant
			for _, sec := range []int{100, 40, 99, 41, 160, 100, 101, 70, 20, 159, 161, 60, 220, 160, 100, 40, 221} {
				at := start.Add(time.Duration(sec) * time.Second)
				for range 3 {
					if d := c.take(at, charge(r, k, quarter)); d.Allowed {
						log = append(log, grant{d.At, quarter})
					} else if at.Add(d.RetryAfter).After(start.Add(161*time.Second + 2*l.Window)) {
						t.Fatalf("at %ds RetryAfter is %v", sec, d.RetryAfter)
					}
				}
			}
			checkWindows(t, l, log)
			// At 100s, 160s and 220s a window has gone by since all was taken.
			if len(log) < 8 {
				t.Errorf("only %d admitted", len(log))
			}
		})
		t.Run(l.Name+" back by an hour", func(t *testing.T) {
			c := newCaller(t, s)
			r, k := c.define(l)[0], c.key("k")
			c.allow(start, charge(r, k, l.N))
			// Full stays full until the clock has come back and a window has gone by.
			for _, back := range []time.Duration{time.Hour, 30 * time.Minute, time.Minute, us} {
				now := start.Add(-back)
				d := c.deny(now, charge(r, k, 1))
				if l.N <= limiter.MaxExact && d.RetryAfter != back+l.Window {
					t.Errorf("%v back: RetryAfter %v", back, d.RetryAfter)
				}
				if u := c.peek(now, charge(r, k, 1)); u.RetryAfter != d.RetryAfter || u.Held != l.N {
					t.Errorf("%v back: peek %+v, take %+v", back, u, d)
				}
			}
			back := start.Add(-time.Hour)
			d := c.deny(back, charge(r, k, 1))
			c.allow(back.Add(d.RetryAfter), charge(r, k, 1))
		})
		t.Run(l.Name+" half full, back by an hour", func(t *testing.T) {
			c := newCaller(t, s)
			r, k := c.define(l)[0], c.key("k")
			c.allow(start, charge(r, k, 2*quarter))
			log := []grant{{start, 2 * quarter}}
			for sec := range 3700 {
				if d := c.take(start.Add(-time.Hour+time.Duration(sec)*time.Second), charge(r, k, quarter)); d.Allowed {
					log = append(log, grant{d.At, quarter})
				}
			}
			checkWindows(t, l, log)
		})
		t.Run(l.Name+" forward by years and back", func(t *testing.T) {
			c := newCaller(t, s)
			r, k, other := c.define(l)[0], c.key("k"), c.key("other")
			c.allow(start, charge(r, k, l.N))
			ahead := start.AddDate(20, 0, 0)
			c.allow(ahead, charge(r, k, quarter))
			log := []grant{{start, l.N}, {ahead, quarter}}
			for range 5 {
				if d := c.take(start.Add(time.Second), charge(r, k, quarter)); d.Allowed {
					log = append(log, grant{d.At, quarter})
				}
			}
			checkWindows(t, l, log)
			// A key that never saw the step is as ever.
			if d := c.allow(start, charge(r, other, l.N)); !d.At.Equal(start) {
				t.Errorf("another key decides at %v", d.At)
			}
		})
		t.Run(l.Name+" finer than a microsecond", func(t *testing.T) {
			c := newCaller(t, s)
			r := c.define(l)[0]
			for _, ns := range []time.Duration{1, 999, 500} {
				now, k := start.Add(ns), c.key(ns.String())
				c.allow(now, charge(r, k, l.N))
				d := c.deny(now, charge(r, k, 1))
				if d.RetryAfter < l.Window || d.RetryAfter > l.Window+early(l)+us {
					t.Errorf("RetryAfter %v", d.RetryAfter)
				}
				c.deny(now.Add(l.Window-1), charge(r, k, 1))
				c.refund(now, charge(r, k, l.N))
				c.holds(now.Add(us), r, k, 0)
			}
		})
	}
	t.Run("out of range", func(t *testing.T) {
		c := newCaller(t, s)
		r, k := c.define(limiter.Limit{Name: "r", Group: "g", N: 1, Window: time.Minute})[0], c.key("k")
		for _, now := range []time.Time{{}, time.Unix(-1, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)} {
			if _, err := c.s.Take(t.Context(), now, []limiter.Charge{charge(r, k, 1)}); err == nil {
				t.Errorf("no error for the reading %v", now)
			}
		}
		c.holds(start, r, k, 0)
	})
	t.Run("delay back by an hour", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay, Backoff: limiter.Backoff{Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}})[0]
		k := c.key("k")
		c.allow(start, charge(r, k, 0))
		if d := c.deny(start.Add(-time.Hour), charge(r, k, 0)); d.RetryAfter != time.Hour+time.Minute {
			t.Errorf("RetryAfter %v", d.RetryAfter)
		}
		c.holds(start.Add(-time.Hour), r, k, 1)
		c.allow(start.Add(time.Minute), charge(r, k, 0))
		c.holds(start.Add(time.Minute), r, k, 2)
	})
}

// testReopen: what was counted is counted still.
func testReopen(t *testing.T, s Suite) {
	if s.Reopen == nil {
		t.Skip("the store has no reopen")
	}
	c := newCaller(t, s)
	limits := []limiter.Limit{
		{Name: "exact", Group: "number", N: 3, Window: time.Hour},
		{Name: "buckets", Group: "account", N: 300, Window: time.Hour},
		{Name: "stripes", Group: "account", N: 300, Window: time.Hour, Stripes: 3},
		{Name: "delay", Group: "number", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 1, Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}},
		{Name: "mark", Group: "number", Kind: limiter.Marker},
	}
	rules := c.define(limits...)
	k := c.key("k")
	var all []limiter.Charge
	for _, r := range rules[:4] {
		all = append(all, charge(r, k, 1))
	}
	for i := range 3 {
		now := start.Add(time.Duration(i) * 3 * time.Minute)
		c.allow(now, all...)
		c.mark(now, now.Add(24*time.Hour), rules[4], k)
		c.s = s.Reopen(t, c.s)
		if c.key("k") != k {
			t.Fatal("a key hashes differently after a reopen")
		}
		slices.Reverse(limits) // order is not identity
		rules = c.define(limits...)
		slices.Reverse(limits)
		slices.Reverse(rules)
		for j, r := range rules[:4] {
			all[j] = charge(r, k, 1)
			c.holds(now, r, k, int64(i+1))
		}
		if u := c.peek(now, charge(rules[4], k, 0)); u.RetryAfter != 24*time.Hour {
			t.Errorf("mark after a reopen: %+v", u)
		}
	}
	if d := c.deny(start.Add(9*time.Minute), all[0]); d.RetryAfter != 51*time.Minute {
		t.Errorf("RetryAfter %v", d.RetryAfter)
	}
	// The clock of the next life is behind.
	c.s = s.Reopen(t, c.s)
	rules = c.define(limits...)
	if d := c.deny(start.Add(-time.Hour), charge(rules[0], k, 1)); d.RetryAfter != 2*time.Hour {
		t.Errorf("an hour behind RetryAfter is %v", d.RetryAfter)
	}
	c.deny(start.Add(-time.Hour), charge(rules[1], k, 298))
}
