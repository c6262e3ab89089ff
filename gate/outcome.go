package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Outcome is what became of a send. The zero value is none.
type Outcome uint8

// The outcomes.
const (
	_                Outcome = iota
	Sent                     // it was handed to the provider
	NotSent                  // it was not sent after all: what it was charged is given back
	Delivered                // the provider says that it arrived
	Undelivered              // the provider says that it did not
	Verified                 // the user entered the right code
	Failed                   // the user gave up on it or used up the tries
	Expired                  // the code ran out without being entered
	VerifiedOtherWay         // the user got in by another factor or message
)

var outcomeNames = [...]string{"none", "sent", "not_sent", "delivered", "undelivered", "verified", "failed", "expired", "verified_other_way"}

// String returns the outcome's lower-case name, such as "not_sent".
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Report says what became of a send.
type Report struct {
	// CheckID is that of the verdict that allowed the send. Required.
	CheckID string
	// Outcome is what became of it. Required.
	Outcome Outcome
	// Caller and Account are as in Request. The account must be the one the check was made for.
	Caller  Caller
	Account string
	// OccurredAt is when it happened. Zero: now. It is for observers: whether a report is late is judged by its arrival.
	OccurredAt time.Time
	// Detail is the provider's word for it, of at most 64 bytes. It is for observers.
	Detail string
}

// Counted says what a report did.
type Counted uint8

// What a report can do.
const (
	_         Counted = iota
	News              // it was counted
	Duplicate         // it was known, or a later stage was
)

// RefusedError is returned for a report or a code whose check id does not fit. Nothing was counted.
type RefusedError struct {
	// Reason is a stable word for programs: CHECK_ID_UNKNOWN, CHECK_ID_FORGED, CHECK_ID_OTHER_ACCOUNT, CHECK_NOT_ALLOWED,
	// OUTCOME_LATE or OUTCOME_CONTRADICTS.
	Reason  string
	Message string
}

func (e *RefusedError) Error() string { return e.Message }

const maxDetail = 64

// stage is how an outcome stands to the others. Reports may come in any order and more than once, so each looks at what is marked:
// NOT_SENT and all others shut each other out, the first one counts; else a later stage stands against an earlier one.
type stage struct {
	mark mark
	// done are later stages that say this one as well: it is no news.
	done []mark
	// against are later stages that it contradicts, and NOT_SENT: it takes every word, but a process that was killed in between may
	// have left only its own.
	against []mark
}

var stages = [...]stage{
	Sent:             {markSent, []mark{markDelivered, markUndelivered, markVerified, markEnded}, []mark{markNotSent}},
	NotSent:          {mark: markNotSent},
	Delivered:        {markDelivered, []mark{markVerified}, []mark{markNotSent}},
	Undelivered:      {markUndelivered, nil, []mark{markDelivered, markVerified, markNotSent}},
	Verified:         {markVerified, nil, []mark{markNotSent}},
	Failed:           {markEnded, nil, []mark{markVerified, markNotSent}},
	Expired:          {markEnded, nil, []mark{markVerified, markNotSent}},
	VerifiedOtherWay: {markVerified, nil, []mark{markNotSent}},
}

// Report counts an outcome once. What it changes is done when it returns: after NOT_SENT the charges are given back, after
// VERIFIED delays are cleared and the number is known good. It holds across restarts and, on a shared store, across processes.
//
// The error is an *InvalidError, a *ForbiddenError, a *RefusedError or an *UnavailableError, or that of ctx. After an
// *UnavailableError report again.
func (g *Gate) Report(ctx context.Context, rep *Report) (Counted, error) {
	for {
		r := g.rules.Load()
		counted, err := g.report(ctx, r, rep)
		switch {
		case err == nil || !errors.Is(err, limiter.ErrForeignRule):
			return counted, err
		case !g.changed(r):
			return 0, fmt.Errorf("gate: the store does not know the rules of the policy in force: %w", err)
		}
	}
}

