package limitertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// shapes are the limits that most tables run over: every N at which a layout may change, and every size of window.
func shapes() (limits []limiter.Limit) {
	for _, n := range []int64{1, 2, 6, 7, 8, 14, 15, 16, 61, 62, 63, 100, 1800, 1_000_000, limiter.MaxN} {
		for _, w := range []time.Duration{limiter.MinWindow, 17 * time.Millisecond, time.Second, 30 * time.Minute, 24 * time.Hour, limiter.MaxWindow} {
			limits = append(limits, limiter.Limit{Name: fmt.Sprintf("%d in %v", n, w), Group: fmt.Sprintf("%d/%v", n, w), N: n, Window: w})
			if n > limiter.MaxExact && w == time.Second {
				limits = append(limits, limiter.Limit{Name: fmt.Sprintf("%d in %v striped", n, w), Group: fmt.Sprintf("%d/%v", n, w), N: n, Window: w, Stripes: 4})
			}
		}
	}
	return limits
}

// testWindow: N in any window, and the border of the window is exact to the microsecond.
func testWindow(t *testing.T, s Suite) {
	for _, l := range shapes() {
		t.Run(l.Name, func(t *testing.T) {
			// A store of its own: what another key forgets may move a fresh key's decision on.
			c := newCaller(t, s)
			r := c.define(l)[0]
			k := c.key("at once")
			// All at one reading, in ten parts where there are that many.
			left := l.N
			for left > 0 {
				part := max(1, min(left, l.N/10))
				if d := c.allow(start, charge(r, k, part)); d.Remaining != left-part || d.Binding != 0 || !d.At.Equal(start) {
					t.Fatalf("after %d of %d: %+v", l.N-left+part, l.N, d)
				}
				left -= part
			}
			c.holds(start, r, k, l.N)
			d := c.deny(start, charge(r, k, 1))
			if d.Remaining != 0 || d.RetryAfter < l.Window || d.RetryAfter > l.Window+early(l) {
				t.Fatalf("full: %+v, want RetryAfter %v to %v", d, l.Window, l.Window+early(l))
			}
			c.deny(start.Add(l.Window-us), charge(r, k, 1))
			c.deny(start.Add(l.Window-us), charge(r, k, l.N))
			all := c.deny(start, charge(r, k, l.N)).RetryAfter // a store may have room for one unit before it has room for all
			if all < d.RetryAfter || all > l.Window+early(l) {
				t.Fatalf("full: all can pass after %v, one after %v", all, d.RetryAfter)
			}
			c.allow(start.Add(all), charge(r, k, l.N))
			c.deny(start.Add(all), charge(r, k, 1))

			// One after the other over two windows: a unit comes free exactly when it is a window old.
			n := min(l.N, 20)
			k, cost := c.key("spread"), l.N/n
			step := (l.Window / time.Duration(n)).Truncate(us)
			if step < us {
				return
			}
			at := func(i int64) time.Time { return start.Add(time.Duration(i) * step) }
			for i := range n {
				c.allow(at(i), charge(r, k, cost))
			}
			if rest := l.N - n*cost; rest > 0 {
				c.allow(at(n-1), charge(r, k, rest))
			}
			for i := range n {
				c.deny(at(i).Add(l.Window-us), charge(r, k, cost))
				if early(l) > step {
					continue
				}
				c.allow(at(i).Add(l.Window+early(l)), charge(r, k, cost))
			}
		})
	}
}

