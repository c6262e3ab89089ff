package policy_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// number is a number of Singapore with these last digits.
func number(t testing.TB, last int) phone.Number {
	t.Helper()
	n, err := phone.Parse(fmt.Sprintf("+6591%06d", last), "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rule is a limit as the test knows it: what is written in the file, nothing that the parser made of it.
type rule struct {
	name, account string
	knownGood     bool
	by            []string
	limit         int
	mode          string
	match, unless map[string][]string
}

// text writes the rule as YAML.
func (r *rule) text() string {
	conditions := func(key string, m map[string][]string) string {
		if len(m) == 0 {
			return ""
		}
		var fields []string
		for k, v := range m {
			fields = append(fields, k+": ["+strings.Join(v, ", ")+"]")
			if k == "known_good" || k == "challenge_passed" {
				fields[len(fields)-1] = k + ": " + v[0]
			}
		}
		return ", " + key + ": {" + strings.Join(fields, ", ") + "}"
	}
	return fmt.Sprintf("{name: %s, by: [%s], limit: %d, window: 1h, mode: %s%s%s}", r.name, strings.Join(r.by, ", "), r.limit, r.mode,
		conditions("match", r.match), conditions("unless", r.unless))
}

// fieldOf is what a send has for a condition, spelled as in the file.
func fieldOf(s *policy.Send, field string) string {
	switch field {
	case "account":
		return s.Account
	case "subaccount":
		return s.Subaccount
	case "endpoint":
		return s.Endpoint
	case "channel":
		return s.Channel
	case "purpose":
		return s.Purpose
	case "country":
		if s.Country == "" {
			return "ZZ"
		}
		return s.Country
	case "number_type":
		return s.NumberType.String()
	case "known_good":
		return fmt.Sprint(s.KnownGood)
	case "challenge_passed":
		return fmt.Sprint(s.ChallengePassed)
	}
	panic(field)
}

// partOf is what a send has for a part of a key, and whether it has one.
func partOf(s *policy.Send, part string) (string, bool) {
	v4 := s.Client.Is4()
	block := func(bits int) string { return netip.PrefixFrom(s.Client, bits).Masked().String() }
	mask := func(digits int) string {
		return fmt.Sprint(s.Number.Digits() / uint64(math.Pow10(digits)))
	}
	switch part {
	case "number":
		return s.Number.E164(), true
	case "range2":
		return mask(2), true
	case "range3":
		return mask(3), true
	case "range4":
		return mask(4), true
	case "country":
		return s.Country, true
	}
	if !strings.HasPrefix(part, "client") {
		return fieldOf(s, part), true
	}
	switch {
	case !s.Client.IsValid():
		return "", false
	case part == "client" && v4:
		return block(32), true
	case part == "client":
		return block(64), true
	case part == "client/24" && v4:
		return block(24), true
	case part == "client/56" && !v4:
		return block(56), true
	case part == "client/48" && !v4:
		return block(48), true
	}
	return "", false
}

func holds(m map[string][]string, s *policy.Send) bool {
	for field, values := range m {
		if !slices.Contains(values, fieldOf(s, field)) {
			return false
		}
	}
	return true
}

// inherit gives rules that stand in for another what they do not write.
func inherit(rules []rule) []rule {
	rules = slices.Clone(rules)
	for i := range rules {
		r := &rules[i]
		for _, base := range rules {
			if base.name != r.name || base.account != "" || base.knownGood || r.account == "" && !r.knownGood {
				continue
			}
			if len(r.match) == 0 {
				r.match = maps.Clone(base.match)
				if r.knownGood {
					delete(r.match, "known_good")
				} else {
					delete(r.match, "account")
				}
			}
			if len(r.unless) == 0 {
				r.unless = base.unless
			}
		}
	}
	return rules
}

// naive is which rules judge a send and under which key, by the words of the package comment.
func naive(rules []rule, s *policy.Send) (enforced, shadow []string) {
	rank := func(r *rule) int {
		shared := true
		for _, p := range r.by {
			shared = shared && !strings.HasPrefix(p, "client") && !strings.HasPrefix(p, "range") && p != "number"
		}
		switch {
		case shared:
			return 2
		case r.limit > 62:
			return 1
		}
		return 0
	}
	order := slices.Clone(rules)
	if slices.ContainsFunc(rules, func(r rule) bool { return r.knownGood && r.mode == "enforce" }) { // these challenge
		for _, by := range []string{"number", "client"} {
			order = append(order, rule{name: "after-challenge-" + by, by: []string{by}, limit: 5, mode: "enforce", match: map[string][]string{"challenge_passed": {"true"}}})
		}
	}
	slices.SortStableFunc(order, func(a, b rule) int { return rank(&a) - rank(&b) })
	for _, r := range order {
		scoped := r.knownGood && s.KnownGood || r.account != "" && r.account == s.Account || r.account == "" && !r.knownGood
		for _, other := range rules {
			if other.name != r.name {
				continue
			}
			if s.KnownGood && other.knownGood && !r.knownGood {
				scoped = false
			}
			if other.account != "" && other.account == s.Account && r.account == "" && !r.knownGood {
				scoped = false
			}
		}
		if r.knownGood && s.ChallengePassed && r.match["challenge_passed"] == nil {
			scoped = false
		}
		if !scoped || r.mode == "off" || !holds(r.match, s) || len(r.unless) > 0 && holds(r.unless, s) {
			continue
		}
		var key []string
		for _, p := range slices.Sorted(slices.Values(r.by)) {
			v, ok := partOf(s, p)
			if !ok {
				key = nil
				break
			}
			key = append(key, p+"="+v)
		}
		switch what := r.name + "@" + r.account + fmt.Sprint(r.knownGood) + " " + strings.Join(key, "|"); {
		case key == nil:
		case r.mode == "shadow":
			shadow = append(shadow, what)
		default:
			enforced = append(enforced, what)
		}
	}
	return enforced, shadow
}

var (
	fieldValues = map[string][]string{
		"account": {"acme", "globex"}, "subaccount": {"a", "ab"}, "endpoint": {"login", "b"}, "channel": {"sms", "voice"},
		"purpose": {"otp", "marketing"}, "country": {"SG", "ZZ"}, "number_type": {"mobile", "voip"},
		"known_good": {"true", "false"}, "challenge_passed": {"true", "false"},
	}
	fieldNames = []string{"account", "subaccount", "endpoint", "channel", "purpose", "country", "number_type", "known_good", "challenge_passed"}
	partNames  = []string{"number", "client", "client/24", "client/48", "client/56", "account", "subaccount", "endpoint", "channel", "purpose",
		"country", "range2", "range3", "range4"}
)

func drawConditions(t *rapid.T, label string, without string) map[string][]string {
	m := make(map[string][]string)
	for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(fieldNames), 0, 2, rapid.ID[string]).Draw(t, label) {
		if f != without {
			m[f] = rapid.SliceOfNDistinct(rapid.SampledFrom(fieldValues[f]), 1, 1+rapid.IntRange(0, 1).Draw(t, f+" more"), rapid.ID[string]).Draw(t, f)
			if f == "known_good" || f == "challenge_passed" {
				m[f] = m[f][:1]
			}
		}
	}
	return m
}

func drawRules(t *rapid.T) []rule {
	var rules []rule
	draw := func(scope string, most int, account string, knownGood bool, without string) {
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"r1", "r2", "r3", "r4", "r5", "r6"}), 0, most, rapid.ID[string]).Draw(t, scope)
		for _, name := range names {
			rules = append(rules, rule{
				name: name, account: account, knownGood: knownGood,
				by:     rapid.SliceOfNDistinct(rapid.SampledFrom(partNames), 1, 3, rapid.ID[string]).Draw(t, "by"),
				limit:  rapid.SampledFrom([]int{1, 62, 63, 1000}).Draw(t, "limit"),
				mode:   rapid.SampledFrom([]string{"enforce", "enforce", "shadow", "off"}).Draw(t, "mode"),
				match:  drawConditions(t, "match", without),
				unless: drawConditions(t, "unless", ""),
			})
		}
	}
	draw("global", 6, "", false, "")
	draw("known good", 3, "", true, "known_good")
	draw("acme", 3, "acme", false, "account")
	draw("globex", 3, "globex", false, "account")
	return rules
}

