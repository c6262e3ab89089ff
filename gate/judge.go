package gate

import (
	"context"

	"github.com/sendgate/sendgate/policy"
)

// takeUnlessSeen charges the limits, unless detection stops the send. The stricter of the two answers; where both say the same it
// is detection, which knows what the sends belong to.
func (g *Gate) takeUnlessSeen(ctx context.Context, s *scratch) error {
	seen, v := &s.seen, &s.event.Verdict
	var err error
	switch {
	case seen.stopped(v):
		err = g.countDenied(ctx, s)
	case seen.challenged(v):
		if err = g.judgeHarder(ctx, s); err == nil && v.Kind != Allow {
			err = g.countDenied(ctx, s)
		}
	default:
		if err = g.take(ctx, s); err != nil || v.Kind != Allow {
			return err // a limit tells a broken client more exactly how long to wait
		}
		if !seen.delayed() {
			seen.flag(v)
			return nil
		}
		taken := v.Reason != storeFailed
		seen.tell(v)
		if taken {
			if err := g.store.Refund(context.WithoutCancel(ctx), v.At, s.charges); err != nil {
				return &UnavailableError{Err: err}
			}
			err = g.countDenied(ctx, s)
		}
	}
	if err == nil && v.Kind == Allow { // the store failed and would fail open, yet detection needs no store
		seen.tell(v)
	}
	return err
}

// take charges all enforced rules or none, and judges.
func (g *Gate) take(ctx context.Context, s *scratch) error {
	v := &s.event.Verdict
	if l := s.dear; l != nil {
		v.bind(l)
		v.Kind, v.Reason = Deny, l.reason
		return g.countDenied(ctx, s)
	}
	step, err := g.step(ctx, s)
	if err != nil {
		return g.judgeFailure(ctx, s, err)
	}
	if step != nil {
		v.bind(step)
		v.Kind, v.Reason = Challenge, step.reason
		if err := g.judgeHarder(ctx, s); err != nil || v.Kind == Allow {
			return err
		}
		return g.countDenied(ctx, s)
	}
	d, err := g.store.Take(ctx, v.At, s.charges)
	if err != nil {
		return g.judgeFailure(ctx, s, err)
	}
	s.insisted = !d.Allowed && len(s.charges) == 1
	v.At = d.At
	if d.Binding >= 0 {
		v.bind(s.rules[d.Binding])
	}
	v.Remaining, v.RetryAfter = d.Remaining, d.RetryAfter
	switch {
	case d.Allowed:
		v.Kind = Allow
		for i, l := range s.rules {
			s.remember(l, &s.charges[i])
		}
		return nil
	case d.Full || d.Binding < 0:
		v.Kind, v.Reason = Deny, "store:full"
	default:
		l := s.rules[d.Binding]
		v.Kind, v.Reason = Deny, l.reason
		// Whoever passed a challenge is not sent to the next one: he waits.
		if l.onLimit == policy.Challenge && !s.event.Send.ChallengePassed {
			v.Kind = Challenge
			if err := g.judgeHarder(ctx, s); err != nil || v.Kind == Allow {
				return err
			}
		}
	}
	return g.countDenied(ctx, s)
}

// judgeHarder looks whether a rule that denies refuses as well: a step up does not help against that. The store names only
// the one that holds the longest.
func (g *Gate) judgeHarder(ctx context.Context, s *scratch) error {
	v := &s.event.Verdict
	if l := s.dear; l != nil {
		v.bind(l)
		v.Kind, v.Reason, v.RetryAfter, v.Remaining = Deny, l.reason, 0, 0
		return nil
	}
	for i, l := range s.rules {
		if l.onLimit == policy.Challenge && !s.event.Send.ChallengePassed {
			continue
		}
		u, err := g.store.Peek(ctx, v.At, s.charges[i])
		if err != nil {
			return g.judgeFailure(ctx, s, err)
		}
		if u.RetryAfter > 0 && (v.Kind == Challenge || u.RetryAfter > v.RetryAfter) {
			v.bind(l)
			v.Kind, v.Reason, v.RetryAfter, v.Remaining = Deny, l.reason, u.RetryAfter, max(0, l.n-u.Held)
		}
	}
	return nil
}

// countDenied charges the rules that count sends which did not go out. Each is charged alone: one that is used up must not
// keep the others from counting.
func (g *Gate) countDenied(ctx context.Context, s *scratch) error {
	v := &s.event.Verdict
	for i, l := range s.rules {
		if !l.countDenied || l.n == 0 && s.insisted {
			continue
		}
		s.one[0] = s.charges[i]
		d, err := g.store.Take(ctx, v.At, s.one[:])
		if err != nil {
			return g.judgeFailure(ctx, s, err)
		}
		if !d.Allowed && v.Reason == l.reason {
			v.RetryAfter = max(v.RetryAfter, d.RetryAfter) // a delay is longer now
		}
	}
	return nil
}

// storeFailed is the reason of an ALLOW because nobody could count.
const storeFailed = "store:failed"
