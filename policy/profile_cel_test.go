package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/extract"
	"github.com/sendgate/sendgate/policy"
)

// profileWith is a policy with one profile whose number is computed.
func profileWith(expression string) string {
	return "version: 1\nproxies:\n  profiles:\n    sms:\n      match: POST /v1/{account}/messages\n      number: {cel: '" + strings.ReplaceAll(expression, "'", "''") + "'}\n"
}

func numberOf(t testing.TB, expression string) extract.Selector {
	t.Helper()
	p, err := policy.Parse("p", []byte(profileWith(expression)))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return p.Proxies.Profiles["sms"].Number
}

func reading(body string) *extract.Reading {
	r := extract.Read(&extract.Request{Method: "POST", Target: "/v1/acme/messages?cc=65", Body: []byte(body),
		Header: func(name string) []string {
			return map[string][]string{"content-type": {"application/json"}, "x-phone": {"91234567"}, "x-two": {"a", "b"}}[name]
		},
		Metadata: map[string]any{"jwt": map[string]any{"tenant": "acme"}}})
	template, _ := extract.ParseTemplate("POST /v1/{account}/messages")
	r.MatchPath(template)
	return r
}

func TestComputed(t *testing.T) {
	body := `{"to":{"cc":65,"nr":"91234567"},"list":[{"to":"+6591234501"},{"to":"+6591234502"}],"one":"+6591234503","n":6591234567,"mixed":["a",1],"empty":[],"nothing":null}`
	for expression, want := range map[string]string{
		`request.json.one`: "[+6591234503]",
		`"+" + string(request.json.to.cc) + request.json.to.nr`:                                                 "[+6591234567]",
		`request.json.list.map(m, m.to)`:                                                                        "[+6591234501 +6591234502]",
		`request.json.list.filter(m, m.to.endsWith("2")).map(m, m.to)`:                                          "[+6591234502]",
		`"+" + request.query("cc") + request.header("X-Phone")`:                                                 "[+6591234567]",
		`has(request.json.other) ? request.json.other : request.json.one`:                                       "[+6591234503]",
		`request.has("header.x-other") ? request.header("x-other") : "+65" + request.header("x-phone")`:         "[+6591234567]",
		`request.path("account") == "acme" && request.metadata("jwt.tenant") == "acme" ? request.json.one : ""`: "[+6591234503]",
		`request.json.other`:                 "missing",
		`request.header("x-other")`:          "missing",
		`request.header("x-two")`:            "unreadable", // another reader may take the other
		`request.json.n`:                     "unreadable", // a number is no text: it loses its plus
		`request.json.mixed`:                 "unreadable",
		`request.json.empty`:                 "missing",
		`request.json.nothing`:               "missing",
		`request.json.one + request.json.n`:  "unreadable",
		`request.form("To")`:                 "unreadable", // the body is no form
		`request.method == "GET" ? "x" : ""`: "missing",
	} {
		items, fault := reading(body).All(numberOf(t, expression))
		got := string(fault)
		if fault == "" {
			var texts []string
			for _, item := range items {
				texts = append(texts, item.Text)
			}
			got = fmt.Sprint(texts)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
	if _, fault := reading(`{"one":"a","one":"b"}`).All(numberOf(t, "request.json.one")); fault != extract.Unreadable {
		t.Errorf("a key that stands twice: %q", fault)
	}
	if _, fault := extract.Read(&extract.Request{TooLarge: true}).All(numberOf(t, "request.json.one")); fault != extract.Oversized {
		t.Errorf("too large: %q", fault)
	}
}

// What stands beside a number that an expression found is that of the same place.
func TestComputed_beside(t *testing.T) {
	p, err := policy.Parse("p", []byte(`version: 1
proxies:
  profiles:
    sms:
      match: POST /v1/{account}/messages
      number: {cel: 'request.json.list.map(m, m.to)'}
      subaccount: {cel: 'request.json.list.map(m, m.team)'}
      purpose: {cel: 'request.json.kind == "code" ? "otp" : "marketing"'}
`))
	if err != nil {
		t.Fatal(err)
	}
	profile, r := p.Proxies.Profiles["sms"], reading(`{"kind":"code","list":[{"to":"+1","team":"a"},{"to":"+2","team":"b"}]}`)
	items, fault := r.All(profile.Number)
	if fault != "" || len(items) != 2 {
		t.Fatal(items, fault)
	}
	for i, item := range items {
		team, fault := r.One(profile.Subaccount, item.At)
		purpose, fault2 := r.One(profile.Purpose, item.At)
		if team != []string{"a", "b"}[i] || purpose != "otp" || fault+fault2 != "" {
			t.Errorf("%d: %s %s %q %q", i, team, purpose, fault, fault2)
		}
	}
}

func TestComputed_errors(t *testing.T) {
	for expression, want := range map[string]string{
		`§reqest.json.to`:                    `there is no "reqest.json.to": did you mean "request.json"?`,
		`request.§headr("x")`:                `there is no "headr": did you mean "header"?`,
		`request.header(§"")`:                `"header." names nothing: write what stands behind the dot`,
		`request.header(request.json§.to)`:   `this must be written out: write a text in quotes`,
		`request.has(§"x-phone") ? "a" : ""`: `"x-phone" is not a selector: write a selector: body.json.FIELD`,
		`§request.method == "GET"`:           `this is a true or false and not a text`,
		`§"+6591234567"`:                     `this asks nothing of the request`,
		`§request.json.map(a, request.json.map(b, request.json.map(c, request.json.map(d, string(d)))))[0][0][0]`: `it may cost`,
	} {
		before, after, _ := strings.Cut(expression, "§")
		_, err := policy.Parse("p", []byte(profileWith(before+after)))
		if want := fmt.Sprintf("p:6:%d: proxies.profiles.sms.number.cel: ", len("      number: {cel: '")+len(before)+1) + want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", expression, err, want)
		}
	}
}

// Whatever the body is: no panic, bounded work, and items or a fault.
func FuzzComputed(f *testing.F) {
	for _, seed := range []string{`{"list":[{"to":"+1"}]}`, `{"list":{"to":1}}`, `[[[[]]]]`, `{"list":[1e999,null,true]}`, `{"list":["a","b"]}`} {
		f.Add([]byte(seed))
	}
	numbers := []extract.Selector{numberOf(f, `request.json.list.map(m, m.to)`), numberOf(f, `request.json.list`), numberOf(f, `string(request.json.list[0]) + request.json`),
		numberOf(f, `request.json.list.filter(m, m.startsWith("+"))`)}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, s := range numbers {
			if items, fault := reading(string(body)).All(s); (fault == "") != (len(items) > 0) {
				t.Errorf("%v and %q of %q", items, fault, body)
			}
		}
	})
}

// What finding the number costs, the reading of the body (140 bytes) included and beside it a selector.
func BenchmarkComputed(b *testing.B) {
	body := `{"text":"your code is 123456, do not show it to anybody","kind":"code","to":"+6591234567","list":[{"to":"+6591234501"},{"to":"+6591234502"}]}`
	plain, _ := extract.ParseSelector("body.json.to")
	list, _ := extract.ParseSelector("body.json.list[*].to")
	for _, way := range []struct {
		name   string
		number extract.Selector
	}{{"selector", plain}, {"cel", numberOf(b, "request.json.to")}, {"selector-list", list}, {"cel-list", numberOf(b, `request.json.list.map(m, m.to)`)}} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, fault := reading(body).All(way.number); fault != "" {
					b.Fatal(fault)
				}
			}
		})
	}
}
