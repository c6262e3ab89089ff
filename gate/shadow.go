package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// What is in shadow keeps its state apart from all that is enforced: counters in a store of their own, evidence in an engine of its
// own that is shown every send once more. So nothing that is added in shadow changes a verdict, and a policy without it pays nothing.
// The price of one shadowed detector is a second engine; the price of a rule in shadow is that of an enforced one, once more.

// shadowRules is what a policy has in shadow.
type shadowRules struct {
	store  limiter.Store  // nil where no rule is in shadow
	engine *detect.Engine // nil where no detector is
	policy *detect.Policy // the engine's
	// accounts are those in shadow as a whole.
	accounts map[string]bool
	// detectors are those whose signals are told and not acted upon: for an account of its own, else for all.
	detectors map[string][]watched
	others    []watched
}

// watched is a detector in shadow.
type watched struct {
	kind string
	row  *report.Row
}

// watches are the detectors in shadow for an account.
func (sh *shadowRules) watches(account string) []watched {
	if own, ok := sh.detectors[account]; ok {
		return own
	}
	return sh.others
}

// shadowStoreSize is the memory of the store where Options.OpenShadow gives none.
const shadowStoreSize = 16 << 20

// openShadow opens what a policy needs that has something in shadow, the first time one does.
func (g *Gate) openShadow(p *policy.Policy) error {
	rules, detectors := inShadow(p)
	if rules && g.shadowStore == nil {
		open := g.openShadowStore
		if open == nil {
			open = func() (limiter.Store, error) {
				return owned(g, func() (limiter.Store, error) { return limiter.Open(limiter.Options{Size: shadowStoreSize}) })
			}
		}
		store, err := open()
		if err != nil {
			return fmt.Errorf("gate: counters of rules in shadow mode: %w", err)
		}
		g.shadowStore = store
	}
	if detectors && g.detect != nil && g.shadowDetect.Load() == nil {
		open := g.openShadowDetect
		if open == nil {
			open = func() (*detect.Engine, error) {
				return owned(g, func() (*detect.Engine, error) {
					return detect.New(detect.Options{Size: shadowStoreSize, Seed: rand.Uint64()})
				})
			}
		}
		engine, err := open()
		if err != nil {
			return fmt.Errorf("gate: memory of detectors in shadow mode: %w", err)
		}
		g.shadowDetect.Store(engine)
	}
	return nil
}

// owned opens what is freed when nobody can ask the gate any more. A check may outlast Close.
func owned[T io.Closer](g *Gate, open func() (T, error)) (T, error) {
	made, err := open()
	if err == nil {
		runtime.AddCleanup(g, func(c io.Closer) { _ = c.Close() }, io.Closer(made)) // memory only
	}
	return made, err
}

// inShadow says whether a policy has rules, and detectors, in shadow.
func inShadow(p *policy.Policy) (rules, detectors bool) {
	for i := range p.Limits {
		rules = rules || p.Limits[i].Mode == policy.Shadow
	}
	for i := range p.Delays {
		rules = rules || p.Delays[i].Mode == policy.Shadow
	}
	for i := range p.Spend {
		rules = rules || p.Spend[i].Mode == policy.Shadow
	}
	all := func(d *policy.Detect) {
		for _, one := range d.Detectors {
			detectors = detectors || one.Mode == policy.Shadow
		}
	}
	all(&p.Detect)
	for _, a := range p.Accounts {
		all(&a.Detect)
		rules, detectors = rules || a.Mode == policy.Shadow, detectors || a.Mode == policy.Shadow
	}
	return rules, detectors
}

// defineShadow defines the rules in shadow in their store. With accounts in shadow each enforced rule has a twin there.
func (g *Gate) defineShadow(ctx context.Context, r *rules, limits []limiter.Limit) error {
	sh := &r.shadow
	for name, a := range r.policy.Accounts {
		if a.Mode == policy.Shadow {
			if sh.accounts == nil {
				sh.accounts = make(map[string]bool)
			}
			sh.accounts[name] = true
		}
	}
	some, detectors := inShadow(r.policy)
	if engine := g.shadowDetect.Load(); detectors && engine != nil {
		ready, err := detectPolicy(r.policy).Ready()
		if err != nil {
			return fmt.Errorf("gate: policy %s: %w", r.policy.Version, err)
		}
		sh.engine, sh.policy = engine, ready
	}
	if !some {
		return nil
	}
	sh.store = g.shadowStore
	var mine []limiter.Limit
	var to []*rule
	for i, l := range r.all() {
		switch {
		case l.shadow:
			mine, to = append(mine, limits[i]), append(to, l)
		case len(sh.accounts) > 0:
			twin := *l
			twin.shadow = true
			if err := r.name(&twin, &limits[i]); err != nil {
				return err
			}
			l.twin = &twin
			mine, to = append(mine, limits[i]), append(to, l.twin)
		}
	}
	for i := range mine {
		mine[i].FailOpen = true // what is not counted is not told
	}
	defined, err := sh.store.Define(ctx, mine)
	if err != nil {
		return fmt.Errorf("gate: define what policy %s has in shadow: %w", r.policy.Version, err)
	}
	for i, l := range to {
		l.store = defined[i]
	}
	return nil
}

// shadowOf is the rule that counts a send in shadow: the rule itself, or for an account in shadow its twin; nil where it is enforced.
func (s *scratch) shadowOf(l *rule) *rule {
	switch {
	case l.shadow:
		return l
	case s.inShadow:
		return l.twin
	}
	return nil
}

// in is the store that keeps a rule.
func (r *rules) in(g *Gate, l *rule) limiter.Store {
	if l.shadow {
		return r.shadow.store
	}
	return g.store
}