func file(rules []rule) string {
	var global, known, acme, globex []string
	for i := range rules {
		into := &global
		switch r := &rules[i]; {
		case r.knownGood:
			into = &known
		case r.account == "acme":
			into = &acme
		case r.account == "globex":
			into = &globex
		}
		*into = append(*into, "\n      - "+rules[i].text())
	}
	section := func(l []string) string {
		if l == nil {
			return " []"
		}
		return strings.Join(l, "")
	}
	return "version: 1\naccounts:\n  acme:\n    limits:" + section(acme) + "\n  globex:\n    limits:" + section(globex) +
		"\nlimits:" + section(global) + "\notp:\n  known_good:\n    limits:" + section(known) + "\n"
}

func drawSend(t *rapid.T) policy.Send {
	one := func(field string, more ...string) string {
		return rapid.SampledFrom(append(more, fieldValues[field]...)).Draw(t, field)
	}
	n, err := phone.Parse("+65912345"+rapid.SampledFrom([]string{"00", "01", "99"}).Draw(t, "number"), "")
	if err != nil {
		t.Fatal(err)
	}
	s := policy.Send{
		Number: n, Country: rapid.SampledFrom([]string{"", "SG", "ID"}).Draw(t, "country"),
		NumberType: rapid.SampledFrom([]phone.Type{phone.Mobile, phone.VoIP, phone.Premium}).Draw(t, "type"),
		Account:    one("account", "", "other"), Subaccount: one("subaccount", ""), Endpoint: one("endpoint", ""),
		Channel: one("channel", "rcs"), Purpose: one("purpose", "transactional"),
		KnownGood: rapid.Bool().Draw(t, "known good"), ChallengePassed: rapid.Bool().Draw(t, "challenge passed"),
	}
	if a := rapid.SampledFrom([]string{"", "192.0.2.1", "192.0.2.2", "192.0.3.1", "2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:100::1"}).Draw(t, "client"); a != "" {
		s.Client = netip.MustParseAddr(a)
	}
	return s
}

