package limiter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of a [Limit].
const (
	MinWindow = time.Millisecond
	MaxWindow = 366 * 24 * time.Hour
	// MaxN is the largest limit of a windowed rule, and so the largest cost: 8.7e12, or 8.7 million dollars in
	// micro-units.
	MaxN = 1<<43 - 1
	// MaxExact is the largest N that is kept permit by permit. Above it a rule is counted in [Buckets] buckets and may
	// refuse up to Window/Buckets early, never late.
	MaxExact = 62
	// Buckets is into how many parts, at least, the window of a rule above MaxExact is cut (windows from 21ms; up to 3.5% of a window of 1ms).
	Buckets = 50
)

// Kind says what a rule keeps for a key.
type Kind uint8

const (
	// Window is at most N per key in any interval of length Window. It is the default.
	Window Kind = iota
	// Delay is a wait before the next charge that grows with every charge; see [Backoff].
	Delay
	// Marker is one remembered fact with an end, such as "this number verified"; see [Store.Mark].
	Marker
)

// Limit describes a rule. Limits are plain data; a [Store] turns them into rules with Define.
type Limit struct {
	// Name identifies the rule in its store for ever: defining a limit with a known name keeps the counters. 1 to 64 bytes.
	Name string
	// Group is the kind of key, such as "number". Rules of one group share the cache lines of a key where they fit, so
	// every charge of a group in one Take should carry the same Key. The same Name in another Group is another rule.
	Group string
	Kind  Kind
	// N is how many units may be held in any Window: 1 to MaxN. Only for Kind Window.
	N int64
	// Window is from MinWindow to MaxWindow. Only for Kind Window.
	Window time.Duration
	// Stripes divides what a key of a rule above MaxExact holds over so many slots, so that cores do not fight for one word: 1 to
	// 16. It is for few and hot keys, such as an account that all traffic belongs to. 0 is for many keys that mostly hold little:
	// one slot, and none for a key that holds no more than four units. N stays exact.
	Stripes int
	// Backoff is only for Kind Delay.
	Backoff Backoff
	// FailOpen says what happens to a new key when the store has no room that is not in use: true admits the send without
	// recording it under this rule, false denies it. Either is counted in [Stats].
	FailOpen bool
}

// Backoff is the shape of a growing delay: the first Free charges are not delayed, then charge n must wait
// Base*Factor^(n-Free-1), at most Max, shortened or lengthened by up to Jitter of itself. A key that is quiet for ForgetAfter
// after its delay has ended starts again.
type Backoff struct {
	Free        int           // 0 to 100
	Base        time.Duration // 1ms to Max
	Factor      float64       // 1 to 100
	Max         time.Duration // Base to MaxWindow
	ForgetAfter time.Duration // 1s to MaxWindow
	Jitter      float64       // 0 to 0.5; deterministic by key and count
	// Stop is how many charges are the last: the wait after it is MaxWindow, and only Reset ends it. 0 to 127; 0 for none.
	Stop int
	// Insist counts a charge that comes before its time, when it is the only one of its Take: it is refused all the same, and the
	// wait begins anew, one step longer.
	Insist bool
}

// Rule is a defined limit. It is immutable and safe for concurrent use; it belongs to the store that made it.
type Rule struct {
	limit Limit
	table *tableRule // of a Table
	body  any        // of another store
}

// Limit returns what the rule was defined with.
func (r *Rule) Limit() Limit { return r.limit }

// NewRule makes a rule for a [Store] that is not a Table: body is what that store keeps with it. The limits of one Define are
// checked with [Validate] before.
func NewRule(l Limit, body any) *Rule { return &Rule{limit: l, body: body} }

// Body returns what NewRule was given; nil of a Table's rule, of the zero rule and of none.
func (r *Rule) Body() any {
	if r == nil {
		return nil
	}
	return r.body
}

// Validate says what is wrong with a set of limits: the first that is out of its bounds, or a name that a group has twice.
func Validate(limits []Limit) error {
	seen := map[[2]string]bool{}
	for _, l := range limits {
		if err := l.validate(); err != nil {
			return err
		}
		id := [2]string{l.Group, l.Name}
		if seen[id] {
			return fmt.Errorf("limiter: limit %q is defined twice for group %q: give one another name", l.Name, l.Group)
		}
		seen[id] = true
	}
	return nil
}

