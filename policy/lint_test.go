package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
)

func priceTable(t testing.TB) *prices.Table {
	t.Helper()
	table, err := prices.Parse("prices.csv", []byte("prefix,price,currency\n65,0.04,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Each policy stands in a table with its warning at §; those without § have none.
func TestLint(t *testing.T) {
	for name, tt := range map[string]struct{ yaml, want string }{
		"match and unless": {"limits:\n  - §{name: a, by: number, limit: 1, window: 1m, match: {purpose: otp}, unless: {purpose: otp}}", "never-matches: limits[0]: no send meets this"},
		"match and when":   {"limits:\n  - §{name: a, by: number, limit: 1, window: 1m, match: {country: SG}, when: 'send.country == \"ID\"'}", "never-matches: limits[0]"},
		"when by itself":   {"limits:\n  - §{name: a, by: number, limit: 1, window: 1m, when: 'send.country == \"ID\" && send.country == \"SG\"'}", "never-matches: limits[0]"},
		"blocked country":  {"numbers: {countries: {block: ID}}\nlimits:\n  - §{name: a, by: number, limit: 1, window: 1m, match: {country: ID}}", "never-matches: limits[0]"},
		"only one country": {"numbers: {countries: {allow: SG}}\nlimits:\n  - §{name: a, by: number, limit: 1, window: 1m, match: {country: [ID, TH]}}", "never-matches: limits[0]"},
		"unless there":     {"numbers: {countries: {allow: SG}}\naccounts: {acme: {countries: {allow: ID}}}\nlimits:\n  - {name: a, by: number, limit: 1, window: 1m, match: {country: ID, account: acme}}", ""},
		"denied type":      {"numbers: {types: {premium: deny}}\nlimits:\n  - §{name: a, by: number, limit: 1, window: 1m, match: {number_type: premium}}", "never-matches: limits[0]"},
		"all replaced":     {"limits:\n  - §{name: a, by: number, limit: 1, window: 1m, match: {account: acme}}\naccounts: {acme: {limits: [{name: a, limit: 2}]}}", "never-matches: limits[0]"},
		"other purpose":    {"delays:\n  otp: §{when: send.purpose == \"marketing\"}", "never-matches: delays.otp"},
		"budget":           {"spend:\n  - §{name: a, by: country, budget: 1, currency: USD, window: 1h, match: {known_good: true}, when: '!send.known_good'}", "never-matches: spend[0]"},
		"may match":        {"limits:\n  - {name: a, by: number, limit: 1, window: 1m, match: {country: SG}, when: 'send.country != \"ID\" && send.cost > 1'}", ""},
		"off is no rule":   {"limits:\n  - {name: a, by: number, limit: 1, window: 1m, mode: off, match: {purpose: otp}, unless: {purpose: otp}}", ""},
		"always":           {"limits:\n  - {name: a, by: number, limit: 1, window: 1m, when: §'send.known_good || !send.known_good'}", "always-holds: limits[0].when: every send meets this: leave when out"},
		"always, listed":   {"limits:\n  - {name: a, by: number, limit: 1, window: 1m, when: §'send.purpose in [\"otp\", \"marketing\", \"transactional\"]'}", "always-holds: limits[0].when"},
		"true":             {"limits:\n  - {name: a, by: number, limit: 1, window: 1m, when: §'true'}", "always-holds: limits[0].when"},
		"opaque":           {"limits:\n  - {name: a, by: number, limit: 1, window: 1m, when: 'send.cost > 0'}", ""},

		"shadowed":         {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\n  - §{name: b, by: number, limit: 5, window: 30m}", `shadowed: limits[1]: "a" in line 3 is met first, always: it allows 5 in 1h by number`},
		"shadowed by more": {"limits:\n  - {name: a, by: country, limit: 5, window: 1h}\n  - §{name: b, by: [client, number], limit: 6, window: 1h}", "shadowed: limits[1]"},
		"the same":         {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\n  - §{name: b, by: number, limit: 5, window: 1h}", "shadowed: limits[1]"},
		"by a narrower":    {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, match: {purpose: otp}}\n  - {name: b, by: number, limit: 6, window: 1h}", ""},
		"by a wider":       {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, match: {country: [SG, ID]}}\n  - §{name: b, by: number, limit: 6, window: 1h, match: {country: SG, purpose: otp}}", "shadowed: limits[1]"},
		"by when":          {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, when: send.country != \"ID\"}\n  - §{name: b, by: number, limit: 6, window: 1h, when: 'send.country in [\"SG\", \"TH\"]'}", "shadowed: limits[1]"},
		"by the same when": {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, when: send.cost > 1}\n  - §{name: b, by: number, limit: 6, window: 1h, when: send.cost > 1}", "shadowed: limits[1]"},
		"by another when":  {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, when: send.cost > 1}\n  - {name: b, by: number, limit: 6, window: 1h}", ""},
		"burst":            {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\n  - {name: b, by: number, limit: 2, window: 1m}", ""},
		"shadow mode":      {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, mode: shadow}\n  - {name: b, by: number, limit: 6, window: 1h}", ""},
		"candidates":       {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, candidates: [{limit: 3}, {limit: 7}]}", ""},
		"insists":          {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\n  - {name: b, by: number, limit: 6, window: 1h, count_denied: true}", ""},
		"challenge first":  {"limits:\n  - {name: a, by: number, limit: 5, window: 1h, on_limit: challenge}\n  - {name: b, by: number, limit: 6, window: 1h}", ""},
		"IPv4 only":        {"limits:\n  - {name: a, by: client/24, limit: 5, window: 1h}\n  - {name: b, by: client, limit: 6, window: 1h}", ""},
		"an account's":     {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\naccounts: {acme: {limits: [{name: b, by: number, limit: 2, window: 1h}, §{name: c, by: number, limit: 2, window: 1m}]}}", "shadowed: accounts.acme.limits[1]"},
		"stands in":        {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\naccounts: {acme: {limits: [{name: a, limit: 9}]}}", ""},
		"known good":       {"limits:\n  - {name: a, by: number, limit: 5, window: 1h}\notp: {known_good: {limits: [{name: a}]}}", ""},
		"of two thousand":  {"limits:\n" + many(200), ""},
		"delay":            {"limits:\n  - {name: a, by: number, limit: 3, window: §1m}\ndelays: {otp: {base: 5m}}", "delay-longer: limits[0].window: delays.otp lets no more than 3 pass in 5m, its first wait, so the limit of 3 is never reached"},
		"no delay":         {"limits:\n  - {name: a, by: number, limit: 2, window: 1m}\ndelays: {otp: {base: 5m}}", ""},
		"delay of others":  {"limits:\n  - {name: a, by: number, limit: 3, window: 1m, match: {purpose: marketing}}\ndelays: {otp: {base: 5m}}", ""},
		"delay by client":  {"limits:\n  - {name: a, by: number, limit: 3, window: 1m}\ndelays: {otp: {base: 5m, by: client}}", ""},
		"forgets":          {"delays: {otp: {base: 5m, forget_after: §1m}}", "never-waits: delays.otp.forget_after: forget_after 1m is shorter than base 5m"},
		"currency":         {"spend: [{name: a, by: country, budget: 1, currency: §EUR, window: 1h}]", "missing-prices: spend[0].currency: the prices are in USD"},
		"endpoint":         {"limits:\n  - {name: a, by: §[client, endpoint], limit: 1, window: 1m}", "unbounded-keys: limits[0].by: every new endpoint is a new key"},
		"named endpoints":  {"limits:\n  - {name: a, by: [client, endpoint], limit: 1, window: 1m, match: {endpoint: [/a, /b]}}", ""},
		"asked endpoints":  {"limits:\n  - {name: a, by: [client, endpoint], limit: 1, window: 1m, when: 'send.endpoint.startsWith(\"/v1\")'}", ""},
		"subaccount":       {"limits:\n  - {name: a, by: §subaccount, limit: 1, window: 1m}", "unbounded-keys: limits[0].by: every new subaccount is a new key"},
		"for a year":       {"limits:\n  - {name: a, by: number, limit: 1, window: §365d}", "unbounded-keys: limits[0].window: every key by number is kept for 365d"},
		"of a few":         {"limits:\n  - {name: a, by: country, limit: 1, window: 365d}", ""},
	} {
		before, after, _ := strings.Cut("version: 1\n"+tt.yaml+"\n", "§")
		_, warnings, err := policy.Lint("p", []byte(before+after), policy.LintOptions{Prices: priceTable(t)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tt.want == "" {
			if len(warnings) > 0 {
				t.Errorf("%s: %v", name, warnings)
			}
			continue
		}
		want := fmt.Sprintf("p:%d:%d: warning: %s", strings.Count(before, "\n")+1, len(before)-strings.LastIndex(before, "\n"), tt.want)
		if len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), want) {
			t.Errorf("%s:\n got %v\nwant %s", name, warnings, want)
		}
	}
}

// many is limits of many accounts, which must not take the square of their time.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {name: r%d, by: number, limit: %d, window: %dm, match: {account: a%d}}\n", i, i+1, i+1, i)
	}
	return b.String()
}

func TestLint_missingPrices(t *testing.T) {
	_, warnings, err := policy.Lint("p", []byte("version: 1\nspend: [{name: a, by: country, budget: 1, currency: USD, window: 1h}]"), policy.LintOptions{})
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), "p:2:9: warning: missing-prices: spend[0]: a budget needs prices in USD: give a table with --prices") {
		t.Errorf("%v, %v", warnings, err)
	}
}

// What we ship has no warnings, or who copies it inherits them.
func TestLint_ours(t *testing.T) {
	files := []string{"default.yaml"}
	for _, pattern := range []string{"../examples/*/policy.yaml", "../deploy/*/policy.yaml"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	if len(files) < 5 {
		t.Fatal(files)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, warnings, err := policy.Lint(file, src, policy.LintOptions{Prices: priceTable(t)})
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", file, err, warnings)
		}
	}
}

// Every warning has a row above.
func TestLint_namesAreAllTested(t *testing.T) {
	src, err := os.ReadFile("lint_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := policy.WarningNames()
	if !slices.IsSorted(names) {
		t.Error("not sorted")
	}
	for _, name := range names {
		if !strings.Contains(string(src), name+": ") {
			t.Errorf("nothing tests %s", name)
		}
	}
}