// testCost: a cost is taken whole or not at all, and one that makes no sense is an error that changes nothing.
func testCost(t *testing.T, s Suite) {
	c := newCaller(t, s)
	for _, l := range []limiter.Limit{
		{Name: "exact", Group: "a", N: 10, Window: time.Minute},
		{Name: "buckets", Group: "b", N: 1000, Window: time.Minute},
		{Name: "stripes", Group: "c", N: 1000, Window: time.Minute, Stripes: 7},
	} {
		r, k := c.define(l)[0], c.key("k")
		third := l.N/3 - l.N/30 // three fit, four do not
		for i := range int64(3) {
			if d := c.allow(start, charge(r, k, third)); d.Remaining != l.N-(i+1)*third {
				t.Fatalf("%s: %+v", l.Name, d)
			}
		}
		rest := l.N - 3*third
		if d := c.deny(start, charge(r, k, rest+1)); d.Remaining != rest {
			t.Errorf("%s: denied with Remaining %d, want %d", l.Name, d.Remaining, rest)
		}
		c.holds(start, r, k, 3*third)
		for _, cost := range []int64{0, -1, math.MinInt64, l.N + 1, math.MaxInt64} {
			_, err := c.s.Take(context.Background(), start, []limiter.Charge{charge(r, k, cost)})
			c.costError(err, l.Name, cost, l.N)
		}
		_, err := c.s.Peek(context.Background(), start, charge(r, k, l.N+1))
		c.costError(err, l.Name, l.N+1, l.N)
		c.allow(start, charge(r, k, rest))
		c.deny(start, charge(r, k, 1))
	}
}