// Plan picks what a naive matcher picks, in the same order, and two sends share a key exactly when they share its parts.
func TestPlan_isTheNaiveMatcher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		src := file(rules)
		rules = inherit(rules)
		p, err := policy.Parse("policy.yaml", []byte(src))
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		var plan policy.Plan
		bytesOf, partsOf := make(map[string]string), make(map[string]string)
		name := func(charges []policy.Charge, want []string) (got []string) {
			for i, c := range charges {
				l := &p.Limits[c.Rule]
				head := l.Name + "@" + l.Account + fmt.Sprint(l.KnownGood)
				if i >= len(want) || !strings.HasPrefix(want[i], head+" ") {
					return append(got, head)
				}
				_, parts, _ := strings.Cut(want[i], " ")
				key := string(plan.Key(c.Key))
				if b, ok := bytesOf[parts]; ok && b != key {
					t.Fatalf("%s has two keys: %x and %x", parts, b, key)
				}
				if q, ok := partsOf[key]; ok && q != parts {
					t.Fatalf("%s and %s share the key %x", q, parts, key)
				}
				bytesOf[parts], partsOf[key] = key, parts
				got = append(got, want[i])
			}
			return got
		}
		for range 20 {
			s := drawSend(t)
			enforced, shadow := naive(rules, &s)
			p.Plan(&s, &plan)
			if got := name(plan.Enforced, enforced); !slices.Equal(got, enforced) {
				t.Fatalf("enforced: got %v, want %v\n%s\n%+v", got, enforced, src, s)
			}
			if got := name(plan.Shadow, shadow); !slices.Equal(got, shadow) {
				t.Fatalf("shadow: got %v, want %v\n%s\n%+v", got, shadow, src, s)
			}
			for i := range p.Limits {
				planned := slices.ContainsFunc(append(plan.Enforced, plan.Shadow...), func(c policy.Charge) bool { return c.Rule == i })
				if why := p.WhyLimit(i, &s); why.Applies != planned || why.Why == "" || planned != (why.Key != "") {
					t.Fatalf("%s is planned: %v, and explained with %+v\n%s\n%+v", p.Limits[i].StoreName(), planned, why, src, s)
				}
			}
		}
	})
}

