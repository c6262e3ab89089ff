package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Options of New.
type Options struct {
	// Policy judges the first checks. Default policy.Default().
	Policy *policy.Policy
	// Store keeps the counters. Required. The gate does not close it.
	Store limiter.Store
	// Lists are the lists of run time, beside those of the policy. Default none. The gate does not close them.
	Lists *lists.Store
	// Consent knows who opted out and who agreed. Default none. The gate does not close it.
	Consent *consent.Ledger
	// Templates are the states of message templates. Default none. The gate sets their pacing.
	Templates *template.Book
	// Region is where this gate and its stores are, such as "eu". Accounts that the policy binds to another are refused.
	Region string
	// Detect is shown every send and advises. Default none. The gate sets its policy and does not close it; nobody else may use
	// it for sends.
	Detect *detect.Engine
	// Prices are what messages cost. Required where the policy has budgets, in their currency.
	Prices *prices.Table
	// Replies remember answers by idempotency key. Default none: every question is new. The gate does not close it.
	Replies *replies.Table
	// Clock is read once a check. Required. It must not step back while the gate lives.
	Clock func() time.Time
	// Secret seals check ids: SecretSize bytes, the same for every process that is to read them. Default random, so that
	// ids do not outlive the gate.
	Secret []byte
	// Stage is told how long the stages of some checks took, by Stopwatch, on the goroutine of the check. Default none.
	Stage     func(Stage, time.Duration)
	Stopwatch func() time.Duration
	// Observers are told of every answered check.
	Observers []Observer
	// OpenShadow and OpenShadowDetect open where rules, and detectors, in shadow mode keep their state. Each is called at most once, when a
	// policy first needs it. The gate does not close them. Default 16 MiB of memory each.
	OpenShadow       func() (limiter.Store, error)
	OpenShadowDetect func() (*detect.Engine, error)
	// Report counts what shadow would have done. Default none.
	Report *report.Book
	// Peers are other gates on the same store. Default none.
	Peers Peers
	// Local is for rules with fail_mode local. Default none: then they fail open.
	Local *Local
}

// Gate judges sends. Every method is safe for concurrent use.
type Gate struct {
	store     limiter.Store
	lists     *lists.Store    // nil where there are none
	consent   *consent.Ledger // nil where there is none
	templates *template.Book  // nil where there are none
	region    string
	detect    *detect.Engine // nil where there is none
	replies   *replies.Table // nil where there is none
	clock     func() time.Time
	ids       *checkIDs
	heard     heard
	pace      pace                       // of codes sent and entered
	observers *ring                      // nil where there are none
	peers     Peers                      // nil where there are none
	local     *Local                     // nil where there is none
	stage     func(Stage, time.Duration) // nil for none
	stopwatch func() time.Duration
	// unremembered are answers that did not fit into the memory of idempotency keys.
	unremembered atomic.Int64

	openShadowStore  func() (limiter.Store, error)
	openShadowDetect func() (*detect.Engine, error)
	shadowStore      limiter.Store // nil until a policy needs it; of who holds setting
	shadowDetect     atomic.Pointer[detect.Engine]
	book             *report.Book // nil where there is none

	rules   atomic.Pointer[rules]
	setting sync.Mutex // held while the store's rules and ours may differ
	scratch sync.Pool  // of *scratch
}

// New makes a gate and defines the policy's limits in the store.
func New(ctx context.Context, o Options) (*Gate, error) {
	if o.Store == nil || o.Clock == nil {
		return nil, errors.New("gate: Options.Store and Options.Clock are required")
	}
	if o.Policy == nil {
		o.Policy = policy.Default()
	}
	if o.Secret == nil {
		o.Secret = make([]byte, SecretSize)
		rand.Read(o.Secret)
	}
	ids, err := newCheckIDs(o.Secret, o.Clock())
	if err != nil {
		return nil, err
	}
	g := &Gate{store: o.Store, lists: o.Lists, consent: o.Consent, templates: o.Templates, region: o.Region, detect: o.Detect, replies: o.Replies, clock: o.Clock, ids: ids, peers: o.Peers, local: o.Local}
	if o.Stopwatch != nil {
		g.stage, g.stopwatch = o.Stage, o.Stopwatch
	}
	g.openShadowStore, g.openShadowDetect, g.book = o.OpenShadow, o.OpenShadowDetect, o.Report
	g.scratch.New = func() any { return new(scratch) }
	if err := g.SetPolicyAndPrices(ctx, o.Policy, o.Prices); err != nil {
		return nil, err
	}
	if len(o.Observers) > 0 {
		g.observers = newRing(ringSize, o.Observers)
	}
	return g, nil
}

// Now reads the gate's clock.
func (g *Gate) Now() time.Time { return g.clock() }

// Stats is a cheap snapshot of counters.
func (g *Gate) Stats() Stats {
	s := Stats{Unremembered: g.unremembered.Load()}
	if g.observers != nil {
		s.Dropped = g.observers.dropped.Load()
	}
	if g.replies != nil {
		s.Replies = g.replies.Stats()
	}
	return s
}

// Close tells the observers what is still queued for them. Checks that come later are answered but observed by nobody.
func (g *Gate) Close() {
	if g.observers != nil {
		g.observers.close()
	}
}

