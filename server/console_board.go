package server

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Bounds of a board. What is beyond them is counted as "other", or makes room for what is seen more often.
const (
	boardPast    = 900 // seconds
	boardReasons = 64
	boardRules   = 512
)

// Board adds up what the gate does, for people who look at it: the console and `sendgate top`. It is a [gate.Observer], so it sees
// what the ring has not dropped, off the road of the checks. Its memory is bounded, about 4 MB, whoever asks for what.
type Board struct {
	prices *prices.Table // nil where there are none

	mu      sync.Mutex
	inForce func() *policy.Policy // the policy; nil before the board is in use
	now     int64                 // when the running second began, unix
	second  counts                // of the second that runs
	total   counts                // since the process began
	past    []second              // oldest first
	minute  int                   // place of the running second in the minute of each reason
	reasons map[string]*reasonCount
	rules   map[string]*ruleCount // by rule, as in BoardRule.name
	tolls   map[attackKey]*toll
	keys    *busiest[limitedKey, keyCount]
	ranges  *busiest[uint64, *rangeCount] // by the digits that are left when rangeMasked are taken off
	spent   *busiest[budgetKey, *budgetCount]
}

// counts are answers, outcomes and money in some time.
type counts struct {
	allowed, challenged, denied      int64
	byLimit, byDetection, byBudget   int64
	failed, outcomes, spent, stopped int64 // the last two in millionths
}

// second is one that ended.
type second struct {
	at int64 // unix
	counts
	took latency
}

// reasonCount counts answers of one reason.
type reasonCount struct {
	minute [60]struct{ denied, challenged uint32 }
	total  int64
}

// ruleCount counts what a rule decided, and what it would have in shadow mode.
type ruleCount struct{ refused, saved, wouldRefuse, wouldSave int64 }

// NewBoard makes a board. prices may be nil: then it knows no money.
func NewBoard(prices *prices.Table) *Board {
	return &Board{prices: prices, reasons: make(map[string]*reasonCount), rules: make(map[string]*ruleCount), tolls: make(map[attackKey]*toll),
		keys:   newBusiest[limitedKey](512, func(c keyCount) float32 { return c.refused }),
		ranges: newBusiest[uint64](1024, func(m *rangeCount) float32 { return m.total }),
		spent:  newBusiest[budgetKey](256, func(c *budgetCount) float32 { return c.money })}
}

