package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Local is what rules with fail_mode local go by while the store cannot answer: counters of this process, of which a key gets
// what is left of its limit when all instances have the same, rounded down, and one at least. They know nothing of what the
// store counted, nor it of them: over an outage a window may hold the limit twice.
type Local struct {
	// Store keeps the counters. The gate defines their rules and does not close it; nobody else may use it.
	Store limiter.Store
	// Instances is how many gates there are on the store, as far as is known: one at least.
	Instances func() int
}

// defineLocal gives the rules that want it a twin in the local store.
func (g *Gate) defineLocal(ctx context.Context, r *rules) error {
	if g.local == nil {
		return nil
	}
	var wants []*rule
	var limits []limiter.Limit
	v := &r.own.verify
	for _, l := range append(r.all(), &v.number, &v.passed, &v.code, &v.client) {
		if l.failMode == policy.Local && !l.shadow {
			wants, limits = append(wants, l), append(limits, l.store.Limit())
		}
	}
	defined, err := g.local.Store.Define(ctx, limits)
	if err != nil {
		return fmt.Errorf("gate: define the local limits of policy %s: %w", r.policy.Version, err)
	}
	for i, l := range wants {
		l.local = defined[i]
	}
	return nil
}

// judgeFailure answers when the store could not: as the rules that apply say. A rule that fails closed wins, then one that is
// used up locally.
func (g *Gate) judgeFailure(ctx context.Context, s *scratch, err error) error {
	if errors.Is(err, limiter.ErrForeignRule) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	v := &s.event.Verdict
	v.Kind, v.Reason = Allow, storeFailed
	v.Rule, v.Limit, v.Window, v.Remaining, v.RetryAfter = "", 0, 0, 0, 0
	v.Skipped = v.Skipped[:0]
	for _, l := range s.rules {
		if l.failMode == policy.Closed {
			return &UnavailableError{Rule: l.name, Err: err}
		}
	}
	var charges []limiter.Charge
	var rules []*rule
	for i, l := range s.rules {
		if l.local == nil {
			v.Skipped = append(v.Skipped, l.name)
			continue
		}
		// A share of the limit is the whole limit at so many times the cost.
		c := limiter.Charge{Rule: l.local, Key: s.charges[i].Key, Cost: s.charges[i].Cost}
		if share := max(1, int64(g.local.Instances())); l.n > 0 {
			c.Cost = l.n
			if s.charges[i].Cost <= l.n/share {
				c.Cost = s.charges[i].Cost * share
			}
		}
		charges, rules = append(charges, c), append(rules, l)
	}
	if len(charges) == 0 {
		return nil
	}
	d, err := g.local.Store.Take(ctx, v.At, charges)
	switch {
	case err != nil:
		return unavailable(err)
	case !d.Allowed:
		l := rules[max(0, d.Binding)]
		v.bind(l)
		v.Kind, v.Reason, v.RetryAfter = Deny, l.reason, d.RetryAfter
		if l.onLimit == policy.Challenge && !s.event.Send.ChallengePassed {
			v.Kind = Challenge
		}
	}
	return nil
}
