package gate

import (
	"time"

	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/policy"
)

// Event is one answered check, one outcome that was counted, or one change of the feedback.
type Event struct {
	Send    policy.Send
	Cost    int64
	Verdict Verdict
	// Warned are budgets that this send brought to their warn_at or beyond.
	Warned []Warning
	// Reported is set for an outcome. Then Send holds the number, account and purpose, and Verdict what is known of the check.
	Reported *Reported
	// Feedback is set for a change of it, and nothing else is but Verdict.At.
	Feedback FeedbackState
}

// Reported is one outcome that was counted.
type Reported struct {
	Outcome Outcome
	// OccurredAt is when it happened, as reported; never before the check, nor in the future.
	OccurredAt time.Time
	Detail     string
}

// OutcomeObserver is an Observer that wants to know of outcomes.
type OutcomeObserver interface {
	Reported(*Event)
}

// FeedbackObserver is an Observer that wants to know when reports stop or come again: FeedbackSilent or FeedbackReporting.
type FeedbackObserver interface {
	FeedbackChanged(*Event)
}

// told hands an event to an observer.
func (e *Event) told(o Observer) {
	switch {
	case e.Feedback != FeedbackUnknown:
		if o, ok := o.(FeedbackObserver); ok {
			o.FeedbackChanged(e)
		}
	case e.Reported != nil:
		if o, ok := o.(OutcomeObserver); ok {
			o.Reported(e)
		}
	default:
		o.Checked(e)
	}
}

// Observer is told of every answered check, one at a time and in the order of their answers up to what ran at the same
// time. It may be slow: what comes while the ring is full is dropped and counted in [Stats]. It must not keep the event.
type Observer interface {
	Checked(*Event)
}

// Stats of a gate. Counters start at 0 with the process.
type Stats struct {
	// Dropped events no observer was told of, because the ring was full.
	Dropped uint64
	// Replies is what the memory of idempotency keys says, and Unremembered are answers that were too long for it.
	Replies      replies.Stats
	Unremembered int64
}
