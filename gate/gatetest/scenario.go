// Package gatetest plays scenarios against a gate on any store: stories of checks, codes and outcomes, each with what the gate
// must answer. They are text files that read like documentation:
//
//	# What the story is about.
//	number alice = +6581234567
//	client home = 203.0.113.7
//	policy
//	  limits: [{name: number-hour, by: [number], limit: 1, window: 1h}]
//
//	0s   check alice from home as first   -> allow
//	+1m  check alice from home            -> deny limit:number-hour after 59m
//	+1s  report first not_sent            -> counted
//	+0s  enter first from home            -> deny verify:used
//
// A time is since the start, or with a + since the line before. "3 times every 61s check ..." repeats a line. After the arrow come
// the verdict, its reason where there is one, and "after DURATION" where a wait is part of the story. A check may say account=A,
// purpose=P, cost=N, key=K (an idempotency key) and passed (a challenge). "prices" and an indented CSV give budgets their prices.
package gatetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Scenarios plays every *.txt of a directory, each on a store of its own that open makes.
func Scenarios(t *testing.T, dir string, open func(*testing.T) limiter.Store) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := read(string(src))
			if err != nil {
				t.Fatalf("%s:%v", file, err)
			}
			if err := s.play(t, open(t)); err != nil {
				t.Fatalf("%s:%v", file, err)
			}
		})
	}
}

// scenario is one story.
type scenario struct {
	policy, prices string
	names          map[string]string // of numbers and clients
	steps          []step
}

// step is one line of it.
type step struct {
	line  int
	at    time.Duration // since the start
	words []string      // the event
	want  string
}

func read(src string) (*scenario, error) {
	s := &scenario{names: map[string]string{}}
	var block *string
	at := time.Duration(0)
	for i, line := range strings.Split(src, "\n") {
		bad := func(format string, args ...any) error { return fmt.Errorf("%d: %s", i+1, fmt.Sprintf(format, args...)) }
		if block != nil && (strings.HasPrefix(line, "  ") || line == "") {
			*block += strings.TrimPrefix(line, "  ") + "\n"
			continue
		}
		block = nil
		event, want, judged := strings.Cut(line, "->")
		words := strings.Fields(event)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "policy":
			block = &s.policy
		case words[0] == "prices":
			block = &s.prices
		case len(words) == 4 && (words[0] == "number" || words[0] == "client") && words[2] == "=":
			s.names[words[1]] = words[3]
		case !judged:
			return nil, bad("no arrow: write -> and what the gate must answer")
		default:
			times, every, rest, err := repeated(words[1:])
			if err != nil {
				return nil, bad("%v", err)
			}
			since, err := time.ParseDuration(strings.TrimPrefix(words[0], "+"))
			if err != nil {
				return nil, bad("%q is no time", words[0])
			}
			if !strings.HasPrefix(words[0], "+") {
				if since < at {
					return nil, bad("%v is before the line above", since)
				}
				since -= at
			}
			for n := range times {
				if n > 0 {
					since = every
				}
				at += since
				s.steps = append(s.steps, step{i + 1, at, rest, strings.Join(strings.Fields(want), " ")})
			}
		}
	}
	return s, nil
}

// repeated reads "3 times every 61s".
func repeated(words []string) (times int, every time.Duration, rest []string, err error) {
	if len(words) < 4 || words[1] != "times" || words[2] != "every" {
		return 1, 0, words, nil
	}
	if times, err = strconv.Atoi(words[0]); err == nil {
		every, err = time.ParseDuration(words[3])
	}
	return times, every, words[4:], err
}

// player is a gate in the middle of a story.
type player struct {
	*scenario
	gate   *gate.Gate
	now    time.Time
	checks map[string]string // check ids by the name that the story gives them
}

func (s *scenario) play(t *testing.T, store limiter.Store) error {
	p, err := policy.Parse("policy", []byte("version: 1\n"+s.policy))
	if err != nil {
		return err
	}
	o := gate.Options{Policy: p, Store: store}
	if s.prices != "" {
		if o.Prices, err = prices.Parse("prices", []byte(s.prices)); err != nil {
			return err
		}
	}
	if o.Replies, err = replies.Open(replies.Options{Size: 1 << 20}); err != nil {
		return err
	}
	t.Cleanup(func() { o.Replies.Close() })
	start := time.Unix(1_800_000_000, 0)
	pl := &player{scenario: s, now: start, checks: map[string]string{}}
	o.Clock = func() time.Time { return pl.now }
	if pl.gate, err = gate.New(t.Context(), o); err != nil {
		return err
	}
	t.Cleanup(pl.gate.Close)
	for _, step := range s.steps {
		pl.now = start.Add(step.at)
		got, err := pl.take(t.Context(), step.words, step.want)
		if err != nil {
			return fmt.Errorf("%d: %w", step.line, err)
		}
		if got != step.want {
			return fmt.Errorf("%d: at %v %s: got %q, want %q", step.line, step.at, strings.Join(step.words, " "), got, step.want)
		}
	}
	return nil
}

// take does what a line says. It answers with a wait only where the story wants one.
func (p *player) take(ctx context.Context, words []string, want string) (string, error) {
	if len(words) < 2 {
		return "", errors.New("write check NUMBER, enter CHECK or report CHECK OUTCOME")
	}
	switch words[0] {
	case "check":
		req := gate.Request{Number: p.name(words[1]), Cost: 1}
		as, _, err := p.details(words[2:], &req)
		if err != nil {
			return "", err
		}
		v, err := p.gate.Check(ctx, &req)
		if err != nil {
			return refusal(err)
		}
		if as != "" {
			p.checks[as] = v.CheckID
		}
		return told(&v, want), nil
	case "enter":
		req := gate.VerifyRequest{CheckID: p.checks[words[1]]}
		if req.CheckID == "" {
			req.Number = p.name(words[1])
		}
		if _, _, err := p.details(words[2:], &req.Request); err != nil {
			return "", err
		}
		v, err := p.gate.CheckVerify(ctx, &req)
		if err != nil {
			return refusal(err)
		}
		return told(&v, want), nil
	case "report":
		rep := gate.Report{CheckID: p.checks[words[1]]}
		var req gate.Request
		_, rest, err := p.details(words[2:], &req)
		if err != nil || len(rest) != 1 {
			return "", fmt.Errorf("write report CHECK OUTCOME: %w", err)
		}
		rep.Account = req.Account
		for o := gate.Sent; o <= gate.VerifiedOtherWay; o++ {
			if o.String() == rest[0] {
				rep.Outcome = o
			}
		}
		counted, err := p.gate.Report(ctx, &rep)
		if err != nil {
			return refusal(err)
		}
		if counted == gate.Duplicate {
			return "duplicate", nil
		}
		return "counted", nil
	}
	return "", fmt.Errorf("%q is no event: write check, enter or report", words[0])
}

func (p *player) name(word string) string {
	if value, known := p.names[word]; known {
		return value
	}
	return word
}

// details reads what follows: from CLIENT, as CHECK, passed and settings. It returns the name of the check and what it does not know.
func (p *player) details(words []string, req *gate.Request) (as string, rest []string, err error) {
	req.Caller.Trusted = true
	for i := 0; i < len(words); i++ {
		key, value, set := strings.Cut(words[i], "=")
		switch {
		case words[i] == "from" && i+1 < len(words):
			i++
			req.ClientAddress = p.name(words[i])
		case words[i] == "as" && i+1 < len(words):
			i++
			as = words[i]
		case words[i] == "passed":
			req.ChallengePassed = true
		case set && key == "account":
			req.Account = value
		case set && key == "purpose":
			req.Purpose = value
		case set && key == "key":
			req.IdempotencyKey = value
		case set && key == "cost":
			if req.Cost, err = strconv.ParseInt(value, 10, 64); err != nil {
				return "", nil, err
			}
		default:
			rest = append(rest, words[i])
		}
	}
	if len(rest) > 1 {
		return "", nil, fmt.Errorf("%q is not understood", rest)
	}
	return as, rest, nil
}

func told(v *gate.Verdict, want string) string {
	out := v.Kind.String()
	if v.Reason != "" {
		out += " " + v.Reason
	}
	if v.Replayed {
		out += " replayed"
	}
	if _, after, asked := strings.Cut(want, " after "); asked {
		wait := v.RetryAfter.Round(time.Millisecond)
		if d, err := time.ParseDuration(after); err != nil || d != wait {
			after = wait.String()
		}
		out += " after " + after
	}
	return out
}

// refusal is the reason of an error that is an answer.
func refusal(err error) (string, error) {
	var refused *gate.RefusedError
	var invalid *gate.InvalidError
	switch {
	case errors.As(err, &refused):
		return refused.Reason, nil
	case errors.As(err, &invalid):
		return invalid.Violations[0].Reason, nil
	}
	return "", err
}
