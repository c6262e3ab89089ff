package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

func parse(t testing.TB, src string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefault(t *testing.T) {
	p := policy.Default()
	var got string
	for _, l := range p.LimiterLimits() {
		got += fmt.Sprintf("%s by %s: %d per %v open=%v\n", l.Name, l.Group, l.N, l.Window, l.FailOpen)
	}
	want := `number-minute by number: 1 per 1m0s open=true
number-30m by number: 10 per 30m0s open=true
client-minute by client: 10 per 1m0s open=true
known_good/number-minute by number: 1 per 1m0s open=true
known_good/number-30m by number: 10 per 30m0s open=true
known_good/client-number-30m by client+number: 4 per 30m0s open=true
after_challenge/after-challenge-number by number: 5 per 30m0s open=true
after_challenge/after-challenge-client by client: 10 per 10m0s open=true
client-second by client: 3000 per 1s open=true
account-second by account: 1800 per 1s open=true
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if p.Detect.Level != policy.LevelStandard || p.ClientAddress.MissingClient != policy.Allow {
		t.Errorf("detection %s, missing client %s", p.Detect.Level, p.ClientAddress.MissingClient)
	}
}

// One line, one mistake, one message: the list that issue 3 asks for.
func TestParse_messages(t *testing.T) {
	const limit = "version: 1\nlimits: [{name: a, by: number, %s}]"
	for _, c := range []struct{ src, want string }{
		{"", "policy.yaml:1:1: the file is empty: write at least version: 1"},
		{"version: 1\nlimts: []", `policy.yaml:2:1: unknown key "limts": did you mean "limits"?`},
		{fmt.Sprintf(limit, "limit: 1, window: 60"), `policy.yaml:2:50: limits[0].window: "60" has no unit: write "60s" for seconds, or ms, m, h, d`},
		{fmt.Sprintf(limit, "limit: 0, window: 60s"), `policy.yaml:2:39: limits[0].limit: "0" is too little: write 1 to 8796093022207`},
		{fmt.Sprintf(limit, "limit: 1, window: 0s"), `policy.yaml:2:50: limits[0].window: "0s" is too short: write 1ms to 366d`},
		{fmt.Sprintf(limit, "limit: 1, window: 400d"), `policy.yaml:2:50: limits[0].window: "400d" is too long: write 1ms to 366d`},
		{fmt.Sprintf(limit, "limit: 1, window: 9999999999d"), `policy.yaml:2:50: limits[0].window: "***d" is too long: write at most 366d`},
		{fmt.Sprintf(limit, "limit: 1, window: 106751d23h59m"), `policy.yaml:2:50: limits[0].window: "106751d23h59m" is too long: write at most 366d`},
		{strings.Repeat("#", 17<<20), "policy.yaml:1:1: the file is larger than 16 MiB: keep long lists in the data directory (admin API)"},
		{"version: 1\nlimits: [\n" + strings.Repeat("[", 20000), "policy.yaml:3:10000: this is not YAML: exceeded max depth of 10000: check quotes, brackets and indentation"},
		{"a: \x00", "policy.yaml:1:1: this is not YAML: control characters are not allowed (value: 0): check quotes, brackets and indentation"},
		{"version: 1\nlimits: [{name: a, by: number, limit: 1, window: 1s}]\nspend: [{name: a, by: number, budget: 1, currency: USD, window: 1s}]",
			`policy.yaml:3:16: spend[0].name: the name "a" is taken by limits[0] in line 2: write another`},
	} {
		_, err := policy.Parse("policy.yaml", []byte(c.src))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.60q\n got %v\nwant %s", c.src, err, c.want)
		}
	}
}

func TestParse_durationsAndMoney(t *testing.T) {
	p := parse(t, `
version: 1
limits:
  - {name: a, by: number, limit: 1, window: 1d}
  - {name: b, by: number, limit: 1, window: 1d12h30m}
  - {name: c, by: number, limit: 1, window: 1.5h}
  - {name: d, by: number, limit: 1, window: 366d}
  - {name: e, by: number, limit: 1, window: "250ms"}
spend:
  - {name: f, by: number, budget: 0.07, currency: USD, window: 1d}
  - {name: g, by: number, budget: 8796093.022207, currency: USD, window: 1d}
  - {name: h, by: number, budget: 0.000001, currency: USD, window: 1d}
  - {name: i, by: number, budget: "50", currency: USD, window: 1d}
`)
	got := ""
	for _, l := range p.Limits {
		got += l.Window.String() + " "
	}
	for _, s := range p.Spend {
		got += fmt.Sprint(s.Budget) + " "
	}
	if want := "24h0m0s 36h30m0s 1h30m0s 8784h0m0s 250ms 70000 8796093022207 1 50000000 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLimiterLimits_namesFitTheStore(t *testing.T) {
	account, rule := strings.Repeat("A", 64), "r"+strings.Repeat("x", 31)
	p := parse(t, fmt.Sprintf(`
version: 1
limits: [{name: %s, by: number, limit: 1, window: 1s}]
otp: {known_good: {limits: [{name: %[1]s, limit: 2}]}}
accounts:
  acme: {limits: [{name: %[1]s, limit: 3}]}
  %s: {limits: [{name: %[1]s, limit: 4}]}
  %[2]sB: {limits: [{name: %[1]s, limit: 5}]}
`, rule, account[:63]))
	seen := make(map[string]bool)
	for _, l := range p.LimiterLimits() {
		if len(l.Name) > 64 || seen[l.Name] || l.Kind != limiter.Window {
			t.Errorf("store name %q: too long or twice", l.Name)
		}
		seen[l.Name] = true
	}
	if len(seen) != 7 || !seen["after_challenge/after-challenge-client"] || !seen[rule] || !seen["known_good/"+rule] || !seen["account:acme/"+rule] {
		t.Errorf("got %v", seen)
	}
}

func TestOverrides_keepWhatTheyDoNotWrite(t *testing.T) {
	p := parse(t, `
version: 1
limits:
  - {name: a, by: number, limit: 1, window: 1h, on_limit: challenge, count_denied: true, match: {purpose: otp, endpoint: x}}
otp: {known_good: {limits: [{name: a, limit: 7}]}}
accounts:
  acme: {limits: [{name: a, limit: 5, match: {purpose: marketing}}]}
fail_mode: {a: closed}
`)
	got := ""
	for _, l := range p.Limits {
		got += fmt.Sprintf("%s %d %v %s %v %s %v%v %s %v\n", l.StoreName(), l.N, l.Window, l.OnLimit, l.CountDenied, l.FailMode, l.Match.Purpose,
			l.Match.Endpoint, l.Match.Account, l.NotAccounts)
	}
	want := `a 1 1h0m0s challenge true closed [otp][x] [] [acme]
known_good/a 7 1h0m0s challenge true closed [otp][x] [] []
account:acme/a 5 1h0m0s challenge true closed [marketing][] [acme] []
after_challenge/after-challenge-number 5 30m0s deny false open [][] [] []
after_challenge/after-challenge-client 10 10m0s deny false open [][] [] []
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestVersion(t *testing.T) {
	const base = `version: 1
limits: [{name: a, by: [number, client], limit: 1, window: 60s}]
lists: {block: ["+6591234567"]}
accounts: {acme: {}}
`
	first := parse(t, base)
	if len(first.Version) != 12 || strings.Trim(first.Version, "0123456789abcdef") != "" {
		t.Errorf("version %q", first.Version)
	}
	for name, same := range map[string]string{
		"comments":  "# hello\n" + base,
		"block":     "limits:\n- by:\n  - client\n  - number\n  name: a\n  window: 1m\n  limit: 1\nlists: {block: [\"+65 9123 4567\"]}\naccounts:\n  acme: {}\nversion: 1\n",
		"a default": base + "detect: {level: standard}\nfail_mode: {default: open}\n",
	} {
		if v := parse(t, same).Version; v != first.Version {
			t.Errorf("%s change the version", name)
		}
	}
	seen := map[string]string{first.Version: "the first"}
	for _, edit := range [][2]string{{"limit: 1", "limit: 2"}, {"60s", "61s"}, {"name: a", "name: b"}, {"+6591234567", "+6591244567"}, {", client", ""},
		{"acme: {}", "acme: {limits: [{name: a, mode: off}]}"}, {"acme: {}", "acme: {region: eu}"}, {"window: 60s", "window: 60s, mode: shadow"},
		{"version: 1", "version: 1\nfail_mode: {default: closed}"}, {"version: 1", "version: 1\ndetect: {level: max}"}} {
		v := parse(t, strings.Replace(base, edit[0], edit[1], 1)).Version
		if other, taken := seen[v]; taken {
			t.Errorf("%q has the version of %s", edit[1], other)
		}
		seen[v] = edit[1]
	}
}

func TestEntries_maskThemselves(t *testing.T) {
	p := parse(t, `
version: 1
lists: {block: ["+6591234567", "+6591234***", "+6591*", SG, 203.0.113.9, "2001:db8::/32"]}
`)
	got := fmt.Sprint(p.Lists.Block)
	if strings.Contains(got, "1234567") {
		t.Errorf("shows a number: %s", got)
	}
	if want := "+6591234*** +6591* SG 203.0.113.9/32 2001:db8::/32]"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want the end %s", got, want)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", p.Lists, p.Lists), "1234567") {
		t.Error("a verb of fmt shows a number")
	}
}

