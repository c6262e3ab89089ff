package gate

import (
	"context"
	"time"

	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/limiter"
)

// Answer is what one request of several got: a verdict, or the error of [Gate.Check].
type Answer struct {
	Verdict Verdict
	Err     error
}

// CheckAll judges several sends of which all go out or none. They are judged in order, an earlier one counting for a later;
// unless every one is allowed, what was taken is given back, and those that would have been allowed are denied with the
// reason "batch:all_or_nothing". While it runs, other checks may be denied by what it then gives back; none is ever
// allowed by it. Limits in shadow mode keep what they counted.
func (g *Gate) CheckAll(ctx context.Context, reqs []*Request) []Answer {
	s := g.scratch.Get().(*scratch)
	defer g.scratch.Put(s)
	answers, events := make([]Answer, len(reqs)), make([]Event, len(reqs))
	var r *rules // one policy for all: they are one decision
	if len(reqs) > 0 {
		r = g.rulesFor(reqs[0])
	}
	known := g.beginAll(ctx, r, reqs, answers, s)
	defer known.abandon()
	var took []taken
	allowed := 0
	for i, req := range reqs {
		if known.answered(i) {
			if a := &answers[i]; a.Err == nil && a.Verdict.Kind == Allow {
				allowed++
			}
			continue
		}
		err := g.decide(ctx, r, req, s)
		answers[i], events[i] = Answer{s.event.Verdict, err}, s.event
		if err == nil && s.event.Verdict.Kind == Allow {
			allowed++
			took = append(took, taken{i, s.event.Verdict.At, append([]limiter.Charge(nil), s.charges...), s.seen, s.shadowSeen, s.ticket, s.template})
		}
	}
	if allowed+known.twins() < len(reqs) {
		for _, t := range took {
			answers[t.item] = g.undo(ctx, &answers[t.item].Verdict, t)
			events[t.item].Verdict = answers[t.item].Verdict
		}
	}
	for i := range answers {
		if answers[i].Err == nil && !known.answered(i) {
			g.tell(&events[i])
		}
	}
	known.finish(g, answers, s)
	return answers
}

// taken is what one item of a batch has charged.
type taken struct {
	item    int
	at      time.Time
	charges []limiter.Charge
	seen    observed
	shadow  observed
	ticket  checkID
	with    template.ID
}

// undo gives back what an allowed item took and denies it.
func (g *Gate) undo(ctx context.Context, v *Verdict, t taken) Answer {
	g.withdraw(&t.seen, &t.shadow)
	g.returnTemplate(t.with)
	// A caller who went away must not leave the permits behind.
	if err := g.store.Refund(context.WithoutCancel(ctx), t.at, t.charges); err != nil {
		return Answer{Err: &UnavailableError{Err: err}}
	}
	// The id that was sealed says that there is something to give back. Nobody has seen it; this one says that there is not.
	t.ticket.sequence, t.ticket.allowed = g.ids.next(), false
	id, _ := g.ids.seal(nil, &t.ticket)
	return Answer{Verdict: Verdict{Kind: Deny, Reason: "batch:all_or_nothing", CheckID: id, PolicyVersion: v.PolicyVersion, Shadow: v.Shadow, Signals: v.Signals, At: v.At}}
}
