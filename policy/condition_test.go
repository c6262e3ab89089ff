package policy_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/policy"
)

// conditional is a policy with one limit that has a condition, written as a single-quoted text.
func conditional(when string) string {
	return "version: 1\nlimits:\n  - {name: a, by: number, limit: 1, window: 1m, when: '" + strings.ReplaceAll(when, "'", "''") + "'}\n"
}

func condition(t testing.TB, when string) *policy.Condition {
	t.Helper()
	p, err := policy.Parse("p.yaml", []byte(conditional(when)))
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	return p.Limits[0].When
}

// someSend is a send that the tables below ask about.
func someSend(t testing.TB) policy.Send {
	t.Helper()
	return policy.Send{Number: number(t, 234567), Country: "SG", NumberType: phone.Mobile, Client: netip.MustParseAddr("203.0.113.7"),
		Account: "acme", Subaccount: "eu", Endpoint: "/login", Channel: "sms", Purpose: "otp", KnownGood: true, Cost: 2,
		Attributes: map[string]string{"tier": "gold"}, At: time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC)} // a Sunday
}

func TestCondition_Holds(t *testing.T) {
	s := someSend(t)
	for when, want := range map[string]struct{ holds, typed bool }{
		`send.country == "SG"`:                                                                      {true, true},
		`send.country == "ID" && !send.known_good`:                                                  {false, true},
		`"ID" != send.country || send.challenge_passed`:                                             {true, true},
		`send.country in ["ID", "SG"]`:                                                              {true, true},
		`!(send.purpose in ["marketing"])`:                                                          {true, true},
		`send.type == "mobile" ? send.cost > 1 : send.cost > 5`:                                     {true, true},
		`2 >= send.cost && send.cost == 2`:                                                          {true, true},
		`send.endpoint.startsWith("/log") && send.account == "a"`:                                   {false, true},
		`send.subaccount.endsWith("u") && send.channel.contains("m")`:                               {true, true},
		`send.number.hasPrefix("+6591")`:                                                            {true, true},
		`send.number.hasPrefix("+6591*") && !send.number.hasPrefix("+659")`:                         {false, true},
		`send.number.inRange("+65912345**")`:                                                        {true, true},
		`send.number.inRange("+65912346**")`:                                                        {false, true},
		`send.client.within("203.0.113.0/24")`:                                                      {true, true},
		`send.client.within("2001:db8::/32") || send.client.within("::/0")`:                         {false, true},
		`"tier" in send.attributes && send.attributes["tier"] == "gold"`:                            {true, true},
		`has(send.attributes.tier) && send.attributes.tier != "gold"`:                               {false, true},
		`send.time.getHours("Asia/Singapore") < 8 && send.time.getDayOfWeek("Asia/Singapore") == 1`: {true, true},
		`send.time.getHours() == 23 && send.time.getHours("+08:00") == 7`:                           {true, false},
		`send.known_good == true && false == send.challenge_passed`:                                 {true, true},
		`send.endpoint.matches("^/log(in|out)$")`:                                                   {true, false},
		`send.attributes.exists(k, k == "tier")`:                                                    {true, false},
		`send.account + "/" + send.subaccount == "acme/eu"`:                                         {true, false},
		`size(send.endpoint) > 100`:                                                                 {false, false},
		`send.time > timestamp("2026-01-01T00:00:00Z")`:                                             {true, false},
		`send.number == send.number && send.client == send.client`:                                  {true, false},
		"true":                         {true, true},
		"send.country ==\n\"SG\" // x": {true, true},
	} {
		c := condition(t, when)
		if got := c.Holds(&s); got != want.holds || c.IsTyped() != want.typed || c.Failures() != 0 {
			t.Errorf("%s: %v, typed %v, %d failures; want %v", when, got, c.IsTyped(), c.Failures(), want)
		}
	}
}

// A condition that cannot be answered holds: who leaves an attribute out must not get around a limit. It is counted.
func TestCondition_unanswerableHolds(t *testing.T) {
	s := someSend(t)
	for when, failures := range map[string]uint64{
		`send.attributes["plan"] == "free"`:                                     1,
		`send.attributes.plan != "free"`:                                        1,
		`!(send.attributes.plan == "free")`:                                     1,
		`send.attributes["plan"].startsWith("f")`:                               1, // by CEL
		`send.attributes["plan"] == "free" || send.country == "SG"`:             0, // the other side decides
		`send.country == "SG" && send.attributes["plan"] == "free"`:             1,
		`(send.attributes["plan"] == "free" ? true : false) || send.known_good`: 0,
	} {
		p, err := policy.Parse("p.yaml", []byte(conditional(when)))
		if err != nil {
			t.Fatal(err)
		}
		if !p.Limits[0].When.Holds(&s) {
			t.Errorf("%s does not hold", when)
		}
		if got := p.ConditionFailures()["a"]; got != failures {
			t.Errorf("%s: %d failures, want %d", when, got, failures)
		}
	}
	if c := condition(t, `send.country == "ID" && send.attributes["plan"] == "free"`); c.Holds(&s) || c.Failures() != 0 {
		t.Error("what the other side denies is not denied")
	}
}

