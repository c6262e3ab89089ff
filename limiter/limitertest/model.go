package limitertest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// grant is one admitted charge.
type grant struct {
	at   time.Time
	cost int64
}

// checkWindows fails the test if any interval of the window's length, its end excluded, holds more than N.
func checkWindows(t testing.TB, l limiter.Limit, log []grant) {
	t.Helper()
	slices.SortFunc(log, func(a, b grant) int { return a.at.Compare(b.at) })
	sum, first := int64(0), 0
	for _, g := range log {
		sum += g.cost
		for !g.at.Before(log[first].at.Add(l.Window)) {
			sum -= log[first].cost
			first++
		}
		if sum > l.N {
			t.Fatalf("%q: %d units in less than %v (%v to %v), limit %d", l.Name, sum, l.Window, log[first].at, g.at, l.N)
		}
	}
}

// slidingLog is the reference for a rule and a key: every grant that is not refunded, oldest first. Readings do not go back.
type slidingLog struct {
	n      int64
	window time.Duration
	grants []grant
}

func (l *slidingLog) held(now time.Time) (sum int64) {
	for _, g := range l.grants {
		if now.Before(g.at.Add(l.window)) {
			sum += g.cost
		}
	}
	return sum
}

// wait is how long until cost more fit.
func (l *slidingLog) wait(now time.Time, cost int64) time.Duration {
	over := l.held(now) + cost - l.n
	for _, g := range l.grants {
		if over <= 0 {
			break
		}
		if end := g.at.Add(l.window); now.Before(end) {
			if over -= g.cost; over <= 0 {
				return end.Sub(now)
			}
		}
	}
	return 0
}

func (l *slidingLog) take(now time.Time, cost int64) {
	for len(l.grants) > 0 && !now.Before(l.grants[0].at.Add(2*l.window)) {
		l.grants = l.grants[1:]
	}
	l.grants = append(l.grants, grant{now, cost})
}

// refund gives back what was taken at a reading, unless it is over: buckets may count that a little longer.
func (l *slidingLog) refund(now, at time.Time, cost int64) {
	if !now.Before(at.Add(l.window)) {
		return
	}
	for i := range l.grants {
		if g := &l.grants[i]; g.at.Equal(at) {
			part := min(cost, g.cost)
			g.cost -= part
			cost -= part
		}
	}
}

// testModel runs random histories on a store and on sliding logs, and compares every answer.
func testModel(t *testing.T, s Suite) {
	for seed := range uint64(s.steps(120)) {
		modelHistory(t, s, seed, s.steps(6000))
		if t.Failed() {
			return
		}
	}
}

