package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/policy"
)

func TestParseTests_errors(t *testing.T) {
	p, err := policy.Parse("p.yaml", []byte("version: 1\nlimits: [{name: number-minute, by: number, limit: 1, window: 1m}]"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ steps, want string }{ // § is where the problem is
		"nothing":          {"§{expect: allow}", "tests[0].steps[0]: a step is one thing: write send, verify or outcome"},
		"two things":       {"§{send: {}, verify: {number: +6598887766}}", "tests[0].steps[0]: a step is one thing: write send, verify or outcome"},
		"unknown key":      {"{§sent: {}}", `tests[0].steps[0]: unknown key "sent": did you mean "send"?`},
		"unknown rule":     {"{send: {}, rule: §number-minut}", `tests[0].steps[0].rule: the policy has no rule "number-minut": did you mean "number-minute"?`},
		"unknown send":     {"{outcome: verified, of: §first}", `tests[0].steps[0].of: no send before is called "first": write as: first with it`},
		"no send":          {"§{outcome: verified}", "tests[0].steps[0]: whose outcome it is is missing: write of: and what a send before has in as:"},
		"of without":       {"{send: {}, of: §first}", "tests[0].steps[0].of: of belongs to an outcome: leave it out"},
		"named code":       {"{verify: {number: x}, as: §first}", "tests[0].steps[0].as: only a send has a name: leave it out"},
		"outcome's":        {"{send: {}, expect: §counted}", "tests[0].steps[0].expect: counted is for outcomes: write allow, deny, challenge or invalid"},
		"verdict's":        {"{send: {}, as: a}, {outcome: sent, of: a, expect: §deny}", "tests[0].steps[1].expect: an outcome has no verdict: write counted, duplicate or refused"},
		"no unit":          {"{after: §10, send: {}}", `tests[0].steps[0].after: "10" has no unit: write "10s" for seconds, or ms, m, h, d`},
		"turned around":    {"{send: {}, retry_after: §66s-54s}", `tests[0].steps[0].retry_after: "66s-54s" ends before it begins: write the shorter first`},
		"word for verdict": {"{send: {}, expect: §6598887766}", `tests[0].steps[0].expect: unknown value "***": write allow, deny, challenge, invalid, counted, duplicate or refused`},
	} {
		before, after, _ := strings.Cut("    steps: ["+tt.steps+"]\n", "§")
		_, err := policy.ParseTests("t", []byte("tests:\n  - name: it\n"+before+after), p)
		if want := fmt.Sprintf("t:3:%d: %s", len(before)+1, tt.want); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, want)
		}
	}
	if _, err := policy.ParseTests("t", []byte("tests: []"), nil); err == nil || !strings.Contains(err.Error(), "there is no test") {
		t.Errorf("no test: %v", err)
	}
}

// Whatever the file is: no panic, and every problem has a place.
func FuzzParseTests(f *testing.F) {
	for _, seed := range []string{"tests: [{name: a, steps: [{send: {number: +6598887766}, repeat: 3, every: 1m}]}]", "prices: x\ntests: []", "tests: &a [*a]",
		"tests: [{name: a, defaults: {attributes: {a: b}}, steps: [{outcome: sent, of: a, retry_after: 1s-2s, shadow: [a]}]}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := policy.ParseTests("t.yaml", src, nil)
		if (file == nil) == (err == nil) || err != nil && strings.Contains(err.Error(), "98887766") {
			t.Fatalf("%v, %v", file, err)
		}
	})
}