// Where an error stands is told to the column, whatever quotes the expression is in, and what to write instead.
func TestCondition_errors(t *testing.T) {
	for name, tt := range map[string]struct{ yaml, want string }{
		"unknown field":   {`when: '§send.contry == "ID"'`, `there is no "send.contry": did you mean "send.country"?`},
		"second line":     {"when: |\n      send.country == \"ID\" &&\n        §send.knowngood", `there is no "send.knowngood": did you mean "send.known_good"?`},
		"folded":          {"when: >-\n      send.country == \"ID\"\n\n      && §send.knowngood", `there is no "send.knowngood": did you mean "send.known_good"?`},
		"plain":           {`when: send.cost §== "x"`, `== does not go with int, string: write both sides of one type`},
		"plain, folded":   {"when: send.known_good &&\n      send.cost §== \"x\"", `== does not go with int, string: write both sides of one type`},
		"double quotes":   {`when: "send.country == \"ID\" && §send.knowngood"`, `there is no "send.knowngood": did you mean "send.known_good"?`},
		"single quotes":   {`when: 'send.account == ''a'' && §send.knowngood'`, `there is no "send.knowngood": did you mean "send.known_good"?`},
		"syntax":          {`when: 'send.country §= "ID"'`, `this is not CEL: token recognition error at: '= ': check quotes, brackets and operators (==, !=, &&, ||, !, in)`},
		"cut off":         {`when: 'send.country ==§'`, `this is not CEL: mismatched input the end: check quotes, brackets and operators (==, !=, &&, ||, !, in)`},
		"no condition":    {`when: §send.country`, `this is a text and not a true or false: compare it, such as == "SG"`},
		"country":         {`when: 'send.country == §"UK"'`, `"UK" is no country code: write GB`},
		"in a list":       {`when: 'send.purpose in ["otp", §"OTP"]'`, `unknown value "OTP": did you mean "otp"?`},
		"number as text":  {`when: 'send.number §== "+6598887766"'`, `== does not go with number, string: write both sides of one type`},
		"startsWith":      {`when: 'send.number.startsWith§("+65")'`, `a number has no startsWith for this: write .hasPrefix("+6591") or .inRange("+6591234***")`},
		"long prefix":     {`when: 'send.number.hasPrefix(§"+6598887766")'`, `a prefix has at most 7 digits: write a range, a star for each digit that may differ, such as +6591234***`},
		"dynamic prefix":  {`when: 'send.number.hasPrefix(send§.account)'`, `this must be written out: write a text in quotes`},
		"block":           {`when: 'send.client.within(§"203.0.113.9/24")'`, `203.0.113.9/24 has bits behind its prefix: write 203.0.113.0/24`},
		"zone":            {`when: 'send.time.getHours(§"Singapur") < 8'`, `"Singapur" is no time zone: write one such as Asia/Singapore or +08:00`},
		"pattern":         {`when: 'send.endpoint.matches(§"(")'`, `this is no pattern: write a regular expression of RE2`},
		"mixed list":      {`when: 'send.account in ["a", §1]'`, `expected type 'string' but found 'int'`},
		"empty":           {`when: §""`, `it is empty: write CEL over the send, such as send.country == "ID" && !send.known_good, or leave the key out`},
		"a list":          {`when: §[a]`, `this is a list: write CEL over the send, such as send.country == "ID" && !send.known_good`},
		"account":         {`when: 'send.account == §"acne"'`, `there is no account "acne": did you mean "acme"?`},
		"nested loops":    {`when: '§send.attributes.all(a, send.attributes.all(b, send.attributes.all(c, send.attributes.all(d, a != b && c != d))))'`, `it may cost 1398098 steps for one message and 10000 are allowed: leave out loops in loops and long patterns`},
		"pattern on long": {`when: '§send.attributes.all(a, send.attributes[a].matches("` + strings.Repeat("(a|b)+", 30) + `"))'`, `it may cost 18610 steps for one message and 10000 are allowed: leave out loops in loops and long patterns`},
	} {
		src := "version: 1\naccounts: {acme: {}}\nlimits:\n  - name: a\n    " + tt.yaml + "\n    by: number\n    limit: 1\n    window: 1m\n"
		before, after, _ := strings.Cut(src, "§") // where the problem is
		line, column := strings.Count(before, "\n")+1, len(before)-strings.LastIndex(before, "\n")
		src = before + after
		_, err := policy.Parse("p", []byte(src))
		var list *policy.Error
		if !errors.As(err, &list) {
			t.Errorf("%s: accepted", name)
			continue
		}
		if p := list.Problems[0]; p.Line != line || p.Column != column || p.Message != tt.want {
			t.Errorf("%s:\n got %s\nwant %d:%d: %s", name, p, line, column, tt.want)
		}
		if strings.Contains(err.Error(), "98887766") {
			t.Errorf("%s shows a number: %v", name, err)
		}
	}
}