// takeShadow asks each rule in shadow mode alone what it would have said. It sees what it would see if it were enforced:
// sends that something else stopped count only for rules that say count_denied, and for a candidate what the limit that it stands
// beside stopped alone. Nothing here changes the verdict.
func (g *Gate) takeShadow(ctx context.Context, r *rules, s *scratch) {
	v := &s.event.Verdict
	for i, l := range s.shadowRules {
		instead := v.Kind != Allow && l.live != nil && g.stoppedAlone(ctx, s, l.live)
		if v.Kind != Allow && !l.countDenied && !instead {
			continue
		}
		c := &s.shadow[i]
		result := ShadowResult{Rule: l.name, Kind: Allow, Limit: l.n}
		if l.n > 0 && c.Cost > l.n {
			result.Kind, result.Reason = Deny, l.reason
		} else {
			s.one[0] = *c
			d, err := r.shadow.store.Take(ctx, v.At, s.one[:])
			switch {
			case errors.Is(err, limiter.ErrForeignRule):
				continue // a new policy dropped it meanwhile
			case err != nil:
				s.skipShadow(i)
				return // what comes after would wait for the same store
			}
			result.Remaining, result.RetryAfter = d.Remaining, d.RetryAfter
			switch {
			case d.Allowed && v.Kind == Allow && d.At.Equal(v.At):
				if len(s.ticket.took) < maxTook {
					s.remember(l, c)
				}
			case !d.Allowed:
				result.Kind, result.Reason = Deny, l.reason
				if l.onLimit == policy.Challenge && !s.event.Send.ChallengePassed {
					result.Kind = Challenge
				}
			}
		}
		v.Shadow = append(v.Shadow, result)
		if v.Kind == Allow || instead {
			r.countShadow(s, r.rowOf(s, l), result.Kind)
		}
	}
}

// skipShadow names the rules in shadow that could not count the send, from the i-th on.
func (s *scratch) skipShadow(i int) {
	for _, l := range s.shadowRules[i:] {
		s.event.Verdict.Skipped = append(s.event.Verdict.Skipped, l.name)
	}
}

// stoppedAlone says that a rule stopped the send and nothing else would have.
func (g *Gate) stoppedAlone(ctx context.Context, s *scratch, live *rule) bool {
	v := &s.event.Verdict
	if v.Reason != live.reason || s.dear != nil || s.seen.asked && s.seen.result.Advice.Stops() {
		return false
	}
	for i, l := range s.rules {
		if l == live {
			continue
		}
		if u, err := g.store.Peek(ctx, v.At, s.charges[i]); err != nil || u.RetryAfter > 0 {
			return false
		}
	}
	return true
}

// rowOf is where a rule in shadow is counted.
func (r *rules) rowOf(s *scratch, l *rule) *report.Row {
	if s.rehearses {
		return nil
	}
	if row, ok := l.rows[s.event.Send.Account]; ok {
		return row
	}
	return l.row
}

// countShadow counts what a rule or detector in shadow said of a send. What it would have stopped is sealed into the check id, so that the
// outcome finds it again.
func (r *rules) countShadow(s *scratch, row *report.Row, said Kind) {
	if row == nil {
		return
	}
	v := &s.event.Verdict
	c := report.Check{At: v.At, Denied: v.Kind == Allow && said == Deny, Challenged: v.Kind == Allow && said == Challenge, Freed: v.Kind != Allow && said == Allow}
	if c.Denied || c.Challenged || c.Freed {
		send := &s.event.Send
		c.Country, c.Account, c.Money = send.Number.Country(), send.Account, r.price(send.Number.Digits(), s.event.Cost)
	}
	row.Judged(&c)
	if (c.Denied || c.Challenged) && len(s.ticket.shadow) < maxShadow {
		s.ticket.shadow = append(s.ticket.shadow, row.ID())
	}
}

// price is what a send costs, as far as anybody knows.
func (r *rules) price(number uint64, cost int64) int64 {
	if r.prices == nil {
		return 0
	}
	money, err := r.prices.Cost(number, cost)
	if err != nil {
		return 0
	}
	return money
}

// countRest counts what shadow says beside its rules: detectors, and the limits that candidates stand beside.
func (r *rules) countRest(s *scratch) {
	v := &s.event.Verdict
	if v.Kind == Allow && (s.seen.asked || s.shadowSeen.asked) {
		for _, w := range r.shadow.watches(s.event.Send.Account) {
			said := Allow
			for i := range v.Shadow {
				if x := &v.Shadow[i]; x.Rule == w.kind && strings.HasPrefix(x.Reason, "detect:") {
					said = x.Kind
				}
			}
			r.countShadow(s, w.row, said)
		}
	}
	if !r.hasLive {
		return
	}
	for _, l := range s.rules {
		if l.row == nil {
			continue
		}
		c := report.Check{At: v.At}
		if v.Kind != Allow && v.Reason == l.reason {
			send := &s.event.Send
			c.Denied, c.Challenged = v.Kind == Deny, v.Kind == Challenge
			c.Country, c.Account, c.Money = send.Number.Country(), send.Account, r.price(send.Number.Digits(), s.event.Cost)
		}
		l.row.Judged(&c)
	}
}

// countOutcome tells the rules that would have stopped a send what became of it.
func (g *Gate) countOutcome(r *rules, c *checkID, account string, o Outcome) {
	if len(c.shadow) == 0 || g.book == nil {
		return
	}
	switch o {
	case Verified, Failed, Expired:
	default:
		return
	}
	number, _ := phone.FromDigits(c.number) // it was a number when it was sealed
	check := report.Check{At: c.at, Country: number.Country(), Account: account, Money: r.price(c.number, c.cost)}
	for _, id := range c.shadow {
		g.book.Find(id).Ended(&check, o == Verified)
	}
}
