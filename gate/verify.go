package gate

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// VerifyRequest describes a code that someone entered. The code itself is not given.
type VerifyRequest struct {
	// CheckID is that of the send that carried the code. Give it where it is known: it bounds the wrong codes per OTP.
	CheckID string
	// Request holds the rest: Number (needed without CheckID), ClientAddress or Forwarded, Caller, Account, ChallengePassed,
	// IdempotencyKey. What else it has is not looked at.
	Request
}

// verifyRules guard the entering of codes.
type verifyRules struct {
	// number is the wait between wrong codes for a number, and passed the same for users who passed a challenge.
	number, passed rule
	client, code   rule
}

func verifyLimits(p *policy.Policy) []limiter.Limit {
	v, open := &p.OTP.Verify, p.FailMode != policy.Closed
	wait := v.Number
	wait.Stop = (v.Consecutive + 1) / 2
	rest := v.Number
	rest.Stop = v.Consecutive / 2
	return []limiter.Limit{
		{Name: "gate/verify-number", Group: "gate/account+number", Kind: limiter.Delay, Backoff: wait, FailOpen: open},
		{Name: "gate/verify-passed", Group: "gate/account+number", Kind: limiter.Delay, Backoff: rest, FailOpen: open},
		{Name: "gate/verify-code", Group: "gate/check-codes", N: v.Codes, Window: p.OTP.OutcomeTimeout + clockSlack, FailOpen: open},
		{Name: "gate/verify-client", Group: "gate/client", N: v.ClientN, Window: v.ClientWindow, FailOpen: open},
	}
}

// take makes the rules that verifyLimits describes and returns the rest.
func (v *verifyRules) take(p *policy.Policy, defined []*limiter.Rule) []*limiter.Rule {
	o := &p.OTP
	v.number = rule{name: "verify-number", reason: "delay:verify-number", onLimit: policy.Deny}
	v.passed = rule{name: "verify-number", reason: "delay:verify-number", onLimit: policy.Deny}
	v.code = rule{name: "verify-code", reason: "limit:verify-code", n: o.Verify.Codes, window: o.OutcomeTimeout, onLimit: policy.Deny}
	v.client = rule{name: "verify-client", reason: "limit:verify-client", n: o.Verify.ClientN, window: o.Verify.ClientWindow, onLimit: policy.Challenge}
	for _, l := range []*rule{&v.number, &v.passed, &v.code, &v.client} {
		l.failMode = p.FailMode
		l.store, defined = defined[0], defined[1:]
	}
	return defined
}

// CheckVerify answers whether a code that somebody entered may be compared now. Each ALLOW counts as a wrong code until the outcome
// VERIFIED is reported. The guards, in the order in which they are told:
//
//	verify:expired, verify:used    the code is too old, or was entered before: only a new one helps
//	limit:verify-code              otp.verify.codes wrong codes were entered for this OTP: only a new one helps
//	delay:verify-number            a wait between wrong codes for a number, over all its OTPs
//	limit:verify-consecutive       otp.verify.consecutive wrong codes in a row: for a year only a success in another way helps
//	limit:verify-client            one client enters many codes, for whatever numbers: CHALLENGE
//
// A known-good number that has to wait gets CHALLENGE: whoever passes it enters codes at once, from a budget of its own, so that a
// stranger who guesses does not lock the owner out. Errors are those of Check, and a *RefusedError for the check id.
func (g *Gate) CheckVerify(ctx context.Context, req *VerifyRequest) (Verdict, error) {
	s := g.scratch.Get().(*scratch)
	defer g.scratch.Put(s)
	ask := req.Request
	ask.Cost, ask.Channel, ask.Purpose = 1, "", ""
	var c checkID
	r := g.rulesFor(&req.Request)
	if req.CheckID != "" {
		opened, _, err := g.openCheck(r, &req.Caller, req.Account, req.CheckID)
		if err != nil {
			return Verdict{}, err
		}
		c = opened
		if ask.Number == "" {
			ask.Number = "+" + strconv.FormatUint(c.number, 10)
		}
	}
	err := g.once(ctx, r, askedVerify, &ask, req.CheckID, s, func() error {
		for {
			err := g.verify(ctx, r, &ask, &c, s)
			switch {
			case err == nil || !errors.Is(err, limiter.ErrForeignRule):
				return err
			case !g.changed(r):
				return fmt.Errorf("gate: the store does not know the rules of the policy in force: %w", err)
			}
			r = g.rules.Load()
		}
	})
	if err != nil {
		return Verdict{}, err
	}
	return s.event.Verdict, nil
}