// expressions draws what typed knows, and now and then what only CEL does.
func expressions(t *rapid.T, deep int) string {
	words := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	if deep > 0 && rapid.Bool().Draw(t, "join") {
		a, b := expressions(t, deep-1), expressions(t, deep-1)
		switch words("how", "and", "or", "not", "if", "same") {
		case "and":
			return "(" + a + " && " + b + ")"
		case "or":
			return "(" + a + " || " + b + ")"
		case "not":
			return "!(" + a + ")"
		case "if":
			return "(" + a + " ? " + b + " : " + expressions(t, deep-1) + ")"
		}
		return "((" + a + ") == true)"
	}
	text := words("text", "", "a", "acme", "/login", "g")
	return words("atom",
		"send.known_good", "!send.challenge_passed", "true",
		`send.country == "`+words("country", "SG", "ID", "ZZ")+`"`, `"SG" != send.country`, `send.country in ["SG", "ID"]`, `send.account in []`,
		`send.type == "mobile"`, `send.purpose != "otp"`, `send.account == "acme"`, `send.endpoint.startsWith("`+text+`")`,
		`send.endpoint.endsWith("`+text+`")`, `send.subaccount.contains("`+text+`")`,
		`send.cost `+words("op", "<", "<=", ">", ">=", "==", "!=")+` 2`, `2 `+words("po", "<", "<=", ">", ">=", "==", "!=")+` send.cost`,
		`send.attributes["tier"] == "`+text+`"`, `send.attributes.tier != "g"`, `"tier" in send.attributes`, `has(send.attributes.tier)`,
		`send.number.hasPrefix("`+words("prefix", "+65", "+659", "+6", "+62")+`")`, `send.number.inRange("+65910000**")`,
		`send.client.within("`+words("block", "203.0.113.0/24", "2001:db8::/32", "::/0", "0.0.0.0/0")+`")`,
		`send.time.getHours("`+words("zone", "Asia/Singapore", "America/New_York", "UTC")+`") < 12`, `send.time.getDayOfWeek() == 0`, `send.time.getMinutes() > 29`)
}

func sendToAsk(t *rapid.T) policy.Send {
	n, err := phone.Parse(rapid.SampledFrom([]string{"+6591000012", "+6591234567", "+6281234567890", "+80012345678"}).Draw(t, "number"), "")
	if err != nil {
		t.Fatal(err)
	}
	s := policy.Send{Number: n, Country: rapid.SampledFrom([]string{"", "SG", "ID"}).Draw(t, "country"),
		NumberType: rapid.SampledFrom([]phone.Type{phone.Mobile, phone.Premium}).Draw(t, "type"),
		Account:    rapid.SampledFrom([]string{"", "acme", "a"}).Draw(t, "account"), Subaccount: rapid.SampledFrom([]string{"", "ag"}).Draw(t, "subaccount"),
		Endpoint: rapid.SampledFrom([]string{"", "/login"}).Draw(t, "endpoint"), Purpose: rapid.SampledFrom([]string{"otp", "marketing"}).Draw(t, "purpose"),
		KnownGood: rapid.Bool().Draw(t, "known"), ChallengePassed: rapid.Bool().Draw(t, "passed"), Cost: rapid.Int64Range(1, 3).Draw(t, "cost"),
		At: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0)}
	if a := rapid.SampledFrom([]string{"", "203.0.113.9", "2001:db8::1"}).Draw(t, "client"); a != "" {
		s.Client = netip.MustParseAddr(a)
	}
	if tier := rapid.SampledFrom([]string{"none", "g", "a"}).Draw(t, "tier"); tier != "none" {
		s.Attributes = map[string]string{"tier": tier}
	}
	return s
}

// The typed matcher answers as CEL does, failures included.
func TestCondition_typedIsCEL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := expressions(t, 3)
		typed, byCEL := policy.BothWays(text)
		for range 4 {
			s := sendToAsk(t)
			if a, b := typed(&s), byCEL(&s); a != b {
				t.Fatalf("%s: typed %s, CEL %s for %+v", text, a, b, s)
			}
		}
	})
}

