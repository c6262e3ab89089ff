package gate

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// FeedbackState says whether callers report that codes were entered.
type FeedbackState uint8

// The states. What judges by conversion must judge nobody in FeedbackSilent: there a number that never verified is as good as
// any other.
const (
	FeedbackUnknown   FeedbackState = iota // too little was sent to tell
	FeedbackReporting                      // a VERIFIED came within the last 7 days
	FeedbackSilent                         // none came, though SilentAfter codes are older than the outcome timeout
)

// String returns "unknown", "reporting" or "silent".
func (s FeedbackState) String() string { return [...]string{"unknown", "reporting", "silent"}[s] }

const (
	// SilentAfter is how many one-time codes have to be allowed, and get older than the outcome timeout without a single VERIFIED,
	// for a deployment to count as one that does not report. At a conversion of 1 %, which no honest service has, the chance
	// that 500 codes in a row all fail is 0.7 %.
	SilentAfter = 500
	// reportingFor is how long one VERIFIED proves that there are reports: longer than the quietest week-end.
	reportingFor = 7 * 24 * time.Hour
	// remarkAfter is how often the proof is renewed in the store.
	remarkAfter = time.Hour
)

// pace watches whether what is sent is answered by reports. Its memory is the process's, and what it found is the store's, so that
// a restart and other instances know it.
type pace struct {
	state    atomic.Uint32 // FeedbackState
	sends    atomic.Int64  // codes allowed since the last VERIFIED, up to SilentAfter
	fullAt   atomic.Int64  // when there were SilentAfter, Unix nanoseconds; 0 before
	verified atomic.Int64  // the newest VERIFIED
	marked   atomic.Int64  // when the store was told of one
}

// Feedback tells whether callers report that codes were entered. It is cheap.
func (g *Gate) Feedback() FeedbackState { return FeedbackState(g.pace.state.Load()) }

// sent counts a code that was allowed. It reports true when the deployment may have turned out to be silent.
func (p *pace) sent(at time.Time, timeout time.Duration) bool {
	now := at.UnixNano()
	switch full := p.fullAt.Load(); {
	case full == 0:
		if p.sends.Add(1) == SilentAfter {
			p.fullAt.Store(now)
		}
		return false
	default:
		return now > full+int64(timeout) && FeedbackState(p.state.Load()) != FeedbackSilent && now > p.verified.Load()+int64(reportingFor)
	}
}

// turnSilent notes that nobody reports, unless the store knows better from another instance.
func (g *Gate) turnSilent(ctx context.Context, r *rules, now time.Time) {
	key := g.feedbackKey()
	if u, err := g.store.Peek(ctx, now, limiter.Charge{Rule: r.own.reporting, Key: key, Cost: 1}); err != nil || u.Held > 0 {
		if err == nil {
			g.pace.verified.Store(now.UnixNano())
			g.pace.state.Store(uint32(FeedbackReporting))
			g.pace.begin()
		}
		return
	}
	old := g.pace.state.Swap(uint32(FeedbackSilent))
	if FeedbackState(old) == FeedbackSilent {
		return // another check was faster
	}
	_ = g.store.Mark(ctx, now, now.Add(reportingFor), r.own.silent, key) // what is not remembered is found out again
	g.tell(&Event{Feedback: FeedbackSilent, Verdict: Verdict{At: now}})
}

// entered notes a VERIFIED.
func (g *Gate) entered(ctx context.Context, r *rules, now time.Time) {
	p, at := &g.pace, now.UnixNano()
	p.verified.Store(at)
	p.begin()
	if old := FeedbackState(p.state.Swap(uint32(FeedbackReporting))); old == FeedbackSilent {
		g.tell(&Event{Feedback: FeedbackReporting, Verdict: Verdict{At: now}})
	}
	if last := p.marked.Load(); at > last+int64(remarkAfter) && p.marked.CompareAndSwap(last, at) {
		key := g.feedbackKey()
		_ = g.store.Mark(ctx, now, now.Add(reportingFor), r.own.reporting, key) // the next VERIFIED but an hour tries again
		_ = g.store.Reset(ctx, now, r.own.silent, key)
	}
}

// begin counts anew.
func (p *pace) begin() {
	if p.sends.Load() > 0 {
		p.sends.Store(0)
		p.fullAt.Store(0)
	}
}

// recall reads what an earlier life or another instance found out.
func (g *Gate) recall(ctx context.Context, r *rules, now time.Time) {
	key := g.feedbackKey()
	held := func(rule *limiter.Rule) bool {
		u, err := g.store.Peek(ctx, now, limiter.Charge{Rule: rule, Key: key, Cost: 1})
		return err == nil && u.Held > 0
	}
	switch {
	case held(r.own.reporting):
		g.pace.verified.Store(now.UnixNano())
		g.pace.state.Store(uint32(FeedbackReporting))
	case held(r.own.silent):
		g.pace.state.Store(uint32(FeedbackSilent))
	}
}

func (g *Gate) feedbackKey() limiter.Key { return g.key([]byte("feedback")) }