func TestPlan_sharesOneKeyInAGroup(t *testing.T) {
	var plan policy.Plan
	s := policy.Send{Number: number(t, 1), Client: netip.MustParseAddr("192.0.2.1"), Purpose: "otp"}
	policy.Default().Plan(&s, &plan)
	if len(plan.Enforced) != 5 || plan.Keys() != 3 {
		t.Errorf("got %d limits with %d keys, want 5 with 3: number, client, account", len(plan.Enforced), plan.Keys())
	}
}

// A key can be read back into its parts, so no two sends that differ in one share it.
func TestPlan_compoundKeysKeepTheirParts(t *testing.T) {
	p := parse(t, "version: 1\nlimits: [{name: a, by: [subaccount, account], limit: 1, window: 1s}]")
	long := strings.Repeat("x", 20000)
	for _, parts := range [][2]string{
		{"ab", "c"}, {"a", "bc"}, {"", ""}, {"a\x0e\x01b", ""}, {long[:127], "y"}, {long[:128], "y"}, {"y", long[:300]}, {long, long[:16384]},
	} {
		var plan policy.Plan
		p.Plan(&policy.Send{Account: parts[0], Subaccount: parts[1]}, &plan)
		var got []string
		for key := plan.Key(plan.Enforced[0].Key); len(key) > 0; {
			n, w := binary.Uvarint(key[1:])
			got = append(got, string(key[1+w:1+w+int(n)]))
			key = key[1+w+int(n):]
		}
		if !slices.Equal(got, parts[:]) {
			t.Errorf("%.20q: read back as %.20q", parts, got)
		}
	}
}

func TestPlan_missingClient(t *testing.T) {
	for _, c := range []struct {
		missing string
		want    int
	}{{"allow", 1}, {"deny", 1}, {"challenge", 1}, {"bucket", 3}} {
		p := parse(t, "version: 1\nclient_address: {missing_client: "+c.missing+"}\nlimits:\n"+
			"  - {name: a, by: number, limit: 1, window: 1s}\n  - {name: b, by: client, limit: 1, window: 1s}\n"+
			"  - {name: c, by: client/24, limit: 1, window: 1s}")
		var plan policy.Plan
		s := policy.Send{Number: number(t, 1)}
		p.Plan(&s, &plan)
		if len(plan.Enforced) != c.want {
			t.Errorf("missing_client %s: %d limits apply, want %d", c.missing, len(plan.Enforced), c.want)
		}
	}
}

// fifty is a policy of 50 limits over 9 kinds of key that ask about four things.
func fifty() string {
	var b strings.Builder
	b.WriteString("version: 1\nlimits:\n")
	for i := range 50 {
		fmt.Fprintf(&b, "  - {name: r%d, by: [%s], limit: %d, window: 1h, match: {account: [a%d, all], purpose: otp", i,
			[]string{"number", "client", "account", "client, number", "range3", "country", "endpoint, number", "subaccount", "client/24"}[i%9], 1+i*40, i%10)
		if i%2 == 0 {
			b.WriteString(", endpoint: [login, signup], channel: sms")
		}
		b.WriteString("}}\n")
	}
	return b.String()
}

func sends(t testing.TB, account string) []policy.Send {
	out := make([]policy.Send, 1024)
	for i := range out {
		out[i] = policy.Send{Number: number(t, i*7919%1000000), Country: "SG", NumberType: phone.Mobile, Account: account, Subaccount: "emea",
			Endpoint: "login", Channel: "sms", Purpose: "otp", Client: netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})}
	}
	return out
}

