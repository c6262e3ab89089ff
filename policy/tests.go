package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/limiter"
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

func testFileFields(f *TestFile) []field {
	return []field{
		{"prices", longText(&f.Prices, 1<<20), "", "A price table in CSV, as serve --prices takes it, for policies with budgets."},
		{"tests", listOfObjects(&f.Tests, func(t *Test, n *yaml.Node) { t.Line = n.Line }, testFields), required, "The tests, each with nothing counted before."},
	}
}

func testFields(t *Test) []field {
	return []field{
		{"name", sentence(&t.Name), required, "What the test shows."},
		{"start", timestamp(&t.Start), "2026-01-05T12:00:00Z", "When it begins. Nothing waits: time passes by after and every."},
		{"defaults", object(testSendFields(&t.Defaults)), "{}", "What every send and code of the test has unless it says otherwise."},
		{"steps", listOfObjects(&t.Steps, func(s *TestStep, n *yaml.Node) { s.Line, s.Column = n.Line, n.Column }, testStepFields), required, "What happens, in order."},
	}
}

func testStepFields(s *TestStep) []field {
	return []field{
		{"after", duration(&s.After, 0, limiter.MaxWindow), "0s", "How long after the step before."},
		{"repeat", integer(&s.Repeat, 1, 100_000), "1", "How often it happens. What is expected is expected each time."},
		{"every", duration(&s.Every, 0, limiter.MaxWindow), "0s", "How long between the times."},
		{"send", pointer(&s.Send, testSendFields), "", "A message about to be sent: CheckSend."},
		{"as", word(&s.As, "name", ruleBounds, rulePattern), "", "A name for the send, so that verify and of can mean it."},
		{"verify", pointer(&s.Verify, testVerifyFields), "", "A code that somebody enters: CheckVerify."},
		{"outcome", choice(&s.Outcome, "sent", "not_sent", "delivered", "undelivered", "verified", "failed", "expired", "verified_other_way"), "", "What became of the send that of names: ReportOutcome."},
		{"of", word(&s.Of, "name", ruleBounds, rulePattern), "", "The send that the outcome is of."},
		{"expect", choice(&s.Expect, "allow", "deny", "challenge", ExpectInvalid, ExpectCounted, ExpectDuplicate, ExpectRefused), "", "The verdict; invalid for a request that makes no sense. Of an outcome counted, duplicate or refused. Left out: allow, counted."},
		{"reason", optionalText(&s.Reason), "", "The reason of the verdict, such as limit:number-minute, or \"\" for none."},
		{"rule", optionalText(&s.Rule), "", "The rule that decided, or of an ALLOW the one with the least left."},
		{"retry_after", between(&s.RetryAfter), "", "How long until the same may pass, such as 50s, or 54s-66s where there is jitter."},
		{"shadow", shadowRules(&s.Shadow), "", "The rules in shadow mode that would have denied or challenged; [] for none."},
	}
}

func testSendFields(s *TestSend) []field {
	return []field{
		{"number", text(&s.Number), "", "The number, in any spelling."},
		{"client", text(&s.Client), "", "The address of the end user."},
		{"account", text(&s.Account), "", "The account."},
		{"subaccount", text(&s.Subaccount), "", "The subaccount."},
		{"endpoint", text(&s.Endpoint), "", "The endpoint."},
		{"channel", text(&s.Channel), "", "The channel. Left out: sms."},
		{"purpose", text(&s.Purpose), "", "The purpose. Left out: otp."},
		{"sender", text(&s.Sender), "", "What the person sees as the writer."},
		{"cost", integer(&s.Cost, 1, limiter.MaxN), "", "How many units. Left out: 1."},
		{"challenge_passed", boolean(&s.ChallengePassed), "", "Whether the user stepped up."},
		{"idempotency_key", text(&s.IdempotencyKey), "", "The same key gets the same answer."},
		{"attributes", attributes(&s.Attributes), "", "What else the caller says, for conditions."},
	}
}

func testVerifyFields(v *TestVerify) []field {
	return []field{
		{"of", word(&v.Of, "name", ruleBounds, rulePattern), "", "The send that carried the code."},
		{"number", text(&v.Number), "", "The number, where no send is named."},
		{"client", text(&v.Client), "", "The address of who enters the code."},
		{"challenge_passed", boolean(&v.ChallengePassed), "", "Whether the user stepped up."},
	}
}

// listOfObjects reads a list of mappings; begin is told where each stands.
func listOfObjects[T any](dst *[]T, begin func(*T, *yaml.Node), fields func(*T) []field) value {
	return value{kind: "list", item: "[]", fields: fields(new(T)), read: func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.SequenceNode, "a list, such as [{...}]") {
			return
		}
		*dst = make([]T, len(n.Content))
		for i, item := range n.Content {
			begin(&(*dst)[i], item)
			d.object(item, element(path, i), fields(&(*dst)[i]), false)
		}
	}}
}

func sentence(dst *string) value {
	return scalar("text", "1 to 200 characters on one line", func(text string, _ bool) error {
		if text == "" || len(text) > 200 || strings.Contains(text, "\n") {
			return fmt.Errorf("%s is not 1 to 200 characters on one line: write shorter", quote(text))
		}
		*dst = maskDigits(text) // it is printed
		return nil
	})
}

func optionalText(dst **string) value {
	return scalar("text", "up to 128 bytes", func(text string, _ bool) error {
		if len(text) > 128 {
			return fmt.Errorf("%s is longer than 128 bytes: write a shorter text", quote(text))
		}
		*dst = &text
		return nil
	})
}

func between(dst **Between) value {
	return scalar("duration", "a duration such as 50s, or two such as 54s-66s", func(text string, _ bool) error {
		low, high, two := strings.Cut(text, "-")
		if !two {
			high = low
		}
		least, err := parseDuration(low)
		if err != nil {
			return err
		}
		most, err := parseDuration(high)
		if err == nil && most < least {
			err = fmt.Errorf("%s ends before it begins: write the shorter first", quote(text))
		}
		*dst = &Between{least, most}
		return err
	})
}

func shadowRules(dst **[]string) value {
	var names []string
	v := listOf(&names, func(s *string) value { return word(s, "rule name", ruleBounds, rulePattern) })
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		slices.Sort(names)
		*dst = &names
	}
	return v
}

func attributes(dst *map[string]string) value {
	written := make(map[string]*string)
	v := mapOf(&written, ".KEY", func(key string) error {
		if key == "" || len(key) > 64 {
			return fmt.Errorf("%s is not 1 to 64 bytes long: write a shorter key", quote(key))
		}
		return nil
	}, func(_ string, s *string) value {
		return scalar("text", "up to 256 bytes", func(text string, _ bool) error {
			*s = text
			return nil
		})
	})
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		*dst = make(map[string]string, len(written))
		for k, s := range written {
			(*dst)[k] = *s
		}
	}
	return v
}

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
