package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/limiter"
)

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
