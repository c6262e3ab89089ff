package gate

import (
	"context"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// rehearse judges a send as Check would at a reading of the clock, and changes nothing: by a gate of its own that runs the same code on
// a store which only looks, and on a copy of what detection knows of this send. Observers are not told.
func (g *Gate) rehearse(ctx context.Context, r *rules, req *Request, s *scratch, at time.Time) error {
	twin := &Gate{store: looking{g.store}, lists: g.lists, consent: g.consent, templates: g.templates, region: g.region,
		clock: func() time.Time { return at }, ids: g.ids}
	if g.local != nil {
		twin.local = &Local{Store: looking{g.local.Store}, Instances: g.local.Instances}
	}
	look := *r
	s.rehearses, s.readBy = true, &look
	send := &s.event.Send
	if err := look.canonical(req, send); err != nil {
		return err
	}
	about := detectSend(send, at)
	if g.detect != nil {
		twin.detect = g.detect.Rehearse(&about)
		tag := accountTag(send.Account)
		twin.heard.place(tag).Store(g.heard.place(tag).Load())
	}
	if sh := &look.shadow; sh.store != nil {
		sh.store = looking{sh.store}
	}
	if sh := &look.shadow; sh.engine != nil {
		sh.engine = sh.engine.Rehearse(&about)
	}
	twin.rules.Store(&look)
	if err := twin.decideBy(ctx, &look, req, s); err != nil {
		return err
	}
	if s.event.Verdict.Kind == Allow {
		g.returnTemplate(s.template) // it was counted as sent
	}
	s.event.Verdict.CheckID = ""
	return nil
}

// looking is a store that answers as another would, and changes nothing.
type looking struct{ limiter.Store }

// Take is what a Take would answer if nothing else happened meanwhile. A delay that counts refused sends would be longer by then.
func (l looking) Take(ctx context.Context, now time.Time, charges []limiter.Charge) (limiter.Decision, error) {
	d := limiter.Decision{Allowed: true, Binding: -1, At: now}
	for i := range charges {
		c := charges[i]
		u, err := l.Peek(ctx, now, c)
		if err != nil {
			return limiter.Decision{Binding: -1}, err
		}
		limit := c.Rule.Limit()
		switch {
		case u.RetryAfter > d.RetryAfter:
			d.Allowed, d.Binding, d.RetryAfter, d.Remaining = false, i, u.RetryAfter, 0
			if limit.Kind == limiter.Window && c.Cost > 1 {
				d.Remaining = max(0, limit.N-u.Held)
			}
		case !d.Allowed || limit.Kind != limiter.Window:
		case d.Binding < 0 || max(0, limit.N-u.Held-c.Cost) < d.Remaining:
			d.Binding, d.Remaining = i, max(0, limit.N-u.Held-c.Cost)
		}
	}
	return d, nil
}

func (looking) Refund(context.Context, time.Time, []limiter.Charge) error { return nil }

func (looking) Reset(context.Context, time.Time, *limiter.Rule, limiter.Key) error { return nil }

func (looking) Mark(context.Context, time.Time, time.Time, *limiter.Rule, limiter.Key) error {
	return nil
}

// detectSend is what detection needs of a send to find what it knows about it.
func detectSend(send *policy.Send, at time.Time) detect.Send {
	return detect.Send{At: at.UnixNano(), Number: send.Number.Digits(), Country: detect.CountryOf(send.Number.Country()), Client: send.Client,
		Account: nameHash(send.Account), Purpose: detectPurpose(send.Purpose)}
}
