package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/policy"
)

// Beside each limit stand its candidates, in shadow and otherwise as the limit is; an account's limit takes them along.
func TestCandidates_standBesideTheirLimit(t *testing.T) {
	p, err := policy.Parse("p.yaml", []byte(`version: 1
limits:
  - {name: number-30m, by: number, limit: 10, window: 30m, match: {purpose: otp}, candidates: [{limit: 5}, {window: 1h}, {limit: 3, on_limit: challenge}]}
accounts:
  acme: {limits: [{name: number-30m, limit: 20}]}
  globex: {limits: [{name: number-30m, mode: off}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range p.Limits {
		l := &p.Limits[i]
		got = append(got, l.StoreName())
		if l.CandidateOf == "" {
			continue
		}
		if l.Mode != policy.Shadow || l.CandidateOf != "number-30m" || len(l.Match.Purpose) != 1 || l.Account == "" && strings.Join(l.NotAccounts, " ") != "acme globex" {
			t.Errorf("%s: %+v", l.StoreName(), l)
		}
	}
	want := "number-30m number-30m~5 number-30m~10/1h number-30m~3:challenge " +
		"account:acme/number-30m account:acme/number-30m~5 account:acme/number-30m~10/1h account:acme/number-30m~3:challenge"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if c := p.Limits[2]; c.Window != time.Hour || c.N != 10 {
		t.Errorf("%s: %d in %s", c.Name, c.N, c.Window)
	}
}

func TestCandidates_sayWhatIsWrong(t *testing.T) {
	for item, want := range map[string]string{
		`{limit: 10}`:            "it is the limit itself",
		`{}`:                     "it is the limit itself",
		`{limit: 5}, {limit: 5}`: "stands here twice",
		`{limit: 0}`:             `"0" is too little`,
		`{limits: 5}`:            `did you mean "limit"?`,
		`{mode: shadow}`:         `unknown key "mode"`,
		`5`:                      "write",
	} {
		_, err := policy.Parse("p.yaml", []byte(`version: 1
limits:
  - {name: a, by: number, limit: 10, window: 30m, candidates: [`+item+`]}
`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", item, err, want)
		}
	}
}