func (g *Gate) report(ctx context.Context, r *rules, rep *Report) (Counted, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var bad violations
	if rep.Outcome == 0 || int(rep.Outcome) >= len(stages) {
		bad.add("outcome", "OUTCOME_INVALID", "write sent, not_sent, delivered, undelivered, verified, failed, expired or verified_other_way")
	}
	if len(rep.Detail) > maxDetail {
		bad.add("detail", "DETAIL_INVALID", tooLong(maxDetail))
	}
	if err := bad.err(); err != nil {
		return 0, err
	}
	now := g.clock()
	c, account, err := g.openCheck(r, &rep.Caller, rep.Account, rep.CheckID)
	if err != nil {
		return 0, err
	}
	if c.late(r, now) {
		return 0, &RefusedError{"OUTCOME_LATE", fmt.Sprintf("the check is older than outcome_timeout (%s) and has been counted as unverified: report sooner, or raise otp.outcome_timeout", r.policy.OTP.OutcomeTimeout)}
	}
	key := g.checkKey(&c)
	counted, err := g.mark(ctx, r, now, key, rep.Outcome)
	if err != nil {
		return 0, unavailable(err)
	}
	// It is marked: who goes away now must not keep the rest from being done.
	ctx = context.WithoutCancel(ctx)
	if err := g.settleOutcome(ctx, r, now, key, account, &c, rep.Outcome, counted == News); err != nil {
		return 0, unavailable(err)
	}
	if counted == News {
		g.learn(&c, now, rep.Outcome)
		g.countOutcome(r, &c, account, rep.Outcome)
		g.tellOutcome(&c, account, now, rep)
	}
	return counted, nil
}

// openCheck reads the id of an allowed check that the caller may speak of.
func (g *Gate) openCheck(r *rules, caller *Caller, named, id string) (checkID, string, error) {
	account, err := r.actFor(caller, named)
	if err != nil {
		return checkID{}, "", err
	}
	c, err := g.ids.open(id)
	switch {
	case err != nil:
	case c.account != accountTag(account):
		err = &RefusedError{"CHECK_ID_OTHER_ACCOUNT", "check_id: the check was made for another account: name that account"}
	case !c.allowed:
		err = &RefusedError{"CHECK_NOT_ALLOWED", "check_id: that check was not allowed, so nothing can have become of it"}
	}
	return c, account, err
}

// late says that a check is older than its own timeout or that of the policy in force. The shorter counts: what was marked is
// remembered for the one that was in force then.
func (c *checkID) late(r *rules, now time.Time) bool {
	return now.Sub(c.at) > min(c.timeout, r.policy.OTP.OutcomeTimeout)
}

// mark remembers an outcome of a check, and says whether it is news.
func (g *Gate) mark(ctx context.Context, r *rules, now time.Time, key limiter.Key, o Outcome) (Counted, error) {
	st := &stages[o]
	for _, m := range st.done {
		if held, err := g.marked(ctx, r, now, key, m); err != nil {
			return 0, err
		} else if held {
			// NOT_SENT takes every word; only its own tells it apart.
			return g.known(ctx, r, now, key, o)
		}
	}
	for _, m := range st.against {
		if held, err := g.marked(ctx, r, now, key, m); err != nil {
			return 0, err
		} else if held {
			return 0, contradicts(o)
		}
	}
	var room [markSettled]limiter.Charge
	charges := room[:0]
	for m := range markSettled {
		if m == st.mark || o == NotSent {
			charges = append(charges, limiter.Charge{Rule: r.own.marks[m], Key: key, Cost: 1})
		}
	}
	switch d, err := g.store.Take(ctx, now, charges); {
	case err != nil:
		return 0, err
	case d.Full:
		return 0, errNoRoom
	case d.Allowed:
		return News, nil
	}
	return g.known(ctx, r, now, key, o)
}

// known answers a report whose word, or a later one, is marked already.
func (g *Gate) known(ctx context.Context, r *rules, now time.Time, key limiter.Key, o Outcome) (Counted, error) {
	notSent, err := g.marked(ctx, r, now, key, markNotSent)
	switch {
	case err != nil:
		return 0, err
	case notSent != (o == NotSent):
		return 0, contradicts(o)
	}
	return Duplicate, nil
}

func (g *Gate) marked(ctx context.Context, r *rules, now time.Time, key limiter.Key, m mark) (bool, error) {
	u, err := g.store.Peek(ctx, now, limiter.Charge{Rule: r.own.marks[m], Key: key, Cost: 1})
	return u.Held > 0, err
}

func contradicts(o Outcome) error {
	return &RefusedError{"OUTCOME_CONTRADICTS", o.String() + " contradicts what was reported of this send before: what came first stands"}
}

// errNoRoom is what a full store answers to a mark: to count without remembering would be to count twice.
var errNoRoom = errors.New("no room to remember the outcome: every slot in reach is in use; give the store a larger table")

