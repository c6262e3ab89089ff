package gate

import (
	"context"
	"fmt"
	"math"

	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
)

// checkPrices wants a price table for a policy that has budgets, in their currency.
func checkPrices(p *policy.Policy, t *prices.Table) error {
	for i := range p.Spend {
		switch b := &p.Spend[i]; {
		case t == nil:
			return fmt.Errorf("gate: budget %q of policy %s needs prices: give a price table", b.Name, p.Version)
		case t.Currency() != b.Currency:
			return fmt.Errorf("gate: budget %q of policy %s is in %s and the prices are in %s: write both in one currency", b.Name, p.Version, b.Currency, t.Currency())
		}
	}
	return nil
}

// planSpend adds what the budgets are charged. A message that costs nothing is charged nowhere; one that costs more than a whole
// budget is denied by it for good.
func (g *Gate) planSpend(r *rules, s *scratch) error {
	if len(s.plan.Spend) == 0 {
		return nil
	}
	money, err := r.prices.Cost(s.event.Send.Number.Digits(), s.event.Cost)
	s.money = money
	if err != nil { // more than any budget
		money, s.money = math.MaxInt64, 0
	}
	for _, c := range s.plan.Spend {
		l := &r.spend[c.Rule]
		switch {
		case money == 0:
		case money <= l.n:
			s.charge(l, c, money)
		case !l.shadow && !s.inShadow && s.dear == nil:
			s.dear = l
		}
	}
	return nil
}

// step looks how far the budgets are spent. It returns the one that wants a challenge from here on, if any, and notes those to
// warn of. Sends that run at the same time may pass the step together; the budget itself is exact.
func (g *Gate) step(ctx context.Context, s *scratch) (*rule, error) {
	var challenge *rule
	for i, l := range s.rules {
		if l.warnAt == 0 && l.challengeAt == 0 {
			continue
		}
		u, err := g.store.Peek(ctx, s.event.Verdict.At, s.charges[i])
		if err != nil {
			return nil, err
		}
		after := u.Held + s.charges[i].Cost
		if l.warnAt > 0 && after >= l.warnAt {
			s.event.Warned = append(s.event.Warned, Warning{Rule: l.name, Spent: after, Budget: l.n, First: u.Held < l.warnAt})
		}
		if l.challengeAt > 0 && after > l.challengeAt && !s.event.Send.ChallengePassed {
			challenge = l
		}
	}
	return challenge, nil
}

// Warning is a budget that is spent further than its warn_at.
type Warning struct {
	Rule string
	// Spent is what the key holds, in millionths of the currency, with the send that is warned of.
	Spent, Budget int64
	// First says that this send is the one that passed warn_at.
	First bool
}
