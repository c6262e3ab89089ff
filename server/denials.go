package server

import (
	"log/slog"
	"time"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/gate"
)

// denialsLogged is how many refusals are logged in a second of the gate's clock. An attack must not fill the disk.
const denialsLogged = 10

// DenialLog writes refused sends to the log, the first few of each second; the rest is counted into the next line.
type DenialLog struct {
	log     *slog.Logger
	second  time.Time
	written int
	kept    int // refused since, and not written
}

// NewDenialLog makes an observer for one gate.
func NewDenialLog(log *slog.Logger) *DenialLog { return &DenialLog{log: log} }

// Checked is called by the gate, from one goroutine.
func (d *DenialLog) Checked(e *gate.Event) {
	v := &e.Verdict
	for _, w := range e.Warned {
		if w.First {
			d.log.Warn("a budget is spent as far as its warn_at", "rule", w.Rule, "spent_millionths", w.Spent, "budget_millionths", w.Budget)
		}
	}
	if v.Kind == gate.Allow {
		return
	}
	if second := v.At.Truncate(time.Second); !second.Equal(d.second) {
		d.second, d.written = second, 0
	}
	if d.written >= denialsLogged {
		d.kept++
		return
	}
	d.written++
	// The number masks itself, and the address is left out: next to a number it would name a person.
	d.log.Info("refused", "verdict", v.Kind.String(), "reason", v.Reason, "number", e.Send.Number, "account", audit.Clean(e.Send.Account),
		"endpoint", audit.Clean(e.Send.Endpoint), "retry_after", v.RetryAfter.String(), "check_id", v.CheckID, "more_not_logged", d.kept)
	d.kept = 0
}

// silentWarning is what an operator is told when nobody reports outcomes.
const silentWarning = "no VERIFIED was reported for codes that were sent: report outcomes, or delays never end early, no number becomes known good, and what judges by conversion is off"

// FeedbackChanged says loudly that outcomes stay away, and that they came back.
func (d *DenialLog) FeedbackChanged(e *gate.Event) {
	if e.Feedback == gate.FeedbackSilent {
		d.log.Warn(silentWarning, "codes", gate.SilentAfter)
		return
	}
	d.log.Info("outcomes are reported again")
}