// testErrors: what makes no sense is an error.
func testErrors(t *testing.T, s Suite) {
	c := newCaller(t, s)
	ctx := context.Background()
	good := limiter.Limit{Name: "n", Group: "g", N: 3, Window: time.Second}
	backoff := limiter.Backoff{Free: 1, Base: time.Second, Factor: 2, Max: time.Minute, ForgetAfter: time.Hour}
	for what, change := range map[string]func(*limiter.Limit){
		"no name":        func(l *limiter.Limit) { l.Name = "" },
		"no group":       func(l *limiter.Limit) { l.Group = "" },
		"N 0":            func(l *limiter.Limit) { l.N = 0 },
		"N -1":           func(l *limiter.Limit) { l.N = -1 },
		"N too large":    func(l *limiter.Limit) { l.N = limiter.MaxN + 1 },
		"no window":      func(l *limiter.Limit) { l.Window = 0 },
		"short window":   func(l *limiter.Limit) { l.Window = limiter.MinWindow - 1 },
		"long window":    func(l *limiter.Limit) { l.Window = limiter.MaxWindow + 1 },
		"unknown kind":   func(l *limiter.Limit) { l.Kind = 77 },
		"no backoff":     func(l *limiter.Limit) { l.Kind = limiter.Delay },
		"base over max":  func(l *limiter.Limit) { l.Kind, l.Backoff = limiter.Delay, backoff; l.Backoff.Base = time.Hour },
		"factor below 1": func(l *limiter.Limit) { l.Kind, l.Backoff = limiter.Delay, backoff; l.Backoff.Factor = 0.9 },
		"factor NaN":     func(l *limiter.Limit) { l.Kind, l.Backoff = limiter.Delay, backoff; l.Backoff.Factor = math.NaN() },
		"much jitter":    func(l *limiter.Limit) { l.Kind, l.Backoff = limiter.Delay, backoff; l.Backoff.Jitter = 0.6 },
		"free -1":        func(l *limiter.Limit) { l.Kind, l.Backoff = limiter.Delay, backoff; l.Backoff.Free = -1 },
	} {
		l := good
		change(&l)
		if _, err := c.s.Define(ctx, []limiter.Limit{l}); err == nil {
			t.Errorf("Define with %s gave no error", what)
		}
	}
	if _, err := c.s.Define(ctx, []limiter.Limit{good, good}); err == nil {
		t.Error("Define of one limit twice gave no error")
	}

	r, k := c.define(good)[0], c.key("k")
	for _, twice := range [][]limiter.Charge{
		{charge(r, k, 1), charge(r, k, 1)},
		{charge(r, k, 1), charge(r, c.key("other"), 1), charge(r, k, 1)},
	} {
		if _, err := c.s.Take(ctx, start, twice); err == nil {
			t.Error("Take that charges one rule and key twice gave no error")
		}
	}
	c.holds(start, r, k, 0)

	foreign := newCaller(t, s).define(good)[0]
	mark := c.define(good, limiter.Limit{Name: "m", Group: "g", Kind: limiter.Marker})[1]
	for _, bad := range []*limiter.Rule{nil, {}, foreign} {
		if _, err := c.s.Take(ctx, start, []limiter.Charge{charge(bad, k, 1)}); !errors.Is(err, limiter.ErrForeignRule) {
			t.Errorf("Take by a foreign rule: %v", err)
		}
		if _, err := c.s.Peek(ctx, start, charge(bad, k, 1)); !errors.Is(err, limiter.ErrForeignRule) {
			t.Errorf("Peek by a foreign rule: %v", err)
		}
		if err := c.s.Refund(ctx, start, []limiter.Charge{charge(bad, k, 1)}); !errors.Is(err, limiter.ErrForeignRule) {
			t.Errorf("Refund by a foreign rule: %v", err)
		}
		if err := c.s.Reset(ctx, start, bad, k); !errors.Is(err, limiter.ErrForeignRule) {
			t.Errorf("Reset by a foreign rule: %v", err)
		}
		if err := c.s.Mark(ctx, start, start, bad, k); !errors.Is(err, limiter.ErrForeignRule) {
			t.Errorf("Mark by a foreign rule: %v", err)
		}
	}
	if err := c.s.Mark(ctx, start, start.Add(time.Hour), r, k); err == nil {
		t.Error("Mark by a rule that is no marker gave no error")
	}
	if _, err := c.s.Take(ctx, start, []limiter.Charge{charge(mark, k, 1)}); err == nil {
		t.Error("Take of a marker gave no error")
	}
	if d := c.take(start); !d.Allowed || d.Binding != -1 {
		t.Errorf("a Take of nothing: %+v, want allowed and bound by nothing", d)
	}

	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	_, errTake := c.s.Take(ctx, start, []limiter.Charge{charge(r, k, 1)})
	_, errPeek := c.s.Peek(ctx, start, charge(r, k, 1))
	_, errDefine := c.s.Define(ctx, []limiter.Limit{good})
	for what, err := range map[string]error{
		"Take": errTake, "Peek": errPeek, "Define": errDefine,
		"Refund": c.s.Refund(ctx, start, []limiter.Charge{charge(r, k, 1)}),
		"Reset":  c.s.Reset(ctx, start, r, k),
		"Mark":   c.s.Mark(ctx, start, start, mark, k),
	} {
		if !errors.Is(err, limiter.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

// testPeek: a look changes nothing, not even one from the future.
func testPeek(t *testing.T, s Suite) {
	c := newCaller(t, s)
	for _, l := range []limiter.Limit{
		{Name: "exact", Group: "a", N: 5, Window: time.Minute},
		{Name: "buckets", Group: "b", N: 500, Window: time.Minute},
		{Name: "stripes", Group: "c", N: 500, Window: time.Minute, Stripes: 3},
	} {
		r, k := c.define(l)[0], c.key("k")
		half := l.N / 2
		if u := c.peek(start, charge(r, k, l.N)); u != (limiter.Usage{}) {
			t.Errorf("%s: peek of a fresh key: %+v", l.Name, u)
		}
		c.allow(start, charge(r, k, half))
		if u := c.peek(start, charge(r, k, l.N-half)); u.Held != half || u.RetryAfter != 0 {
			t.Errorf("%s: peek of what fits: %+v, held %d", l.Name, u, half)
		}
		if u := c.peek(start, charge(r, k, l.N-half+1)); u.Held != half || u.RetryAfter < l.Window || u.RetryAfter > l.Window+early(l) {
			t.Errorf("%s: peek of one more than fits: %+v", l.Name, u)
		}
		for _, ahead := range []time.Duration{time.Second, l.Window, 50 * l.Window, 365 * 24 * time.Hour} {
			c.peek(start.Add(ahead), charge(r, k, 1))
		}
		if d := c.allow(start.Add(time.Second), charge(r, k, l.N-half)); !d.At.Equal(start.Add(time.Second)) || d.Remaining != 0 {
			t.Errorf("%s: after looks ahead: %+v", l.Name, d)
		}
		c.deny(start.Add(time.Second), charge(r, k, 1))
	}
}