// settleOutcome does what an outcome changes elsewhere, once. It is marked when it is done. A report that finds its outcome marked and
// not settled comes after a process that died in between (or beside one that is at it): then what can be done twice is done again, and
// what cannot is left, the strict side. So a kill at the wrong moment costs at most what an unanswered report would have given
// back to limits above 62 and to budgets.
func (g *Gate) settleOutcome(ctx context.Context, r *rules, now time.Time, key limiter.Key, account string, c *checkID, o Outcome, first bool) error {
	if o != NotSent && o != Verified && o != VerifiedOtherWay {
		return nil
	}
	if !first {
		if done, err := g.marked(ctx, r, now, key, markSettled); err != nil || done {
			return err
		}
	}
	var err error
	switch o {
	case NotSent:
		err = g.giveBack(ctx, r, c, first, func(*rule) bool { return true })
	case VerifiedOtherWay:
		err = g.giveBack(ctx, r, c, first, func(l *rule) bool { return l.of == policy.OfUnverified })
	case Verified:
		err = g.giveBack(ctx, r, c, first, func(l *rule) bool { return l.of == policy.OfUnverified })
		if err == nil {
			err = g.welcome(ctx, r, now, account, c)
		}
	}
	if err != nil {
		return err
	}
	_, err = g.store.Take(ctx, now, []limiter.Charge{{Rule: r.own.marks[markSettled], Key: key, Cost: 1}})
	return err
}

// giveBack refunds the charges of a check that its rules want. Rules that the policy dropped or changed since keep theirs.
func (g *Gate) giveBack(ctx context.Context, r *rules, c *checkID, first bool, wanted func(*rule) bool) error {
	charges := make([]limiter.Charge, 0, len(c.took))
	var shadow []limiter.Charge
	for _, t := range c.took {
		l := r.byID[t.rule]
		if l == nil || !wanted(l) || !first && l.n > limiter.MaxExact {
			continue
		}
		cost := c.cost
		if l.of != "" {
			cost = c.money
		}
		switch charge := (limiter.Charge{Rule: l.store, Key: t.key, Cost: cost}); {
		case l.n != 0 && cost > l.n:
		case l.shadow:
			shadow = append(shadow, charge)
		default:
			charges = append(charges, charge)
		}
	}
	if len(shadow) > 0 {
		_ = r.shadow.store.Refund(ctx, c.at, shadow) // it must not keep the others from being given back
	}
	if len(charges) == 0 {
		return nil
	}
	return g.store.Refund(ctx, c.at, charges)
}

// welcome is what a VERIFIED is worth: the delays of the number are over, wrong codes are forgotten, and it is known good.
func (g *Gate) welcome(ctx context.Context, r *rules, now time.Time, account string, c *checkID) error {
	for _, t := range c.took {
		switch l := r.byID[t.rule]; {
		case l == nil || l.n != 0:
		case l.shadow:
			_ = r.shadow.store.Reset(ctx, now, l.store, t.key)
		default:
			if err := g.store.Reset(ctx, now, l.store, t.key); err != nil {
				return err
			}
		}
	}
	number := g.numberKey(account, c.number)
	for _, l := range []*limiter.Rule{r.own.verify.number.store, r.own.verify.passed.store} {
		if err := g.store.Reset(ctx, now, l, number); err != nil {
			return err
		}
	}
	g.entered(ctx, r, now)
	// There may be no room to remember it. That is no reason to refuse the report: the number is as good as one that is new.
	if err := g.store.Mark(ctx, now, now.Add(r.policy.OTP.KnownGoodFor), r.own.knownGood, number); errors.Is(err, limiter.ErrForeignRule) {
		return err
	}
	return nil
}

// learn tells detection. What got in another way is no evidence for or against: as if it had not been sent.
func (g *Gate) learn(c *checkID, now time.Time, o Outcome) {
	switch o {
	case Verified:
		g.detectOutcome(c, now, detect.Verified)
	case Failed:
		g.detectOutcome(c, now, detect.Failed)
	case Expired:
		g.detectOutcome(c, now, detect.Expired)
	case Delivered:
		g.detectOutcome(c, now, detect.Delivered)
	case Undelivered:
		g.detectOutcome(c, now, detect.Undelivered)
	case NotSent, VerifiedOtherWay:
		g.detectOutcome(c, now, detect.NotSent)
	}
}

func (g *Gate) tellOutcome(c *checkID, account string, now time.Time, rep *Report) {
	if g.observers == nil {
		return
	}
	e := Event{Cost: c.cost, Reported: &Reported{Outcome: rep.Outcome, OccurredAt: now, Detail: rep.Detail}}
	if t := rep.OccurredAt; !t.IsZero() && t.Before(now) {
		e.Reported.OccurredAt = t
		if t.Before(c.at) {
			e.Reported.OccurredAt = c.at
		}
	}
	e.Send = policy.Send{Account: account, Purpose: c.purpose, KnownGood: c.knownGood}
	e.Send.Number, _ = phone.FromDigits(c.number) // it was a number when it was sealed
	e.Verdict = Verdict{Kind: Allow, CheckID: rep.CheckID, At: c.at}
	g.tell(&e)
}

// unavailable wraps what the store said.
func unavailable(err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) || errors.Is(err, limiter.ErrForeignRule) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &UnavailableError{Err: err}
}