// Checked is called by the gate.
func (b *Board) Checked(e *gate.Event) {
	price := int64(0)
	if b.prices != nil {
		price, _ = b.prices.Cost(e.Send.Number.Digits(), e.Cost) // what is beyond counting counts nothing
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v, refused := &e.Verdict, e.Verdict.Kind != gate.Allow
	switch v.Kind {
	case gate.Allow:
		b.second.allowed++
	case gate.Challenge:
		b.second.challenged++
	default:
		b.second.denied++
	}
	weight := b.weight()
	b.countRange(e.Send.Number.Digits(), refused, weight)
	b.shadowed(v, price)
	if refused {
		b.second.stopped += price
		b.refused(e, price, weight)
		return
	}
	b.second.spent += price
	b.countBudgets(e, price)
}

// What is shown of keys and ranges is who is met most. In a second with more answers than boardExact one in boardSample of the others
// stands for all: to find the place of each costs more than all other sums together.
const (
	boardExact  = 2000
	boardSample = 16
)

// weight is how many answers the last one stands for, 0 for none.
func (b *Board) weight() float32 {
	n := b.second.allowed + b.second.challenged + b.second.denied
	switch {
	case n <= boardExact:
		return 1
	case n%boardSample == 0:
		return boardSample
	}
	return 0
}

// Reported is called by the gate for an outcome.
func (b *Board) Reported(*gate.Event) {
	b.mu.Lock()
	b.second.outcomes++
	b.mu.Unlock()
}

// refused counts why a send was not let through.
func (b *Board) refused(e *gate.Event, price int64, weight float32) {
	v := &e.Verdict
	family, _, _ := strings.Cut(v.Reason, ":")
	switch family {
	case "limit", "delay":
		b.second.byLimit++
		b.countKey(e, weight)
	case "detect", "block":
		b.second.byDetection++
	case "spend":
		b.second.byBudget++
		b.countKey(e, weight)
	}
	r := b.reason(v.Reason)
	r.total++
	if at := &r.minute[b.minute]; v.Kind == gate.Challenge {
		at.challenged++
	} else {
		at.denied++
	}
	if rule := b.rule(ruleOf(v.Reason)); rule != nil {
		rule.refused++
		rule.saved += price
	}
	if v.ByDetection() && len(v.Signals) > 0 {
		b.toll(&v.Signals[0], price)
	}
}

// shadowed counts what rules and detectors in shadow mode would have done.
func (b *Board) shadowed(v *gate.Verdict, price int64) {
	would := func(name string) {
		if rule := b.rule(name); rule != nil {
			rule.wouldRefuse++
			rule.wouldSave += price
		}
	}
	for i := range v.Shadow {
		if s := &v.Shadow[i]; s.Kind != gate.Allow {
			would(ruleOf(s.Reason))
		}
	}
	for i := range v.Signals {
		if s := &v.Signals[i]; s.Shadow && adviceVerdict(s.Advice) != sendgatev1.Verdict_VERDICT_ALLOW {
			would("detect:" + s.Kind.String())
			b.toll(s, price)
		}
	}
}

// reason finds the count of a reason. Where there is no room, that is the one of all others.
func (b *Board) reason(name string) *reasonCount {
	if _, known := b.reasons[name]; !known && len(b.reasons) >= boardReasons-1 {
		name = "other"
	}
	r := b.reasons[name]
	if r == nil {
		r = new(reasonCount)
		b.reasons[name] = r
	}
	return r
}

// rule is nil where there is no room, because the policy has had more names than are kept.
func (b *Board) rule(name string) *ruleCount {
	r := b.rules[name]
	if r == nil && len(b.rules) < boardRules {
		r = new(ruleCount)
		b.rules[name] = r
	}
	return r
}

// ruleOf is the rule or detector that a reason names: "limit:number-minute", "detect:ait_range".
func ruleOf(reason string) string {
	family, rest, _ := strings.Cut(reason, ":")
	if family != "detect" && family != "block" {
		return reason
	}
	kind, _, _ := strings.Cut(rest, ":")
	return "detect:" + kind
}

// fadeEvery is after how many seconds what fades loses a little, so that half of it is left after ten minutes.
const (
	fadeEvery = 5
	fade      = 0.99424 // 0.5^(5/600)
)

// roll ends the second that began at a time.
func (b *Board) roll(began time.Time, took latency, failed int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.second.failed = failed
	b.total.add(&b.second)
	if len(b.past) == boardPast {
		b.past = slices.Delete(b.past, 0, 1)
	}
	b.past = append(b.past, second{began.Unix(), b.second, took})
	b.second, b.now = counts{}, began.Unix()+1
	b.minute = (b.minute + 1) % 60
	for _, r := range b.reasons {
		r.minute[b.minute] = struct{ denied, challenged uint32 }{}
	}
	if began.Unix()%fadeEvery == 0 {
		b.keys.each(func(c keyCount) (keyCount, bool) { c.refused *= fade; return c, c.refused > .5 })
		b.ranges.each(func(r *rangeCount) (*rangeCount, bool) { return r, r.fade() })
		b.spent.each(func(c *budgetCount) (*budgetCount, bool) { c.money *= fade; return c, c.money > 0 })
	}
}

func (c *counts) add(o *counts) {
	c.allowed += o.allowed
	c.challenged += o.challenged
	c.denied += o.denied
	c.byLimit += o.byLimit
	c.byDetection += o.byDetection
	c.byBudget += o.byBudget
	c.failed += o.failed
	c.outcomes += o.outcomes
	c.spent += o.spent
	c.stopped += o.stopped
}

// since are the seconds that began after a time, at most so many.
func (b *Board) since(after int64, most int) []*sendgatev1.BoardSecond {
	b.mu.Lock()
	defer b.mu.Unlock()
	from, _ := slices.BinarySearchFunc(b.past, after+1, func(s second, at int64) int { return cmp.Compare(s.at, at) })
	from = max(from, len(b.past)-most)
	out := make([]*sendgatev1.BoardSecond, 0, len(b.past)-from)
	for i := range b.past[from:] {
		s := &b.past[from+i]
		out = append(out, &sendgatev1.BoardSecond{At: s.at, Allowed: uint32(s.allowed), Challenged: uint32(s.challenged), Denied: uint32(s.denied),
			ByLimit: uint32(s.byLimit), ByDetection: uint32(s.byDetection), ByBudget: uint32(s.byBudget), Failed: uint32(s.failed),
			Outcomes: uint32(s.outcomes), Spent: s.spent, Stopped: s.stopped, P50: s.took.p50, P99: s.took.p99})
	}
	return out
}

// sums are all counts since the process began, the running second left out.
func (b *Board) sums() counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// why are the reasons of the last minute, the most frequent first.
func (b *Board) why() *sendgatev1.BoardReasons {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := new(sendgatev1.BoardReasons)
	for name, r := range b.reasons {
		one := &sendgatev1.BoardReason{Reason: name, Total: r.total}
		for _, s := range r.minute {
			one.Denied += s.denied
			one.Challenged += s.challenged
		}
		out.Reasons = append(out.Reasons, one)
	}
	slices.SortFunc(out.Reasons, func(a, b *sendgatev1.BoardReason) int {
		return cmp.Or(cmp.Compare(b.Denied+b.Challenged, a.Denied+a.Challenged), cmp.Compare(b.Total, a.Total), strings.Compare(a.Reason, b.Reason))
	})
	return out
}