func modelHistory(t *testing.T, s Suite, seed uint64, steps int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 7))
	pick := func(ns ...int64) int64 { return ns[rnd.IntN(len(ns))] }
	c := newCaller(t, s)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d: %s", seed, fmt.Sprintf(format, args...))
	}

	limits := make([]limiter.Limit, 1+rnd.IntN(5))
	for i := range limits {
		n := pick(1, 2, 3, 5, 7, 10, 20, 62, 63, 100, 1000)
		limits[i] = limiter.Limit{
			Name: fmt.Sprint(i), Group: fmt.Sprint(rnd.IntN(3)), N: n, Stripes: int(pick(0, 0, 1, 3)),
			Window: time.Duration(pick(1000, 5003, 20_000, 1_000_000, 60_000_000, 3600_000_000)) * us,
		}
	}
	rules := c.define(limits...)
	keys := make([]limiter.Key, 1+rnd.IntN(3))
	logs := make([][]slidingLog, len(keys))
	for i := range keys {
		keys[i] = c.key(fmt.Sprint("key", i))
		for _, l := range limits {
			logs[i] = append(logs[i], slidingLog{n: l.N, window: l.Window})
		}
	}

	type admitted struct {
		at      time.Time
		key     int
		charges []limiter.Charge
	}
	var past []admitted
	now := start
	for range steps {
		// Time passes by nothing, by a part of a window, or to just about when something ends.
		l := &limits[rnd.IntN(len(limits))]
		switch rnd.IntN(6) {
		case 0, 1:
		case 2:
			now = now.Add(time.Duration(rnd.Int64N(4*int64(l.Window)/min(l.N, 100) + 1)))
		case 3:
			now = now.Add(time.Duration(rnd.Int64N(int64(l.Window) / 10)))
		case 4:
			if log := logs[rnd.IntN(len(keys))][rnd.IntN(len(limits))]; len(log.grants) > 0 {
				end := log.grants[rnd.IntN(len(log.grants))].at.Add(log.window + time.Duration(rnd.IntN(3)-1)*us)
				if end.After(now) {
					now = end
				}
			}
		case 5:
			if rnd.IntN(50) == 0 {
				now = now.Add(time.Duration(rnd.Int64N(4 * int64(l.Window))))
			}
		}
		now = now.Truncate(us)

		if len(past) > 0 && rnd.IntN(6) == 0 {
			i := rnd.IntN(len(past))
			p := past[i]
			past = slices.Delete(past, i, i+1)
			c.refund(p.at, p.charges...)
			for _, ch := range p.charges {
				logs[p.key][ruleIndex(rules, ch.Rule)].refund(now, p.at, ch.Cost)
			}
			continue
		}

		key := rnd.IntN(len(keys))
		var charges []limiter.Charge
		for i, r := range rules {
			if rnd.IntN(2) == 0 {
				charges = append(charges, charge(r, keys[key], 1+rnd.Int64N(1+min(limits[i].N-1, max(2, limits[i].N/20)))))
			}
		}
		rnd.Shuffle(len(charges), func(i, j int) { charges[i], charges[j] = charges[j], charges[i] })

		// What the logs say: surely denied, surely allowed, or (limits in buckets) either.
		mustDeny, mayDeny, exact := false, false, true
		var longest time.Duration
		for _, ch := range charges {
			log := &logs[key][ruleIndex(rules, ch.Rule)]
			lim := ch.Rule.Limit()
			wait := log.wait(now, ch.Cost)
			mustDeny = mustDeny || wait > 0
			longest = max(longest, wait)
			if lim.N > limiter.MaxExact {
				exact = false
				longer := slidingLog{n: lim.N, window: lim.Window + early(lim), grants: log.grants}
				mayDeny = mayDeny || longer.wait(now, ch.Cost) > 0
			}
			u := c.peek(now, ch)
			if held := log.held(now); u.Held < held || lim.N <= limiter.MaxExact && (u.Held != held || u.RetryAfter != wait) || (u.RetryAfter == 0) && wait > 0 {
				fail("peek of %q: %+v, the log holds %d and waits %v", lim.Name, u, held, wait)
			}
		}
		d := c.take(now, charges...)
		switch {
		case d.Allowed && mustDeny:
			fail("allowed %v at start+%v, the log waits %v", charges, now.Sub(start), longest)
		case !d.Allowed && !mustDeny && !mayDeny:
			fail("denied %+v at start+%v, the log has room", d, now.Sub(start))
		case !d.Allowed && exact && d.RetryAfter != longest:
			fail("RetryAfter %v, the log waits %v", d.RetryAfter, longest)
		case !d.Allowed && d.RetryAfter < longest:
			fail("RetryAfter %v is sooner than the log's %v", d.RetryAfter, longest)
		case !d.At.Equal(now):
			fail("At %v, want the reading %v", d.At, now)
		}
		if d.Allowed {
			for _, ch := range charges {
				logs[key][ruleIndex(rules, ch.Rule)].take(now, ch.Cost)
			}
			past = append(past, admitted{now, key, charges})
			if len(past) > 50 {
				past = past[1:]
			}
			if exact && len(charges) > 0 {
				least := slices.MinFunc(charges, func(a, b limiter.Charge) int {
					return cmp.Compare(left(logs[key], rules, a, now), left(logs[key], rules, b, now))
				})
				if want := left(logs[key], rules, least, now); d.Remaining != want {
					fail("Remaining %d, the logs have %d", d.Remaining, want)
				}
			}
			continue
		}
		if !exact {
			for _, ch := range charges {
				if u := c.peek(now.Add(d.RetryAfter), ch); u.RetryAfter > 0 {
					fail("after RetryAfter %v of %+v %q still waits %v", d.RetryAfter, d, ch.Rule.Limit().Name, u.RetryAfter)
				}
			}
		}
	}
}

func ruleIndex(rules []*limiter.Rule, r *limiter.Rule) int { return slices.Index(rules, r) }

func left(logs []slidingLog, rules []*limiter.Rule, ch limiter.Charge, now time.Time) int64 {
	log := &logs[ruleIndex(rules, ch.Rule)]
	return log.n - log.held(now)
}
