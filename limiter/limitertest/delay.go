package limitertest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// backoff is the reference for a rule of Kind Delay: without jitter the store must agree with it to the microsecond.
type backoff struct {
	limiter.Backoff
	count int
	next  time.Time // when the next charge may come
	last  time.Time // of the newest charge
}

func (b *backoff) wait(n int) time.Duration {
	if n <= b.Free {
		return 0
	}
	w := float64(b.Base) * math.Pow(b.Factor, float64(n-b.Free-1))
	return time.Duration(min(w, float64(b.Max)))
}

func (b *backoff) take(now time.Time) (wait time.Duration) {
	if now.Before(b.next) {
		return b.next.Sub(now)
	}
	if now.After(b.next.Add(b.ForgetAfter)) {
		b.count = 0
	}
	b.count++
	b.last, b.next = now, now.Add(b.wait(b.count))
	return 0
}

func (b *backoff) refund() { // of the newest charge
	b.count--
	b.next, b.last = b.last, time.Time{}
}

func testDelay(t *testing.T, s Suite) {
	t.Run("table", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limiter.Limit{Name: "otp", Group: "number", Kind: limiter.Delay,
			Backoff: limiter.Backoff{Free: 2, Base: time.Minute, Factor: 2, Max: 32 * time.Minute, ForgetAfter: 24 * time.Hour}})[0]
		k, now := c.key("k"), start
		for i, wait := range []time.Duration{0, 0, 1, 2, 4, 8, 16, 32, 32, 32} {
			c.allow(now, charge(r, k, 0))
			c.holds(now, r, k, int64(i+1))
			wait *= time.Minute
			if wait > 0 {
				if d := c.deny(now, charge(r, k, 0)); d.RetryAfter != wait {
					t.Fatalf("after charge %d: wait %v, want %v", i+1, d.RetryAfter, wait)
				}
				c.deny(now.Add(wait-us), charge(r, k, 0))
			}
			now = now.Add(wait)
		}
		// Quiet for as long as it remembers, and one microsecond more.
		c.holds(now.Add(24*time.Hour-us), r, k, 10)
		now = now.Add(24*time.Hour + us)
		c.holds(now, r, k, 0)
		c.allow(now, charge(r, k, 0))
		c.allow(now, charge(r, k, 0))
		c.allow(now, charge(r, k, 0))
		c.deny(now, charge(r, k, 0))
		c.reset(now, r, k)
		c.holds(now, r, k, 0)
		c.allow(now, charge(r, k, 0))
	})

	t.Run("count has no end", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay,
			Backoff: limiter.Backoff{Free: 100, Base: time.Second, Factor: 1.5, Max: time.Minute, ForgetAfter: time.Hour}})[0]
		k, now := c.key("k"), start
		for range 100 {
			c.allow(now, charge(r, k, 0))
		}
		for i := range 300 {
			c.allow(now, charge(r, k, 0))
			d := c.deny(now, charge(r, k, 0))
			if want := time.Duration(min(float64(time.Minute), float64(time.Second)*math.Pow(1.5, float64(i)))).Truncate(us); d.RetryAfter != want {
				t.Fatalf("delay %d is %v, want %v", i, d.RetryAfter, want)
			}
			now = now.Add(d.RetryAfter)
		}
	})

	t.Run("jitter", func(t *testing.T) {
		c := newCaller(t, s)
		b := limiter.Backoff{Base: 100 * time.Second, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour, Jitter: 0.2}
		r := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay, Backoff: b})[0]
		seen := map[time.Duration]bool{}
		low, high := time.Hour, time.Duration(0)
		for i := range 300 {
			k, now := c.key(string(rune('a'+i))), start
			for n := range 8 {
				c.allow(now, charge(r, k, 0))
				wait := c.deny(now, charge(r, k, 0)).RetryAfter
				plain := min(b.Max, b.Base<<n)
				if float64(wait) < 0.8*float64(plain)-1000 || float64(wait) > min(1.2*float64(plain), float64(b.Max))+1000 {
					t.Fatalf("delay %d is %v, want %v within 20%% and at most %v", n+1, wait, plain, b.Max)
				}
				if n == 0 {
					seen[wait] = true
					low, high = min(low, wait), max(high, wait)
				}
				now = now.Add(wait)
			}
		}
		if len(seen) < 290 || low > 82*time.Second || high < 118*time.Second {
			t.Errorf("300 keys have %d different first delays from %v to %v", len(seen), low, high)
		}
	})

	t.Run("stop", func(t *testing.T) {
		c := newCaller(t, s)
		r := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay,
			Backoff: limiter.Backoff{Free: 2, Base: time.Second, Factor: 2, Max: time.Minute, ForgetAfter: 24 * time.Hour, Jitter: 0.1, Stop: 10}})[0]
		k, now := c.key("k"), start
		for range 9 {
			c.allow(now, charge(r, k, 0))
			wait := c.peek(now, charge(r, k, 0)).RetryAfter
			if wait > time.Minute {
				t.Fatalf("wait %v, want at most a minute", wait)
			}
			now = now.Add(wait)
		}
		d := c.allow(now, charge(r, k, 0))
		if d := c.deny(now, charge(r, k, 0)); d.RetryAfter != limiter.MaxWindow {
			t.Fatalf("after the last charge: wait %v, want %v", d.RetryAfter, limiter.MaxWindow)
		}
		c.refund(d.At, charge(r, k, 0)) // the last was not one
		c.holds(now, r, k, 9)
		c.allow(now, charge(r, k, 0))
		c.deny(now.Add(limiter.MaxWindow-us), charge(r, k, 0))
		c.reset(now, r, k)
		c.allow(now, charge(r, k, 0))
		c.allow(now, charge(r, k, 0))
	})

	t.Run("insist", func(t *testing.T) {
		c := newCaller(t, s)
		rules := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay,
			Backoff: limiter.Backoff{Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour, Insist: true}},
			limiter.Limit{Name: "other", Group: "g", N: 5, Window: time.Minute})
		r, k := rules[0], c.key("k")
		c.allow(start, charge(r, k, 0))
		c.deny(start.Add(time.Second), charge(r, k, 0), charge(rules[1], k, 1)) // not alone: nothing is counted
		c.holds(start.Add(time.Second), r, k, 1)
		for i, wait := range []time.Duration{2, 4, 8} {
			now := start.Add(time.Duration(10*(i+1)) * time.Second)
			if d := c.deny(now, charge(r, k, 0)); d.RetryAfter != wait*time.Minute {
				t.Fatalf("early charge %d: wait %v, want %v", i+1, d.RetryAfter, wait*time.Minute)
			}
			c.holds(now, r, k, int64(i+2))
		}
		now := start.Add(30*time.Second + 8*time.Minute)
		c.allow(now, charge(r, k, 0), charge(rules[1], k, 1))
		c.holds(now, r, k, 5)
	})

	t.Run("random histories", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 4))
		for i := range s.steps(60) {
			c := newCaller(t, s)
			ref := backoff{Backoff: limiter.Backoff{
				Free:        rnd.IntN(4),
				Base:        time.Duration(1+rnd.IntN(5000)) * time.Millisecond,
				Factor:      []float64{1, 1.5, 2, 10}[rnd.IntN(4)],
				Max:         10*time.Second + time.Duration(rnd.IntN(600))*time.Second,
				ForgetAfter: time.Second + time.Duration(rnd.IntN(3600))*time.Second,
			}}
			r := c.define(limiter.Limit{Name: "d", Group: "g", Kind: limiter.Delay, Backoff: ref.Backoff})[0]
			k, now := c.key("k"), start
			for range s.steps(3000) {
				switch rnd.IntN(8) {
				case 0:
					now = now.Add(ref.ForgetAfter + time.Duration(rnd.IntN(3_000_000))*us)
				case 1, 2:
					if ref.next.After(now) {
						now = ref.next.Add(-us * time.Duration(rnd.IntN(2)))
					}
				case 3, 4:
					now = now.Add(time.Duration(rnd.IntN(1_000_000)) * us)
				case 5:
					if now.After(ref.last) && !ref.last.IsZero() && ref.count > 0 && !now.After(ref.next.Add(ref.ForgetAfter)) {
						c.refund(ref.last, charge(r, k, 0))
						ref.refund()
					}
				}
				if now.Equal(ref.next.Add(ref.ForgetAfter)) {
					now = now.Add(us) // the one microsecond that may go either way
				}
				now = now.Truncate(us)
				got, want := c.take(now, charge(r, k, 0)), ref.take(now)
				// The table of delays is in whole microseconds.
				if diff := got.RetryAfter - want; got.Allowed != (want == 0) || diff.Abs() > us {
					t.Fatalf("history %d %+v: at start+%v got %+v, want wait %v", i, ref.Backoff, now.Sub(start), got, want)
				}
				if want == 0 {
					ref.next = now.Add(c.peek(now, charge(r, k, 0)).RetryAfter) // without the rounding
				}
			}
		}
	})
}
