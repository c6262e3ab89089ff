package gate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/clientip"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// rules is a policy ready to judge: one immutable value, swapped as a whole, so that a check sees all of a policy or none.
type rules struct {
	policy *policy.Policy
	prices *prices.Table  // nil where there is none
	detect *detect.Policy // what the policy says to detection
	since  time.Time
	region string         // of the gate
	asked  *consent.Rules // who may be written to
	// By index of the policy's.
	delays, limits, spend []rule
	byID                  map[uint32]*rule // of delays, limits and spend, by ruleID
	own                   ownRules
	resolver              *clientip.Resolver
	// lastHopTrusted is the resolver for headers that come without the address of the connection that carried them.
	lastHopTrusted *clientip.Resolver
	lists          *lists.Set // those of the policy
	numbers        numberRules
	shadow         shadowRules
	hasLive        bool // some enforced limit has candidates
	// asksPlan says that a rule counts or matches by what the numbering plan says: country or type.
	asksPlan bool
	// asksKnownGood says that some limit tells numbers that verified recently from others.
	asksKnownGood bool
}

// rule is a delay, a limit or a budget of the policy, and what the store keeps for it.
type rule struct {
	name        string // what callers are told
	reason      string // "limit:NAME", "delay:PURPOSE" or "spend:NAME"
	id          uint32
	n           int64 // 0 for a delay
	window      time.Duration
	onLimit     policy.Action
	failMode    policy.FailMode
	shadow      bool
	countDenied bool
	by          []policy.Part
	account     string // set for a limit of one account
	store       *limiter.Rule
	local       *limiter.Rule // for fail_mode local, nil where there is none
	// Of rules in shadow, and of limits with candidates, what counts them; rows is by account in shadow.
	row     *report.Row
	rowName string
	rows    map[string]*report.Row
	twin    *rule // judges accounts in shadow in the place of an enforced one; nil where there are none
	live    *rule // of a candidate
	// Of a budget only.
	of                  policy.Of // "" where it is none
	warnAt, challengeAt int64     // from how much on; 0 for never
}

// bind makes a rule the one that a verdict names.
func (v *Verdict) bind(l *rule) { v.Rule, v.Limit, v.Window = l.name, l.n, l.window }

func (g *Gate) newRules(ctx context.Context, p *policy.Policy, prices *prices.Table) (*rules, error) {
	if err := checkPrices(p, prices); err != nil {
		return nil, err
	}
	config := p.ClientAddress.Config()
	resolver, err := clientip.New(config)
	if err != nil {
		return nil, fmt.Errorf("gate: client_address of policy %s: %w", p.Version, err)
	}
	config.TrustUnix = true // a peer without an address is trusted
	lastHopTrusted, err := clientip.New(config)
	if err != nil {
		return nil, fmt.Errorf("gate: client_address of policy %s: %w", p.Version, err)
	}
	fixed, err := newListSet(p)
	if err != nil {
		return nil, err
	}
	ready, err := enforcedDetect(p).Ready()
	if err != nil {
		return nil, fmt.Errorf("gate: policy %s: %w", p.Version, err)
	}
	r := &rules{policy: p, resolver: resolver, lastHopTrusted: lastHopTrusted, lists: fixed, numbers: newNumberRules(p), prices: prices, detect: ready}
	limits := p.LimiterLimits()
	if err := r.add(limits); err != nil {
		return nil, err
	}
	if err := g.defineShadow(ctx, r, limits); err != nil {
		return nil, err
	}
	var enforced []limiter.Limit
	for i, l := range r.all() {
		if !l.shadow {
			enforced = append(enforced, limits[i])
		}
	}
	// The last that can fail: a policy that is refused leaves the store as it is.
	defined, err := g.store.Define(ctx, append(enforced, ownLimits(p)...))
	if err != nil {
		return nil, fmt.Errorf("gate: define the limits of policy %s: %w", p.Version, err)
	}
	for _, l := range r.all() {
		if !l.shadow {
			l.store, defined = defined[0], defined[1:]
		}
	}
	r.own = newOwnRules(p, defined)
	g.openRows(r)
	return r, nil
}

// add makes the rules of the policy. limits is its LimiterLimits.
func (r *rules) add(limits []limiter.Limit) error {
	p := r.policy
	asks := func(by []policy.Part, match, unless *policy.Match, when *policy.Condition) {
		r.asksPlan = r.asksPlan || slices.Contains(by, policy.ByCountry) || asksPlan(match) || asksPlan(unless) || when.AsksPlan()
		r.asksKnownGood = r.asksKnownGood || match.KnownGood != nil || unless.KnownGood != nil || when.AsksKnownGood()
	}
	for i := range p.Delays {
		y := &p.Delays[i]
		r.delays = append(r.delays, rule{name: y.Purpose, rowName: "delay:" + y.Purpose, reason: "delay:" + y.Purpose, onLimit: y.OnLimit, failMode: y.FailMode,
			shadow: y.Mode == policy.Shadow, countDenied: y.CountDenied, by: y.By})
		asks(y.By, &policy.Match{}, &policy.Match{}, y.When)
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		r.limits = append(r.limits, rule{name: l.Name, rowName: l.StoreName(), reason: "limit:" + l.Name, n: l.N, window: l.Window, onLimit: l.OnLimit,
			failMode: l.FailMode, shadow: l.Mode == policy.Shadow, countDenied: l.CountDenied, by: l.By, account: l.Account})
		asks(l.By, &l.Match, &l.Unless, l.When)
	}
	for i := range p.Limits { // candidates follow their limit
		if p.Limits[i].CandidateOf != "" {
			if r.limits[i].live = r.limits[i-1].live; r.limits[i].live == nil {
				r.limits[i].live = &r.limits[i-1]
			}
		}
	}
	for i := range p.Spend {
		b := &p.Spend[i]
		r.spend = append(r.spend, rule{name: b.Name, rowName: b.Name, reason: "spend:" + b.Name, n: b.Budget, window: b.Window, onLimit: b.OnLimit,
			failMode: b.FailMode, shadow: b.Mode == policy.Shadow, by: b.By, of: b.Of,
			warnAt: int64(b.WarnAt * float64(b.Budget)), challengeAt: int64(b.ChallengeAt * float64(b.Budget))})
		asks(b.By, &b.Match, &b.Unless, b.When)
	}
	r.byID = make(map[uint32]*rule, len(limits))
	for i, l := range r.all() {
		if err := r.name(l, &limits[i]); err != nil {
			return err
		}
	}
	return nil
}

// name gives a rule what check ids call it. In shadow that is another: an id that was made before or after the rule was enforced must not
// give back what the other one took.
func (r *rules) name(l *rule, as *limiter.Limit) error {
	name := as.Name
	if l.shadow {
		name = "shadow " + name
	}
	l.id = ruleID(as.Group, name)
	if other := r.byID[l.id]; other != nil {
		return fmt.Errorf("gate: policy %s: check ids cannot tell the rules %q and %q apart: give one another name", r.policy.Version, other.name, l.name)
	}
	r.byID[l.id] = l
	return nil
}

// all is the rules of the policy, in the order in which the store has them.
func (r *rules) all() []*rule {
	out := make([]*rule, 0, len(r.delays)+len(r.limits)+len(r.spend))
	for _, kind := range [][]rule{r.delays, r.limits, r.spend} {
		for i := range kind {
			out = append(out, &kind[i])
		}
	}
	return out
}

func asksPlan(m *policy.Match) bool { return len(m.Country) > 0 || len(m.NumberType) > 0 }