// verify answers about a code of check c, which is zero where none was named.
func (g *Gate) verify(ctx context.Context, r *rules, ask *Request, c *checkID, s *scratch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	send, v := &s.event.Send, &s.event.Verdict
	s.forget()
	s.readBy, s.event = nil, Event{Cost: 1}
	if err := r.canonical(ask, send); err != nil {
		return err
	}
	if c.allowed && send.Number.Digits() != c.number {
		var bad violations
		bad.add("number", "NUMBER_OTHER", "the check was made for another number: leave the number out where there is a check_id")
		return bad.err()
	}
	*v = Verdict{At: g.clock(), PolicyVersion: r.policy.Version}
	if c.allowed {
		if done, err := g.verifyOnce(ctx, r, c, s); err != nil || done {
			return err
		}
	}
	own := &r.own.verify
	number := &own.number
	if send.ChallengePassed {
		number = &own.passed
	}
	s.add(number, g.numberKey(send.Account, send.Number.Digits()))
	if c.allowed {
		s.add(&own.code, g.checkKey(c))
	}
	if send.Client.IsValid() && !send.ChallengePassed {
		var room [32]byte
		s.add(&own.client, g.key(r.resolver.Tier().AppendKey(room[:0], send.Client)))
	}
	if err := g.take(ctx, s); err != nil {
		return err
	}
	return g.verifyTold(ctx, r, s)
}

// add charges one unit of a rule of the gate's own.
func (s *scratch) add(l *rule, key limiter.Key) {
	s.charges = append(s.charges, limiter.Charge{Rule: l.store, Key: key, Cost: 1})
	s.rules = append(s.rules, l)
}

// verifyOnce refuses a code that is too old or was used, and lets detection know of the wrong code that came before this one: who
// asks again had no success.
func (g *Gate) verifyOnce(ctx context.Context, r *rules, c *checkID, s *scratch) (bool, error) {
	v := &s.event.Verdict
	if c.late(r, v.At) {
		v.Kind, v.Reason = Deny, "verify:expired"
		return true, nil
	}
	key := g.checkKey(c)
	used, err := g.marked(ctx, r, v.At, key, markVerified)
	if err != nil {
		return false, g.judgeFailure(ctx, s, err)
	}
	if used {
		v.Kind, v.Reason = Deny, "verify:used"
		return true, nil
	}
	u, err := g.store.Peek(ctx, v.At, limiter.Charge{Rule: r.own.verify.code.store, Key: key, Cost: 1})
	if err != nil {
		return false, g.judgeFailure(ctx, s, err)
	}
	if u.Held > 0 && u.RetryAfter == 0 {
		g.detectOutcome(c, v.At, detect.Failed)
	}
	return false, nil
}

// verifyTold puts the answer of the store into the words of CheckVerify.
func (g *Gate) verifyTold(ctx context.Context, r *rules, s *scratch) error {
	v, send := &s.event.Verdict, &s.event.Send
	switch {
	case v.Kind == Allow || v.Rule == "":
	case v.Rule == "verify-code":
		v.RetryAfter = 0
	case v.Rule == "verify-number":
		u, err := g.store.Peek(ctx, v.At, s.charges[0])
		if err != nil {
			return g.judgeFailure(ctx, s, err)
		}
		if u.Held >= int64(s.charges[0].Rule.Limit().Backoff.Stop) {
			v.Rule, v.Reason, v.RetryAfter, v.Limit = "verify-consecutive", "limit:verify-consecutive", 0, int64(r.policy.OTP.Verify.Consecutive)
		}
		known, err := g.knownGood(ctx, r, s)
		if err != nil {
			return err
		}
		if known && !send.ChallengePassed {
			v.Kind = Challenge
		}
	}
	return nil
}
