package policytest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/policytest"
	"github.com/sendgate/sendgate/policy"
)

const rules = `version: 1
limits:
  - {name: number-minute, by: number, limit: 1, window: 60s}
  - {name: client-hour, by: client, limit: 5, window: 1h, on_limit: challenge, mode: shadow}
detect: {level: off}
`

func run(t testing.TB, rules, tests string) *policytest.Report {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	f, err := policy.ParseTests("policy_test.yaml", []byte(tests), p)
	if err != nil {
		t.Fatal(err)
	}
	report, err := policytest.Run(t.Context(), p, f)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// What comes out differently is told field by field, at the step, and without the number.
func TestRun_failures(t *testing.T) {
	twice := "      - {send: {number: +6591234567, client: 203.0.113.7}}\n"
	for name, tt := range map[string]struct{ step, want string }{
		"verdict":        {twice + `      - {after: 10s, send: {number: +6591234567}, expect: allow}`, "step 2 at 10s: [{expect deny allow} {reason limit:number-minute }]"},
		"left out":       {twice + twice, "step 2 at 0s: [{expect deny allow} {reason limit:number-minute }]"},
		"rule":           {twice + `      - {after: 60s, send: {number: +6591234567}, rule: client-hour}`, "step 2 at 1m0s: [{rule number-minute client-hour}]"},
		"reason":         {twice + `      - {after: 10s, send: {number: +6591234567}, expect: deny, reason: delay:otp}`, "step 2 at 10s: [{reason limit:number-minute delay:otp}]"},
		"retry_after":    {twice + `      - {after: 10s, send: {number: +6591234567}, expect: deny, retry_after: 49s}`, "step 2 at 10s: [{retry_after 50s 49s}]"},
		"around":         {twice + `      - {after: 10s, send: {number: +6591234567}, expect: deny, retry_after: 51s-66s}`, "step 2 at 10s: [{retry_after 50s 51s to 1m6s}]"},
		"within":         {twice + `      - {after: 10s, send: {number: +6591234567}, expect: deny, retry_after: 45s-55s}`, ""},
		"time passes":    {`      - {send: {number: +6591234567}, repeat: 5, every: 1m}`, ""},
		"third time":     {`      - {after: 1h, send: {number: +6591234567}, repeat: 3, every: 59s}`, "step 1 time 2 at 1h0m59s: [{expect deny allow} {reason limit:number-minute }]"},
		"invalid":        {`      - {send: {number: "12"}, expect: invalid, reason: NUMBER_INVALID}`, ""},
		"not invalid":    {`      - {send: {number: "12"}}`, "step 1 at 0s: [{expect invalid allow} {reason NUMBER_INVALID }]"},
		"shadow":         {`      - {send: {number: +6591234567, client: 203.0.113.7}, repeat: 5, every: 1m, shadow: []}` + "\n" + `      - {after: 1m, send: {number: +6591234567, client: 203.0.113.7}, shadow: []}`, "step 2 at 5m0s: [{shadow [client-hour] []}]"},
		"shadow as said": {`      - {send: {number: +6591234567, client: 203.0.113.7}, repeat: 5, every: 1m}` + "\n" + `      - {after: 1m, send: {number: +6591234567, client: 203.0.113.7}, shadow: [client-hour]}`, ""},
		"not sent":       {`      - {send: {number: +6591234567}, as: a}` + "\n" + `      - {outcome: not_sent, of: a}` + "\n" + `      - {send: {number: +6591234567}}`, ""},
		"twice told":     {`      - {send: {number: +6591234567}, as: a}` + "\n" + `      - {outcome: verified, of: a}` + "\n" + `      - {outcome: verified, of: a}`, "step 3 at 0s: [{outcome duplicate counted}]"},
		"of a denied":    {twice + `      - {send: {number: +6591234567}, as: a, expect: deny}` + "\n" + `      - {outcome: verified, of: a, expect: refused}`, ""},
		"wrong code":     {`      - {send: {number: +6591234567}, as: a}` + "\n" + `      - {verify: {of: a}}` + "\n" + `      - {outcome: verified, of: a}` + "\n" + `      - {verify: {of: a}, expect: deny, reason: verify:used}`, ""},
		"same key":       {`      - {send: {number: +6591234567, idempotency_key: x}, repeat: 3}`, ""},
	} {
		report := run(t, rules, "tests:\n  - name: it\n    steps:\n"+tt.step)
		got := ""
		if f := report.Tests[0].Failure; f != nil {
			got = fmt.Sprintf("step %d", f.Step)
			if f.Time > 0 {
				got += fmt.Sprintf(" time %d", f.Time)
			}
			got += fmt.Sprintf(" at %s: %v", f.At, f.Differ)
			if text := fmt.Sprintf("%+v", *f); strings.Contains(text, "91234567") || f.Line < 4 || f.Column < 9 {
				t.Errorf("%s: %s", name, text)
			}
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
		if report.Failed+report.Passed != 1 || (report.Failed == 0) != (tt.want == "") {
			t.Errorf("%s: %d passed, %d failed", name, report.Passed, report.Failed)
		}
	}
}

// The tests of one file do not meet.
func TestRun_testsBeginWithNothing(t *testing.T) {
	one := "  - {name: it, steps: [{send: {number: +6591234567}}]}\n"
	if report := run(t, rules, "tests:\n"+one+one); report.Passed != 2 {
		t.Errorf("%+v", report)
	}
}

// What examples/policy shows is true.
func TestRun_example(t *testing.T) {
	dir := filepath.Join("..", "..", "examples", "policy")
	var src [2]string
	for i, name := range []string{"policy.yaml", "policy_test.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		src[i] = string(text)
	}
	report := run(t, src[0], src[1])
	if report.Failed != 0 || report.Passed < 5 {
		t.Errorf("%+v", report)
	}
	// A policy that says something else does not pass its tests.
	if report := run(t, strings.Replace(src[0], "limit: 3", "limit: 4", 1), src[1]); report.Failed != 1 {
		t.Errorf("%d tests see a changed limit", report.Failed)
	}
}
