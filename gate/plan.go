package gate

import (
	"context"
	"fmt"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// forget makes a scratch ready for the next check: whoever undoes that must find nothing of this one.
func (s *scratch) forget() {
	s.keys, s.charges, s.rules = s.keys[:0], s.charges[:0], s.rules[:0]
	s.shadow, s.shadowRules = s.shadow[:0], s.shadowRules[:0]
	s.ticket.took, s.ticket.shadow = s.ticket.took[:0], s.ticket.shadow[:0]
	s.money, s.dear, s.insisted, s.event.Warned = 0, nil, false, nil
}

// plan finds the rules that apply and what they charge.
func (g *Gate) plan(ctx context.Context, r *rules, s *scratch) error {
	send := &s.event.Send
	if r.asksKnownGood {
		known, err := g.knownGood(ctx, r, s)
		if err != nil {
			return err
		}
		send.KnownGood = known
	}
	send.At = s.event.Verdict.At
	r.policy.Plan(send, &s.plan)
	for i := range s.plan.Keys() {
		s.keys = append(s.keys, g.key(s.plan.Key(i)))
	}
	for _, c := range s.plan.Delays {
		s.charge(&r.delays[c.Rule], c, 1)
	}
	for _, c := range s.plan.Enforced {
		l := &r.limits[c.Rule]
		if s.event.Cost > l.n && !s.inShadow {
			var bad violations
			bad.add("cost", "COST_INVALID", fmt.Sprintf("%d can never fit rule %q, which allows %d in %s: split the message or raise the limit",
				s.event.Cost, l.name, l.n, l.window))
			return bad.err()
		}
		s.charge(l, c, s.event.Cost)
	}
	for _, c := range s.plan.Shadow {
		s.charge(&r.limits[c.Rule], c, s.event.Cost)
	}
	return g.planSpend(r, s)
}

// charge adds a rule to what the check takes.
func (s *scratch) charge(l *rule, c policy.Charge, cost int64) {
	charge := limiter.Charge{Rule: l.store, Key: s.keys[c.Key], Cost: cost}
	if l.shadow || s.inShadow {
		l = s.shadowOf(l)
		charge.Rule = l.store
		s.shadow, s.shadowRules = append(s.shadow, charge), append(s.shadowRules, l)
		return
	}
	s.charges, s.rules = append(s.charges, charge), append(s.rules, l)
}

// remember notes for the check id what was taken.
func (s *scratch) remember(l *rule, c *limiter.Charge) {
	s.ticket.took = append(s.ticket.took, took{l.id, c.Key})
}
