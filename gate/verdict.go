package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// Kind is what to do with a send. The zero value is none: a Verdict that nobody filled in allows nothing.
type Kind uint8

// The kinds.
const (
	_         Kind = iota
	Allow          // send it; it has been charged
	Deny           // do not send it
	Challenge      // let the user step up first, then ask again
)

// String returns "allow", "deny" or "challenge".
func (k Kind) String() string {
	switch k {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	case Challenge:
		return "challenge"
	}
	return "none"
}

// Verdict is the answer to a check.
type Verdict struct {
	Kind Kind
	// Reason is why, for programs: "limit:number-30m", "detect:ait_range:range3", "client:missing"; an ALLOW
	// with a detect reason was flagged; empty for an ALLOW that nothing
	// special decided.
	Reason string
	// Rule is the binding rule: of a denial the one that decided, of an ALLOW the one with the fewest units left. Empty
	// where there is none.
	Rule string
	// RetryAfter is how long until the same check can pass if nothing else is sent meanwhile; 0 where waiting does not help.
	RetryAfter time.Duration
	// Remaining is what the binding rule has left after this check; Limit and Window are its own. 0 where there is none.
	Remaining, Limit int64
	Window           time.Duration
	// CheckID names this check to outcome reports: opaque text of 64 bytes.
	CheckID string
	// PolicyVersion is the version of the policy that judged.
	PolicyVersion string
	// Shadow is what each rule in shadow mode would have said.
	Shadow []ShadowResult
	// Signals is what detection saw in the send, the deciding signal first. It is for operators: never show it to the end user.
	Signals []detect.Signal
	// Replayed says that this is the answer of an earlier check with the same idempotency key: nothing was charged again.
	Replayed bool
	// Skipped are the rules that could not count the send and whose fail mode let it pass.
	Skipped []string
	// At is the reading of the clock that the check was judged by.
	At time.Time
}

// ByDetection says that detection decided: the reason begins with detect or block.
func (v *Verdict) ByDetection() bool {
	return strings.HasPrefix(v.Reason, "detect:") || strings.HasPrefix(v.Reason, "block:")
}

// ShadowResult is what a rule in shadow mode would have said.
type ShadowResult struct {
	Rule             string
	Kind             Kind
	Reason           string
	RetryAfter       time.Duration
	Remaining, Limit int64
}

// UnavailableError is returned when the store failed and a rule that applies fails closed. Whether the send was charged is
// not known.
type UnavailableError struct {
	Rule string // the first rule that fails closed; empty where what was taken could not be given back
	Err  error  // what the store said
}

func (e *UnavailableError) Error() string {
	if e.Rule == "" {
		return fmt.Sprintf("the store failed: %v", e.Err)
	}
	return fmt.Sprintf("the store failed and rule %q fails closed: %v", e.Rule, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }
