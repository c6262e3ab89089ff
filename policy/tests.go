package policy

import (
	"slices"
	"time"
)

// TestFile is a file of policy tests: stories of sends, codes and outcomes on a clock of their own, each with what the policy
// must answer.
type TestFile struct {
	Name string
	// Prices is a price table in CSV, for policies with budgets; "" for none.
	Prices string
	Tests  []Test
}

// Test is one story. It begins with nothing counted.
type Test struct {
	Name  string
	Start time.Time
	// Defaults are what its sends have unless they say otherwise.
	Defaults TestSend
	Steps    []TestStep
	Line     int
}

// TestStep is one thing that happens, and what must come of it. One of Send, Verify and Outcome is set.
type TestStep struct {
	After  time.Duration // since the step before
	Repeat int           // how often it happens; Expect is for each time
	Every  time.Duration // between the times
	As     string        // what later steps call the send
	Send   *TestSend
	Verify *TestVerify
	// Outcome is what became of the send that Of names.
	Outcome, Of string

	Expect string
	// Reason and Rule are nil where they do not matter.
	Reason, Rule *string
	// RetryAfter is from Least to Most; nil where it does not matter.
	RetryAfter *Between
	// Shadow are the rules in shadow mode that must have denied or challenged; nil where they do not matter.
	Shadow *[]string

	Line, Column int
}

// Between is a duration that is not exactly known, such as one with jitter.
type Between struct{ Least, Most time.Duration }

func (b Between) String() string {
	if b.Least == b.Most {
		return b.Least.String()
	}
	return b.Least.String() + " to " + b.Most.String()
}

// TestSend is a message about to be sent, as a caller spells it.
type TestSend struct {
	Number, Client, Account, Subaccount, Endpoint, Channel, Purpose, Sender, IdempotencyKey string
	Cost                                                                                    int64
	ChallengePassed                                                                         bool
	Attributes                                                                              map[string]string
}

// TestVerify is a code that somebody entered.
type TestVerify struct {
	Of, Number, Client string
	ChallengePassed    bool
}

// What steps may expect. Invalid is a request that makes no sense; Counted, Duplicate and Refused are for outcomes.
const (
	ExpectInvalid   = "invalid"
	ExpectCounted   = "counted"
	ExpectDuplicate = "duplicate"
	ExpectRefused   = "refused"
)

// ParseTests reads a file of policy tests as strictly as Parse reads a policy. The rules that they name must be those of p; p may be
// nil.
func ParseTests(name string, src []byte, p *Policy) (*TestFile, error) {
	d := newDecoder(name)
	f := &TestFile{Name: name}
	if root := d.document(src); root != nil {
		d.object(root, "", testFileFields(f), false)
		d.judgeTests(f, p)
	}
	if len(d.problems) > 0 {
		return nil, &Error{Problems: sortProblems(d.problems)}
	}
	return f, nil
}

// TestReference is every key of a file of policy tests, as Reference is of a policy.
func TestReference() []Field { return appendReference(nil, "", testFileFields(new(TestFile))) }

// judgeTests wants every step to be one thing, and every name that it uses to be there.
func (d *decoder) judgeTests(f *TestFile, p *Policy) {
	if len(d.problems) > 0 {
		return // what was meant is not known
	}
	if len(f.Tests) == 0 {
		d.badAt("tests", "there is no test: write one, such as {name: ..., steps: [{send: {number: +6581234567}, expect: allow}]}")
	}
	rules := p.ruleNames()
	for i := range f.Tests {
		var sends []string
		for j := range f.Tests[i].Steps {
			s, path := &f.Tests[i].Steps[j], element(element("tests", i)+".steps", j)
			d.judgeStep(s, path, sends)
			if s.As != "" {
				sends = append(sends, s.As)
			}
			if s.Rule != nil && *s.Rule != "" && p != nil && !slices.Contains(rules, *s.Rule) {
				d.badAt(path+".rule", "the policy has no rule %s%s", quote(*s.Rule), remedy(*s.Rule, rules))
			}
		}
	}
}

func (d *decoder) judgeStep(s *TestStep, path string, sends []string) {
	written := 0
	for _, key := range []string{"send", "verify", "outcome"} {
		if d.at[path+"."+key] != nil {
			written++
		}
	}
	known := func(name, at string) {
		if name != "" && !slices.Contains(sends, name) {
			d.badAt(at, "no send before is called %s: write as: %s with it", quote(name), name)
		}
	}
	outcomes := []string{ExpectCounted, ExpectDuplicate, ExpectRefused}
	switch {
	case written != 1:
		d.badAt(path, "a step is one thing: write send, verify or outcome")
		return
	case s.Outcome != "" && s.Of == "":
		d.badAt(path, "whose outcome it is is missing: write of: and what a send before has in as:")
	case s.Outcome == "" && s.Of != "":
		d.badAt(path+".of", "of belongs to an outcome: leave it out")
	case s.As != "" && s.Send == nil:
		d.badAt(path+".as", "only a send has a name: leave it out")
	case s.Outcome != "" && s.Expect != "" && !slices.Contains(outcomes, s.Expect):
		d.badAt(path+".expect", "an outcome has no verdict: write %s", list(outcomes))
	case s.Outcome == "" && slices.Contains(outcomes, s.Expect):
		d.badAt(path+".expect", "%s is for outcomes: write allow, deny, challenge or invalid", s.Expect)
	}
	if s.Outcome != "" {
		known(s.Of, path+".of")
	}
	if s.Verify != nil {
		known(s.Verify.Of, path+".verify.of")
	}
}

// ruleNames are what verdicts of p may name.
func (p *Policy) ruleNames() []string {
	if p == nil {
		return nil
	}
	names := []string{"verify-number", "verify-code", "verify-client"}
	for i := range p.Limits {
		names = append(names, p.Limits[i].Name)
	}
	for i := range p.Delays {
		names = append(names, p.Delays[i].Purpose)
	}
	for i := range p.Spend {
		names = append(names, p.Spend[i].Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
