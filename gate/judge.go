package gate

import (
	"context"
	"errors"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// takeUnlessSeen charges the limits, unless detection stops the send. The stricter of the two answers; where both say the same it
// is detection, which knows what the sends belong to.
func (g *Gate) takeUnlessSeen(ctx context.Context, r *rules, s *scratch) error {
	seen, v := &s.seen, &s.event.Verdict
	var err error
	switch {
	case seen.stopped(v):
		err = g.countDenied(ctx, r, s)
	case seen.challenged(v):
		if err = g.judgeHarder(ctx, r, s); err == nil && v.Kind != Allow {
			err = g.countDenied(ctx, r, s)
		}
	default:
		if err = g.take(ctx, r, s); err != nil || v.Kind != Allow {
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
			err = g.countDenied(ctx, r, s)
		}
	}
	if err == nil && v.Kind == Allow { // the store failed and would fail open, yet detection needs no store
		seen.tell(v)
	}
	return err
}

// take charges all enforced limits or none, and judges.
func (g *Gate) take(ctx context.Context, r *rules, s *scratch) error {
	v := &s.event.Verdict
	d, err := g.store.Take(ctx, v.At, s.charges)
	if err != nil {
		return r.judgeFailure(s, err)
	}
	v.At = d.At
	if d.Binding >= 0 {
		v.bind(&r.limits[s.plan.Enforced[d.Binding].Rule])
	}
	v.Remaining, v.RetryAfter = d.Remaining, d.RetryAfter
	switch {
	case d.Allowed:
		v.Kind = Allow
		return nil
	case d.Full || d.Binding < 0:
		v.Kind, v.Reason = Deny, "store:full"
	default:
		l := &r.limits[s.plan.Enforced[d.Binding].Rule]
		v.Kind, v.Reason = Deny, l.reason
		if l.OnLimit == policy.Challenge {
			v.Kind = Challenge
			if err := g.judgeHarder(ctx, r, s); err != nil {
				return err
			}
		}
	}
	return g.countDenied(ctx, r, s)
}

func (v *Verdict) bind(l *rule) { v.Rule, v.Limit, v.Window = l.Name, l.N, l.Window }

// judgeHarder looks whether a limit that denies refuses as well: a step up does not help against that. The store names only
// the limit that holds the longest.
func (g *Gate) judgeHarder(ctx context.Context, r *rules, s *scratch) error {
	v := &s.event.Verdict
	for i, c := range s.plan.Enforced {
		l := &r.limits[c.Rule]
		if l.OnLimit == policy.Challenge {
			continue
		}
		u, err := g.store.Peek(ctx, v.At, s.charges[i])
		if err != nil {
			return r.judgeFailure(s, err)
		}
		if u.RetryAfter > 0 && (v.Kind == Challenge || u.RetryAfter > v.RetryAfter) {
			v.bind(l)
			v.Kind, v.Reason, v.RetryAfter, v.Remaining = Deny, l.reason, u.RetryAfter, max(0, l.N-u.Held)
		}
	}
	return nil
}

// countDenied charges the limits that count sends which did not go out. Each is charged alone: one that is used up must not
// keep the others from counting.
func (g *Gate) countDenied(ctx context.Context, r *rules, s *scratch) error {
	for i, c := range s.plan.Enforced {
		if !r.limits[c.Rule].CountDenied {
			continue
		}
		s.one[0] = s.charges[i]
		if _, err := g.store.Take(ctx, s.event.Verdict.At, s.one[:]); err != nil {
			return r.judgeFailure(s, err)
		}
	}
	return nil
}

// takeShadow asks each limit in shadow mode alone what it would have said. It sees what it would see if it were enforced:
// sends that something else stopped count only for limits that say count_denied. Nothing here changes the verdict.
func (g *Gate) takeShadow(ctx context.Context, r *rules, s *scratch) error {
	v := &s.event.Verdict
	for _, c := range s.plan.Shadow {
		l := &r.limits[c.Rule]
		if v.Kind != Allow && !l.CountDenied {
			continue
		}
		result := ShadowResult{Rule: l.Name, Kind: Allow, Limit: l.N}
		if s.event.Cost > l.N {
			result.Kind, result.Reason = Deny, l.reason
			v.Shadow = append(v.Shadow, result)
			continue
		}
		s.one[0] = s.charge(r, c)
		d, err := g.store.Take(ctx, v.At, s.one[:])
		if errors.Is(err, limiter.ErrForeignRule) {
			continue // a new policy dropped it meanwhile
		}
		if err != nil {
			v.Skipped = append(v.Skipped, l.Name)
			continue
		}
		result.Remaining, result.RetryAfter = d.Remaining, d.RetryAfter
		if !d.Allowed {
			result.Kind, result.Reason = Deny, l.reason
			if l.OnLimit == policy.Challenge {
				result.Kind = Challenge
			}
		}
		v.Shadow = append(v.Shadow, result)
	}
	return nil
}

// storeFailed is the reason of an ALLOW because nobody could count.
const storeFailed = "store:failed"

// judgeFailure answers when the store could not: as the rules that apply say. A rule that fails closed wins.
func (r *rules) judgeFailure(s *scratch, err error) error {
	if errors.Is(err, limiter.ErrForeignRule) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	v := &s.event.Verdict
	v.Kind, v.Reason = Allow, storeFailed
	v.Rule, v.Limit, v.Window, v.Remaining, v.RetryAfter = "", 0, 0, 0, 0
	v.Skipped = v.Skipped[:0]
	for _, c := range s.plan.Enforced {
		l := &r.limits[c.Rule]
		if l.FailMode == policy.Closed {
			return &UnavailableError{Rule: l.Name, Err: err}
		}
		v.Skipped = append(v.Skipped, l.Name)
	}
	return nil
}
