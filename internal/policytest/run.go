package policytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Report is what came of a file of tests.
type Report struct {
	File   string   `json:"file"`
	Policy string   `json:"policy_version"`
	Passed int      `json:"passed"`
	Failed int      `json:"failed"`
	Tests  []Result `json:"tests"`
}

// Result is what came of one test. It ends with the first step that fails: what follows would fail for the same reason.
type Result struct {
	Name    string   `json:"name"`
	Line    int      `json:"line"`
	OK      bool     `json:"ok"`
	Failure *Failure `json:"failure,omitempty"`
}

// Failure is a step that came out differently.
type Failure struct {
	Line   int          `json:"line"`
	Column int          `json:"column"`
	Step   int          `json:"step"`           // from 1
	Time   int          `json:"time,omitempty"` // from 1; 0 for a step that happens once
	At     string       `json:"at"`             // since the start
	What   string       `json:"what"`           // without numbers in the clear
	Differ []Difference `json:"differ"`
}

// Difference is one field.
type Difference struct {
	Field string `json:"field"`
	Got   string `json:"got"`
	Want  string `json:"want"`
}

// The sizes of what a test remembers in, in bytes. Only what is used is touched.
const (
	tableSize   = 16 << 20
	detectSize  = 16 << 20
	repliesSize = 1 << 20
)

// Run runs all tests. An error is about running them, such as a price table that cannot be read; a test that fails is none.
func Run(ctx context.Context, p *policy.Policy, f *policy.TestFile) (*Report, error) {
	report := &Report{File: f.Name, Policy: p.Version}
	var table *prices.Table
	if f.Prices != "" {
		var err error
		if table, err = prices.Parse(f.Name+" prices", []byte(f.Prices)); err != nil {
			return nil, err
		}
	} else if len(p.Spend) > 0 {
		return nil, fmt.Errorf("%s: the policy has budgets: write prices: | and below it a table such as prefix,price,currency", f.Name)
	}
	for i := range f.Tests {
		t := &f.Tests[i]
		failure, err := play(ctx, p, table, t)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", f.Name, t.Line, t.Name, err)
		}
		report.Tests = append(report.Tests, Result{Name: t.Name, Line: t.Line, OK: failure == nil, Failure: failure})
		if failure != nil {
			report.Failed++
		} else {
			report.Passed++
		}
	}
	return report, nil
}

// player is a test under way.
type player struct {
	gate  *gate.Gate
	test  *policy.Test
	now   time.Time
	sends map[string]sent
}

// sent is a send that has a name.
type sent struct{ checkID, account string }

func play(ctx context.Context, p *policy.Policy, table *prices.Table, t *policy.Test) (_ *Failure, err error) {
	store, err := limiter.Open(limiter.Options{Size: tableSize})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	engine, err := detect.New(detect.Options{Size: detectSize, Seed: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	answers, err := replies.Open(replies.Options{Size: repliesSize})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answers.Close()) }()
	pl := &player{test: t, now: t.Start, sends: make(map[string]sent)}
	pl.gate, err = gate.New(ctx, gate.Options{Policy: p, Store: store, Detect: engine, Prices: table, Replies: answers,
		Clock: func() time.Time { return pl.now }, Secret: make([]byte, gate.SecretSize)})
	if err != nil {
		return nil, err
	}
	defer pl.gate.Close()
	for i := range t.Steps {
		s := &t.Steps[i]
		for time := range s.Repeat {
			if time == 0 {
				pl.now = pl.now.Add(s.After)
			} else {
				pl.now = pl.now.Add(s.Every)
			}
			differ, err := pl.step(ctx, s)
			if err != nil {
				return nil, err
			}
			if len(differ) > 0 {
				f := &Failure{Line: s.Line, Column: s.Column, Step: i + 1, At: pl.now.Sub(t.Start).String(), What: what(t, s), Differ: differ}
				if s.Repeat > 1 {
					f.Time = time + 1
				}
				return f, nil
			}
		}
	}
	return nil, nil
}