// scratch is what one check works with. It is reused, so that a check allocates nothing but its answer.
type scratch struct {
	rehearses bool // nothing is counted
	event     Event
	laps      laps
	sender    string
	template  template.ID // of a send with a template
	seen      observed
	// What detection in shadow saw, and whether the account is in shadow as a whole.
	shadowSeen observed
	inShadow   bool
	plan       policy.Plan
	keys       []limiter.Key // by key of the plan
	// What is charged, in the order of the store's rules, and for which rule each.
	charges []limiter.Charge
	rules   []*rule
	// What rules in shadow mode would charge.
	shadow      []limiter.Charge
	shadowRules []*rule
	money       int64 // what the send costs; 0 where no budget applies
	insisted    bool  // a delay that was alone has counted the denial already; see limiter.Backoff
	dear        *rule // the budget that the send alone would break; nil for none
	one         [1]limiter.Charge
	ticket      checkID
	id          []byte
	readBy      *rules // that have brought the request to its one spelling already; nil for none
	body        []byte // a question, then its answer, for idempotency
}

// Check judges one send. The error is an *InvalidError, a *ForbiddenError or an *UnavailableError, or that of ctx.
func (g *Gate) Check(ctx context.Context, req *Request) (Verdict, error) {
	s := g.scratch.Get().(*scratch)
	defer g.scratch.Put(s)
	r := g.rulesFor(req)
	err := g.once(ctx, r, askedSend, req, "", s, func() error {
		if err := g.decide(ctx, r, req, s); err != nil {
			return err
		}
		g.tell(&s.event)
		return nil
	})
	if err != nil {
		return Verdict{}, err
	}
	return s.event.Verdict, nil
}

// decide is one check, told to nobody yet. Its answer is in s.event.
func (g *Gate) decide(ctx context.Context, r *rules, req *Request, s *scratch) error {
	for {
		err := g.decideBy(ctx, r, req, s)
		if !errors.Is(err, limiter.ErrForeignRule) {
			return err
		}
		if !g.changed(r) {
			return fmt.Errorf("gate: the store does not know the rules of the policy in force: %w", err)
		}
		r = g.rules.Load()
	}
}

// changed waits for the policy to be changed by somebody who is at it, and says whether it was: then a question that met a rule which
// is no more is asked again.
func (g *Gate) changed(r *rules) bool {
	g.setting.Lock() // the new rules are stored when the change lets go of it
	defer g.setting.Unlock()
	return g.rules.Load() != r
}

// decideBy is the straight line: canonical, observe, lists, numbers, plan, take, judge.
func (g *Gate) decideBy(ctx context.Context, r *rules, req *Request, s *scratch) error {
	if err := ctx.Err(); err != nil {
		return err // nobody waits for the answer: charge nothing
	}
	send, v := &s.event.Send, &s.event.Verdict
	g.startLaps(&s.laps)
	if s.readBy != r {
		if err := r.canonical(req, send); err != nil {
			return err
		}
	}
	s.readBy = nil
	s.event.Cost, s.sender, s.template = req.Cost, req.Sender, req.templateID(send.Account)
	s.forget()
	*v = Verdict{At: g.clock(), PolicyVersion: r.policy.Version}

	g.lap(&s.laps, StageRead)
	listed := g.look(r, send, v.At)
	s.ticket.sequence, s.ticket.account = g.ids.next(), accountTag(send.Account)
	g.lap(&s.laps, StageLists)
	s.inShadow = r.shadow.accounts[send.Account]
	g.observe(ctx, r, s, &listed)
	g.lap(&s.laps, StageObserve)
	err := g.judge(ctx, r, s, &listed)
	g.settle(r, s, err)
	g.settleTemplate(s, err)
	if err != nil {
		return err
	}
	if g.book != nil {
		r.countRest(s)
	}
	g.sealID(r, s)
	if v.Kind == Allow && send.Purpose == "otp" && v.Reason != "list:test" && g.pace.sent(v.At, s.ticket.timeout) {
		g.turnSilent(ctx, r, v.At)
	}
	return nil
}

// sealID makes the id of a check, with all that an outcome has to know.
func (g *Gate) sealID(r *rules, s *scratch) {
	send, v, c := &s.event.Send, &s.event.Verdict, &s.ticket
	c.at, c.number, c.purpose = v.At, send.Number.Digits(), send.Purpose
	c.allowed, c.knownGood = v.Kind == Allow, send.KnownGood
	c.timeout, c.cost, c.money = r.policy.OTP.OutcomeTimeout, s.event.Cost, s.money
	v.CheckID, s.id = g.ids.seal(s.id, c)
}

// judge asks, in this order, all who may refuse a send.
func (g *Gate) judge(ctx context.Context, r *rules, s *scratch, l *listed) error {
	send, v := &s.event.Send, &s.event.Verdict
	switch {
	case l.judgeTest(v):
	case l.judgeBlock(v):
	case g.judgeConsent(r, s.sender, send, v):
	case !l.namesNumber() && r.judgeNumber(send, v):
	case g.judgeTemplate(s):
	case l.judgeAllow(v):
	case r.judgeMissingClient(send, v):
	default:
		if err := g.plan(ctx, r, s); err != nil {
			return err
		}
		g.lap(&s.laps, StagePlan)
		if err := g.takeUnlessSeen(ctx, s); err != nil {
			return err
		}
		g.lap(&s.laps, StageTake)
		if len(s.shadowRules) > 0 {
			g.takeShadow(ctx, r, s)
		}
		g.lap(&s.laps, StageShadow)
	}
	return nil
}

// judgeMissingClient answers a send without a client address where the policy does not let it go on.
func (r *rules) judgeMissingClient(send *policy.Send, v *Verdict) bool {
	if send.Client.IsValid() {
		return false
	}
	switch r.policy.ClientAddress.MissingClient {
	case policy.Deny:
		v.Kind = Deny
	case policy.Challenge:
		v.Kind = Challenge
	default:
		return false
	}
	v.Reason = "client:missing"
	return true
}

// tell hands the event to the observers. It never waits.
func (g *Gate) tell(e *Event) {
	if g.observers != nil {
		g.observers.tell(e)
	}
}