// Wherever a character of the expression stands in the file, it is found there.
func TestCondition_places(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"send.cost", "==", "'é\"\\x'", "&&", "\"a''b\"", "||", "\n", "(", "#x", ")"}), 1, 12).Draw(t, "parts")
		text := strings.TrimSpace(strings.Join(parts, " "))
		if text == "" {
			text = "x"
		}
		style := rapid.SampledFrom([]string{"single", "double", "literal", "folded"}).Draw(t, "style")
		policy.CheckPlaces(t, text, style)
	})
}

// A policy without conditions pays nothing for them, and typed ones allocate nothing.
func TestCondition_doesNotAllocate(t *testing.T) {
	s := someSend(t)
	for _, when := range []string{
		`send.country == "ID" && !send.known_good`, `send.attributes["tier"] == "gold" && send.cost > 1 || send.number.hasPrefix("+6591")`,
		`send.client.within("203.0.113.0/24") && send.number.inRange("+65912345**") && send.type in ["mobile", "fixed"]`,
		`send.time.getHours("Asia/Singapore") < 8 && send.endpoint.startsWith("/log")`,
	} {
		c := condition(t, when)
		if n := testing.AllocsPerRun(100, func() { c.Holds(&s) }); n != 0 {
			t.Errorf("%s: %v allocations", when, n)
		}
	}
}

func BenchmarkCondition(b *testing.B) {
	s := someSend(b)
	for name, when := range map[string]string{
		"typed": `send.country == "ID" && !send.known_good`, "typed/five": `send.country in ["ID", "SG"] && send.cost > 1 && send.number.hasPrefix("+6591") && send.client.within("203.0.113.0/24") && send.purpose == "otp"`,
		"typed/hour": `send.time.getHours("Asia/Singapore") < 8`,
		"cel":        `send.account + "/" + send.subaccount == "acme/eu"`, "cel/matches": `send.endpoint.matches("^/log(in|out)$")`,
	} {
		b.Run(name, func(b *testing.B) {
			c := condition(b, when)
			b.ReportAllocs()
			for b.Loop() {
				c.Holds(&s)
			}
		})
	}
}

func ExampleCondition() {
	_, err := policy.Parse("policy.yaml", []byte(`version: 1
limits:
  - name: new-number-id
    by: country
    limit: 500
    window: 1h
    when: send.country == "ID" && !send.knowngood
`))
	fmt.Println(err)
	// Output: policy.yaml:7:36: limits[0].when: there is no "send.knowngood": did you mean "send.known_good"?
}

// Whatever is written: no panic, a place within the file, no digits of a number in the message; and what is accepted answers every
// send, typed as CEL does.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{`send.country == "ID" && !send.known_good`, `send.attributes["a"] == "b"`, `send.attributes.all(k, k != "+6598887766")`,
		`send.number.hasPrefix("+65")`, `send.number.inRange("+65912345**")`, `send.client.within("::/0")`, `send.time.getHours("UTC") < 8`,
		`send.endpoint.matches("(a+)+$")`, `[1,2,3].exists(x, x > send.cost)`, `{"a": 1}.a == send.cost`, `dyn(send.number) == 1`,
		`timestamp("2026-01-01T00:00:00Z") < send.time`, `"\u0061" == send.account`, "send.cost\n== 1", "((((((((", "a.b.c", `send.country in ["UK", 'SG']`,
		`send.known_good ? true : send.cost / 0 == 1`, `string(send.cost) + "x" == b"x"`, `send.attributes.map(k, k).size() > 3`} {
		f.Add(seed)
	}
	s := someSend(f)
	f.Fuzz(func(t *testing.T, when string) {
		if strings.ContainsFunc(when, func(r rune) bool { return r < ' ' || r == 0xfffd || r > 0xd7ff }) {
			return // not for a quoted text of one line
		}
		p, err := policy.Parse("p.yaml", []byte(conditional(when)))
		var list *policy.Error
		if errors.As(err, &list) {
			for _, problem := range list.Problems {
				if problem.Line != 3 || problem.Column < 1 || problem.Column > len(when)*2+80 || strings.Contains(problem.Message, "98887766") {
					t.Fatalf("%q: %s", when, problem)
				}
			}
			return
		}
		c := p.Limits[0].When
		for _, send := range []policy.Send{s, {}} {
			c.Holds(&send)
			if c.IsTyped() {
				if typed, byCEL := policy.BothWays(strings.TrimSpace(when)); typed(&send) != byCEL(&send) {
					t.Fatalf("%q: typed %s, CEL %s", when, typed(&send), byCEL(&send))
				}
			}
		}
	})
}