// step lets one thing happen and says how it came out differently.
func (pl *player) step(ctx context.Context, s *policy.TestStep) ([]Difference, error) {
	if s.Outcome != "" {
		return pl.outcome(ctx, s)
	}
	var v gate.Verdict
	var err error
	if s.Send != nil {
		req := request(&pl.test.Defaults, s.Send)
		if v, err = pl.gate.Check(ctx, req); err == nil && s.As != "" {
			pl.sends[s.As] = sent{v.CheckID, req.Account}
		}
	} else {
		send := pl.sends[s.Verify.Of]
		req := gate.VerifyRequest{CheckID: send.checkID, Request: *request(&pl.test.Defaults, &policy.TestSend{
			Number: s.Verify.Number, Client: s.Verify.Client, ChallengePassed: s.Verify.ChallengePassed})}
		if s.Verify.Of != "" { // the check id says whose it is
			req.Account = send.account
			if s.Verify.Number == "" {
				req.Number = ""
			}
		}
		v, err = pl.gate.CheckVerify(ctx, &req)
	}
	var invalid *gate.InvalidError
	var forbidden *gate.ForbiddenError
	var refused *gate.RefusedError
	switch {
	case errors.As(err, &invalid):
		return compare(s, policy.ExpectInvalid, &gate.Verdict{Reason: invalid.Violations[0].Reason}), nil
	case errors.As(err, &forbidden):
		return compare(s, policy.ExpectInvalid, &gate.Verdict{Reason: "ACCOUNT_FORBIDDEN"}), nil
	case errors.As(err, &refused):
		return compare(s, policy.ExpectInvalid, &gate.Verdict{Reason: refused.Reason}), nil
	case err != nil:
		return nil, err
	}
	return compare(s, v.Kind.String(), &v), nil
}

func (pl *player) outcome(ctx context.Context, s *policy.TestStep) ([]Difference, error) {
	send := pl.sends[s.Of]
	report := gate.Report{CheckID: send.checkID, Account: send.account, Caller: gate.Caller{Trusted: true}}
	for o := gate.Sent; o <= gate.VerifiedOtherWay; o++ {
		if o.String() == s.Outcome {
			report.Outcome = o
		}
	}
	counted, err := pl.gate.Report(ctx, &report)
	var refused *gate.RefusedError
	var invalid *gate.InvalidError
	got := policy.ExpectCounted
	switch {
	case errors.As(err, &refused), errors.As(err, &invalid):
		got = policy.ExpectRefused
	case err != nil:
		return nil, err
	case counted == gate.Duplicate:
		got = policy.ExpectDuplicate
	}
	if want := orElse(s.Expect, policy.ExpectCounted); got != want {
		return []Difference{{"outcome", got, want}}, nil
	}
	return nil, nil
}

// compare says which fields that the step writes are different.
func compare(s *policy.TestStep, got string, v *gate.Verdict) (out []Difference) {
	note := func(field, got, want string) {
		if got != want {
			out = append(out, Difference{field, got, want})
		}
	}
	note("expect", got, orElse(s.Expect, "allow"))
	if s.Reason != nil {
		note("reason", v.Reason, *s.Reason)
	} else if len(out) > 0 && v.Reason != "" {
		out = append(out, Difference{Field: "reason", Got: v.Reason}) // why it came out so
	}
	if s.Rule != nil {
		note("rule", v.Rule, *s.Rule)
	}
	if b := s.RetryAfter; b != nil {
		if wait := v.RetryAfter.Round(time.Millisecond); wait < b.Least || wait > b.Most {
			out = append(out, Difference{"retry_after", wait.String(), b.String()})
		}
	}
	if s.Shadow != nil {
		var would []string
		for i := range v.Shadow {
			if v.Shadow[i].Kind != gate.Allow {
				would = append(would, v.Shadow[i].Rule)
			}
		}
		slices.Sort(would)
		note("shadow", fmt.Sprint(would), fmt.Sprint(*s.Shadow))
	}
	return out
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// request is a send with the defaults of its test.
func request(defaults, s *policy.TestSend) *gate.Request {
	attributes := defaults.Attributes
	if s.Attributes != nil {
		attributes = s.Attributes
	}
	return &gate.Request{
		Number: orElse(s.Number, defaults.Number), ClientAddress: orElse(s.Client, defaults.Client), Account: orElse(s.Account, defaults.Account),
		Subaccount: orElse(s.Subaccount, defaults.Subaccount), Endpoint: orElse(s.Endpoint, defaults.Endpoint),
		Channel: orElse(s.Channel, defaults.Channel), Purpose: orElse(s.Purpose, defaults.Purpose), Sender: orElse(s.Sender, defaults.Sender),
		IdempotencyKey: orElse(s.IdempotencyKey, defaults.IdempotencyKey), Cost: max(s.Cost, defaults.Cost, 1),
		ChallengePassed: s.ChallengePassed || defaults.ChallengePassed, Attributes: attributes, Caller: gate.Caller{Trusted: true},
	}
}

// what tells a step without its number.
func what(t *policy.Test, s *policy.TestStep) string {
	switch {
	case s.Outcome != "":
		return "outcome " + s.Outcome + " of " + s.Of
	case s.Verify != nil:
		return "verify " + s.Verify.Of
	}
	text := "send"
	if s.As != "" {
		text += " " + s.As
	}
	req := request(&t.Defaults, s.Send)
	for _, f := range []struct{ name, value string }{{"account", req.Account}, {"purpose", req.Purpose}, {"client", req.ClientAddress}} {
		if f.value != "" {
			text += " " + f.name + "=" + f.value
		}
	}
	return text
}