func TestPlan_doesNotAllocate(t *testing.T) {
	for name, src := range map[string]string{"default": string(policy.DefaultYAML()), "fifty": fifty()} {
		p, list, plan := parse(t, src), sends(t, "all"), policy.Plan{}
		p.Plan(&list[0], &plan)
		i := 0
		if n := testing.AllocsPerRun(1000, func() { p.Plan(&list[i&1023], &plan); i++ }); n != 0 {
			t.Errorf("%s: %v allocations a plan", name, n)
		}
		if len(plan.Enforced) == 0 {
			t.Errorf("%s: nothing applied, so nothing was measured", name)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct{ name, src, account string }{
		{"default", string(policy.DefaultYAML()), "acme"},
		{"fifty-none-apply", fifty(), "stranger"},
		{"fifty-5-apply", fifty(), "a3"},
		{"fifty-all-apply", fifty(), "all"},
		{"5000-accounts", manyAccounts(), "a3"},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, list, plan := parse(b, c.src), sends(b, c.account), policy.Plan{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.Plan(&list[i&1023], &plan)
			}
			b.ReportMetric(float64(len(plan.Enforced)), "limits")
		})
	}
}

// manyAccounts is what a platform with many customers would have: 5000 accounts with limits of their own.
func manyAccounts() string {
	var many strings.Builder
	many.Write(policy.DefaultYAML())
	many.WriteString("accounts:\n")
	for i := range 5000 {
		fmt.Fprintf(&many, "  a%d: {limits: [{name: number-minute, limit: 2}, {name: client-minute, mode: off}, {name: own, by: account, limit: 9, window: 1s}]}\n", i)
	}
	return many.String()
}

func BenchmarkParse(b *testing.B) {
	for name, src := range map[string]string{"default": string(policy.DefaultYAML()), "5000-accounts": manyAccounts()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				parse(b, src)
			}
		})
	}
}

func TestPlan_delaysAndBudgets(t *testing.T) {
	p := parse(t, `
version: 1
delays:
  otp: {on_limit: challenge}
  marketing: {by: [number, account]}
spend:
  - {name: all, by: account, budget: 10.00, currency: USD, window: 24h}
  - {name: foreign, by: country, budget: 5.00, currency: USD, window: 24h, match: {purpose: otp}, unless: {country: SG}}
`)
	for _, test := range []struct {
		send          policy.Send
		delays, spend string
	}{
		{policy.Send{Purpose: "otp", Country: "ID"}, "otp", "all foreign"},
		{policy.Send{Purpose: "otp", Country: "SG"}, "otp", "all"},
		{policy.Send{Purpose: "otp", Country: "ID", ChallengePassed: true}, "", "all foreign"}, // what challenges is stepped over, money is not
		{policy.Send{Purpose: "marketing", Country: "ID"}, "marketing", "all"},
		{policy.Send{Purpose: "transactional"}, "", "all"},
	} {
		test.send.Number = number(t, 1)
		var plan policy.Plan
		p.Plan(&test.send, &plan)
		var delays, spend []string
		for _, c := range plan.Delays {
			delays = append(delays, p.Delays[c.Rule].Purpose)
			if len(plan.Key(c.Key)) == 0 {
				t.Error("a delay without a key")
			}
		}
		for _, c := range plan.Spend {
			spend = append(spend, p.Spend[c.Rule].Name)
		}
		if strings.Join(delays, " ") != test.delays || strings.Join(spend, " ") != test.spend {
			t.Errorf("%s to %q: delays %v and spend %v, want %s and %s", test.send.Purpose, test.send.Country, delays, spend, test.delays, test.spend)
		}
	}
}

func TestDelays_presetsAreFilledIn(t *testing.T) {
	p := parse(t, "version: 1\ndelays: {otp: {preset: cognito, max: 5m}, marketing: {preset: supabase}}")
	for _, y := range p.Delays {
		if y.OnLimit != policy.Deny || y.Mode != policy.Enforce || len(y.By) != 1 || y.By[0] != policy.ByNumber {
			t.Errorf("%s: %+v", y.Purpose, y)
		}
		b := limiter.Backoff{Base: time.Minute, Factor: 1, Max: time.Minute, ForgetAfter: time.Minute}
		if y.Purpose == "otp" {
			b = limiter.Backoff{Free: 4, Base: time.Second, Factor: 2, Max: 5 * time.Minute, ForgetAfter: 15 * time.Minute}
		}
		if y.Backoff != b {
			t.Errorf("%s waits %+v, want %+v", y.Purpose, y.Backoff, b)
		}
	}
}
