package server

import (
	"context"
	"errors"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// errRoom is for Envoy's failure mode to judge: there was no room to count, which is not the client's doing.
var errRoom = errors.New("no room for another counter: give the rate limit service a larger table")

// judge counts all descriptors. What is in shadow, and quotas, never keeps others from being counted.
func (r *rls) judge(ctx context.Context, now time.Time, hits []hit) error {
	var together []*hit
	for i := range hits {
		h := &hits[i]
		var err error
		switch {
		case !h.counts():
		case h.refund:
			err = r.giveBack(ctx, now, h)
		case r.limits.Fixed || h.limit.Shadow || h.limit.Quota:
			err = r.alone(ctx, now, h)
		default:
			together = append(together, h)
		}
		if err != nil {
			return err
		}
	}
	if err := r.allOrNone(ctx, now, together); err != nil {
		return err
	}
	for i := range hits {
		if h := &hits[i]; h.counts() {
			if err := r.read(ctx, now, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone counts one hit for itself. In fixed windows a refused hit is counted too, as the peer does: it uses up what is left.
func (r *rls) alone(ctx context.Context, now time.Time, h *hit) error {
	if h.rule == nil {
		h.over = true
		return nil
	}
	left := int64(0)
	if h.cost == 0 || h.hopeless() {
		u, err := r.limits.Store.Peek(ctx, now, h.charge(1))
		if err != nil {
			return err
		}
		left = max(0, h.limit.RequestsPerUnit-u.Held)
		if h.cost == 0 { // only asks
			h.over = left == 0
			return nil
		}
		h.over = true
	} else {
		d, err := r.take(ctx, now, []limiter.Charge{h.charge(h.cost)})
		if err != nil {
			return err
		}
		h.over, left = !d.Allowed, d.Remaining
	}
	if h.over && r.limits.Fixed && left > 0 {
		// Another may have taken some of it meanwhile: then it is refused, and so is what comes next.
		_, err := r.take(ctx, now, []limiter.Charge{h.charge(left)})
		return err
	}
	return nil
}

// counter is what two descriptors of a request may share.
type counter struct {
	rule *limiter.Rule
	key  limiter.Key
}

// allOrNone counts several hits as one decision.
func (r *rls) allOrNone(ctx context.Context, now time.Time, hits []*hit) error {
	var charges []limiter.Charge
	at := make(map[counter]int)
	allowed := true
	for _, h := range hits {
		i, known := at[counter{h.rule, h.key}]
		switch {
		case h.hopeless():
			h.over, allowed = true, false
		case h.cost == 0: // only asks
		case known:
			charges[i].Cost += h.cost
			allowed = allowed && charges[i].Cost <= h.limit.RequestsPerUnit
		default:
			at[counter{h.rule, h.key}] = len(charges)
			charges = append(charges, h.charge(h.cost))
		}
	}
	if allowed && len(charges) > 0 {
		d, err := r.take(ctx, now, charges)
		if err != nil {
			return err
		}
		if allowed = d.Allowed; !allowed { // whatever the others say when they are asked: this one said no
			for _, h := range hits {
				b := charges[d.Binding]
				h.over = h.over || h.cost > 0 && h.rule == b.Rule && h.key == b.Key
			}
		}
	}
	for _, h := range hits {
		if h.over || allowed && h.cost > 0 {
			continue
		}
		cost := max(1, h.cost)
		if i, known := at[counter{h.rule, h.key}]; known {
			cost = charges[i].Cost
		}
		if cost > h.limit.RequestsPerUnit {
			h.over = true
			continue
		}
		u, err := r.limits.Store.Peek(ctx, now, h.charge(cost))
		if err != nil {
			return err
		}
		h.over = u.RetryAfter > 0
	}
	return nil
}

// take remembers what it took, for refunds.
func (r *rls) take(ctx context.Context, now time.Time, charges []limiter.Charge) (limiter.Decision, error) {
	d, err := r.limits.Store.Take(ctx, now, charges)
	if err != nil {
		return d, err
	}
	if d.Full || !d.Allowed && d.Binding < 0 {
		return d, errRoom
	}
	if d.Allowed {
		for _, c := range charges {
			r.taken.add(c, d.At)
		}
	}
	return d, nil
}

// giveBack is is_negative_hits: a message that was not sent after all. It frees the oldest that is remembered of the counter:
// whichever it was, what stays held is held at least as long as it should be.
func (r *rls) giveBack(ctx context.Context, now time.Time, h *hit) error {
	if h.rule == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // once it is out of the ledger it is given back, even if nobody waits any more
	for _, t := range r.taken.pop(h.charge(h.cost), now.Add(-h.limit.Unit.Window())) {
		if err := r.limits.Store.Refund(ctx, t.at, []limiter.Charge{h.charge(t.cost)}); err != nil {
			return err
		}
	}
	return nil
}

// read finds out what is left. A limit resets when all of it is free again; one that is over, when this hit fits.
func (r *rls) read(ctx context.Context, now time.Time, h *hit) error {
	window := h.limit.Unit.Window()
	if r.limits.Fixed {
		h.reset = window - time.Duration(now.Unix()%int64(window/time.Second))*time.Second
	}
	if h.rule == nil {
		h.reset = window
		return nil
	}
	cost := h.limit.RequestsPerUnit
	if h.over && !h.hopeless() {
		cost = max(1, h.cost)
	}
	u, err := r.limits.Store.Peek(ctx, now, h.charge(cost))
	if err != nil {
		return err
	}
	if !h.over {
		h.remaining = max(0, h.limit.RequestsPerUnit-u.Held)
	}
	if !r.limits.Fixed {
		h.reset = u.RetryAfter
	}
	return nil
}