// Key is the keyed hash of what is limited: 128 bits that do not lead back to a number without the store's secret.
type Key struct{ Fingerprint, Place uint64 }

// Charge is one rule's share of a check.
type Charge struct {
	Rule *Rule
	Key  Key
	// Cost is how many units are taken: 1 to the rule's N. Ignored for Kind Delay.
	Cost int64
}

// Decision is the answer to a Take.
type Decision struct {
	// Allowed says that every charge was taken. When false none was.
	Allowed bool
	// Full says that the denial is not about a limit: there was no room to remember a new key of a rule that fails closed.
	Full bool
	// Binding is the index of the charge that decides: of a denial the one with the longest RetryAfter, else the one with the
	// fewest units left. -1 where there were no charges of Kind Window or Delay.
	Binding int
	// Remaining is how many units the binding rule has left after this check.
	Remaining int64
	// RetryAfter is how long after the reading the same check can pass if nothing else is taken: more than 0, and at most the
	// rule's delay or Window, or a bucket more than that for a rule above MaxExact; 0 when allowed.
	RetryAfter time.Duration
	// Skipped counts the charges that were not recorded because there was no room and their rule fails open.
	Skipped int
	// At is the reading the charges were taken at: the one given, or a later one that a key had already seen. Refund wants it.
	At time.Time
}

// Usage is what a key holds of a rule.
type Usage struct {
	// Held is how many units are held now; for Kind Delay the number of charges remembered; for Kind Marker 1 or 0.
	Held int64
	// RetryAfter is how long until a charge of the asked cost can pass; 0 if it can now. For a Marker that is set: until it ends.
	RetryAfter time.Duration
}

// Store keeps the counters. Every method is safe for concurrent use. A non-nil error means that the store failed or that the
// arguments make no sense ([CostError], [ErrForeignRule]), never that a limit was reached.
type Store interface {
	// Define replaces the set of rules, all or none, and returns a rule for each limit in order. Counters of rules whose name
	// and group stay are kept: a raised N takes effect at once, a lowered one frees nothing.
	Define(ctx context.Context, limits []Limit) ([]*Rule, error)
	// Key hashes the bytes that name who is limited. Parts of a compound key must be told apart by the caller
	// (length prefixes). It does not keep b.
	Key(b []byte) Key
	// Take takes all charges or none, by the reading now. A rule may be charged at most once per key and call.
	Take(ctx context.Context, now time.Time, charges []Charge) (Decision, error)
	// Refund gives back what a Take took at its Decision.At. What has expired since is gone already. It gives back no more
	// than was taken at that reading, yet it cannot know whether it is called twice for one Take: that is the caller's to see.
	Refund(ctx context.Context, at time.Time, charges []Charge) error
	// Peek tells what a Take of c would meet, and changes nothing.
	Peek(ctx context.Context, now time.Time, c Charge) (Usage, error)
	// Reset forgets what a key holds of a rule.
	Reset(ctx context.Context, now time.Time, rule *Rule, key Key) error
	// Mark sets a Kind Marker rule for a key until a time; a mark never ends earlier than it already did.
	Mark(ctx context.Context, now, until time.Time, rule *Rule, key Key) error
	// Stats is a cheap snapshot of counters.
	Stats() Stats
	Close() error
}

// Stats of a store. Counters start at 0 with the process.
type Stats struct {
	Capacity   int64 // keys that fit
	Occupied   int64 // slots that hold a key, live or expired
	Recycled   int64 // expired keys whose slot was given to another
	FullOpen   int64 // charges skipped because no slot was free and the rule fails open
	FullClosed int64 // checks denied because no slot was free and the rule fails closed
	LookAgain  int64 // times a check waited for another's undecided claim before it denied
}

var (
	// ErrForeignRule is returned for a rule that another store made. A rule that a later Define replaced or dropped still works,
	// for checks that are under way; it may also be refused with this error.
	ErrForeignRule = errors.New("limiter: the rule is not one of this store's")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("limiter: the store is closed")
)

// CostError is returned for a cost that can never fit.
type CostError struct {
	Rule  string
	Cost  int64
	Limit int64
}

func (e *CostError) Error() string {
	if e.Cost < 1 {
		return fmt.Sprintf("limiter: rule %q: cost %d: must be at least 1", e.Rule, e.Cost)
	}
	return fmt.Sprintf("limiter: rule %q: cost %d can never fit its limit of %d", e.Rule, e.Cost, e.Limit)
}
