package gate

import (
	"github.com/sendgate/sendgate/policy"
)

// Event is one answered check.
type Event struct {
	Send    policy.Send
	Cost    int64
	Verdict Verdict
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
}