func TestCountries_Judge(t *testing.T) {
	for _, c := range []struct {
		allow, block, challenge, country string
		want                             policy.Action
	}{
		{"", "", "", "SG", policy.Allow},
		{"SG", "", "", "SG", policy.Allow},
		{"SG", "", "", "ID", policy.Deny},
		{"SG", "", "ID", "ID", policy.Challenge},
		{"", "SG", "", "SG", policy.Deny},
		{"", "ZZ", "", "", policy.Deny},
		{"SG", "", "", "", policy.Deny},
	} {
		var l policy.Countries
		for _, f := range []struct {
			into *[]string
			code string
		}{{&l.Allow, c.allow}, {&l.Block, c.block}, {&l.Challenge, c.challenge}} {
			if f.code != "" {
				*f.into = []string{f.code}
			}
		}
		if got := l.Judge(c.country); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestRecommended_fillsWhatIsLeftOut(t *testing.T) {
	p := parse(t, "version: 1\nnumbers: {recommended: 2026-11, types: {voip: allow, mobile: challenge}}")
	n := p.Numbers
	if n.Invalid != policy.Deny || n.Types["premium"] != policy.Deny || n.Types["voip"] != policy.Allow || n.Types["mobile"] != policy.Challenge {
		t.Errorf("got %+v", n)
	}
	if n := parse(t, "version: 1").Numbers; n.Invalid != policy.Allow || len(n.Types) != 0 {
		t.Errorf("the built-in defaults are on: %+v", n)
	}
}

func TestError_isAListOfProblems(t *testing.T) {
	_, err := policy.Parse("p.yaml", []byte("version: 1\nlimits: [{name: a, by: number, limit: 0, window: 1s}]"))
	var e *policy.Error
	want := policy.Problem{File: "p.yaml", Line: 2, Column: 39, Field: "limits[0].limit", Message: `"0" is too little: write 1 to 8796093022207`}
	if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0] != want {
		t.Errorf("got %#v", err)
	}
}
