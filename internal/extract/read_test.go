package extract_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/extract"
)

func selector(t testing.TB, text string) extract.Selector {
	t.Helper()
	s, err := extract.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func headers(lines map[string][]string) func(string) []string {
	return func(name string) []string { return lines[name] }
}

func jsonBody(body string) *extract.Request {
	return &extract.Request{Method: "POST", Target: "/m", Body: []byte(body), Header: headers(map[string][]string{"content-type": {"application/json; charset=utf-8"}})}
}

func formBody(body string) *extract.Request {
	return &extract.Request{Body: []byte(body), Header: headers(map[string][]string{"content-type": {"application/x-www-form-urlencoded"}})}
}

func TestAll_strictJSON(t *testing.T) {
	for name, tt := range map[string]struct {
		body  string
		want  string
		fault extract.Fault
	}{
		"plain":                       {`{"destination":"+6581234567"}`, "+6581234567", ""},
		"escaped key":                 {`{"\u0064estination":"+6581234567"}`, "+6581234567", ""},
		"case is another key":         {`{"DESTINATION":"+1","destination":"+6581234567"}`, "+6581234567", ""},
		"only another case":           {`{"Destination":"+6581234567"}`, "", extract.Missing},
		"twice":                       {`{"destination":"+1","destination":"+6581234567"}`, "", extract.Unreadable},
		"twice, one escaped":          {`{"destination":"+1","d\u0065stination":"+6581234567"}`, "", extract.Unreadable},
		"another key twice":           {`{"a":1,"a":2,"destination":"+6581234567"}`, "", extract.Unreadable},
		"twice, deep":                 {`{"x":{"a":1,"a":2},"destination":"+6581234567"}`, "", extract.Unreadable},
		"a number":                    {`{"destination":6581234567}`, "", extract.Unreadable},
		"null":                        {`{"destination":null}`, "", extract.Missing},
		"empty":                       {`{"destination":""}`, "", extract.Missing},
		"a list":                      {`{"destination":["+6581234567"]}`, "", extract.Unreadable},
		"not an object":               {`"+6581234567"`, "", extract.Unreadable},
		"two values":                  {`{"destination":"+6581234567"}{"destination":"+1"}`, "", extract.Unreadable},
		"trailing comma":              {`{"destination":"+6581234567",}`, "", extract.Unreadable},
		"comment":                     {`{/*"destination":"+1",*/"destination":"+6581234567"}`, "", extract.Unreadable},
		"single quotes":               {`{'destination':'+6581234567'}`, "", extract.Unreadable},
		"byte order mark":             {"\ufeff" + `{"destination":"+6581234567"}`, "", extract.Unreadable},
		"UTF-16":                      {"{\x00\"\x00", "", extract.Unreadable},
		"invalid UTF-8":               {"{\"a\":\"\xff\",\"destination\":\"+6581234567\"}", "", extract.Unreadable},
		"cut off":                     {`{"destination":"+658`, "", extract.Unreadable},
		"too deep":                    {strings.Repeat("[", 70) + strings.Repeat("]", 70), "", extract.Unreadable},
		"nothing":                     {``, "", extract.Missing},
		"the number stands elsewhere": {`{"to":{"destination":"+6581234567"}}`, "", extract.Missing},
	} {
		items, fault := extract.Read(jsonBody(tt.body)).All(selector(t, "body.json.destination"))
		got := ""
		if fault == "" {
			got = items[0].Text
		}
		if got != tt.want || fault != tt.fault {
			t.Errorf("%s: %q, %q; want %q, %q", name, got, fault, tt.want, tt.fault)
		}
	}
}

func TestAll_bodies(t *testing.T) {
	good := `{"destination":"+6581234567"}`
	with := func(change func(*extract.Request)) *extract.Request {
		r := jsonBody(good)
		change(r)
		return r
	}
	header := func(name string, lines ...string) *extract.Request {
		h := map[string][]string{"content-type": {"application/json"}}
		h[name] = lines
		return with(func(r *extract.Request) { r.Header = headers(h) })
	}
	for name, tt := range map[string]struct {
		request *extract.Request
		fault   extract.Fault
	}{
		"whole":                {with(func(r *extract.Request) { r.Size = int64(len(good)) }), ""},
		"cut off by the proxy": {with(func(r *extract.Request) { r.Size = 9000 }), extract.Partial},
		"not buffered":         {with(func(r *extract.Request) { r.Body, r.Size = nil, 29 }), extract.Partial},
		"too large":            {with(func(r *extract.Request) { r.TooLarge = true }), extract.Oversized},
		"gzip":                 {header("content-encoding", "gzip"), extract.Compressed},
		"identity":             {header("content-encoding", "identity"), ""},
		"two encodings":        {header("content-encoding", "identity", "gzip"), extract.Compressed},
		"problem+json":         {header("content-type", "application/vnd.api+json"), ""},
		"text":                 {header("content-type", "text/plain"), extract.Unreadable},
		"another charset":      {header("content-type", "application/json; charset=utf-16"), extract.Unreadable},
		"two types":            {header("content-type", "application/json", "text/plain"), extract.Unreadable},
		"two types in a line":  {header("content-type", "application/json,text/plain"), extract.Unreadable},
		"no type":              {header("content-type"), extract.Unreadable},
	} {
		if _, fault := extract.Read(tt.request).All(selector(t, "body.json.destination")); fault != tt.fault {
			t.Errorf("%s: %q, want %q", name, fault, tt.fault)
		}
	}
}

func TestOne_form(t *testing.T) {
	for body, want := range map[string]string{
		"To=%2B6581234567&Body=x": "+6581234567",
		"To=a&To=b":               "unreadable",
		"to=a":                    "missing",
		"To=":                     "missing",
		"To=a;To=b":               "unreadable",
		"To=%zz":                  "unreadable",
	} {
		got, fault := extract.Read(formBody(body)).One(selector(t, "body.form.To"), nil)
		if got+string(fault) != want {
			t.Errorf("%s: %q %q, want %s", body, got, fault, want)
		}
	}
}

func TestOne_sources(t *testing.T) {
	template, err := extract.ParseTemplate("POST /accounts/{account}/messages")
	if err != nil {
		t.Fatal(err)
	}
	r := extract.Read(&extract.Request{
		Method: "POST", Target: "/accounts/acme%20hq/messages?to=1&twice=1&twice=2",
		Header:        headers(map[string][]string{"x-phone": {" +65 8123 4567 "}, "x-two": {"a", "b"}}),
		GRPC:          headers(map[string][]string{"x-rl-client-ip": {"203.0.113.7"}}),
		Context:       map[string]string{"tenant": "acme"},
		Metadata:      map[string]any{"envoy.filters.http.jwt_authn": map[string]any{"jwt_payload": map[string]any{"tenant": "acme", "level": 3.0}}, "envoy": map[string]any{"filters": "no"}},
		RouteMetadata: map[string]any{"sendgate": map[string]any{"purpose": "otp"}},
		PeerAddress:   "198.51.100.1", PeerPrincipal: "spiffe://lab/client",
	})
	if !r.MatchPath(template) {
		t.Fatal("the template does not match")
	}
	for text, want := range map[string]string{
		"header.X-Phone": "+65 8123 4567", "header.x-two": "unreadable", "header.x-none": "missing",
		"query.to": "1", "query.twice": "unreadable", "query.none": "missing",
		"path.account": "acme hq", "path.none": "missing",
		"context.tenant": "acme", "grpc.x-rl-client-ip": "203.0.113.7",
		"metadata.envoy.filters.http.jwt_authn.jwt_payload.tenant": "acme",
		"metadata.envoy.filters.http.jwt_authn.jwt_payload.level":  "3",
		"metadata.envoy.filters.http.jwt_authn.jwt_payload":        "unreadable",
		"metadata.none.x":                 "missing",
		"route_metadata.sendgate.purpose": "otp",
		"peer.address":                    "198.51.100.1", "peer.principal": "spiffe://lab/client",
		"value.otp": "otp",
	} {
		got, fault := r.One(selector(t, text), nil)
		if got+string(fault) != want {
			t.Errorf("%s: %q %q, want %s", text, got, fault, want)
		}
	}
}

func TestAll_batches(t *testing.T) {
	r := extract.Read(jsonBody(`{"messages":[
		{"sender":"a","to":[{"number":"+1"},{"number":"+2"}]},
		{"sender":"b","to":[{"number":"+3"}]}]}`))
	items, fault := r.All(selector(t, "body.json.messages[*].to[*].number"))
	if fault != "" {
		t.Fatal(fault)
	}
	var got []string
	for _, item := range items {
		sender, fault := r.One(selector(t, "body.json.messages[*].sender"), item.At)
		got = append(got, fmt.Sprint(item.Text, sender, fault))
	}
	if want := []string{"+1a", "+2a", "+3b"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for body, want := range map[string]extract.Fault{
		`{"messages":[]}`:                     extract.Missing,
		`{"messages":{}}`:                     extract.Unreadable,
		`{}`:                                  extract.Missing,
		`{"messages":[{"to":"+1"},{}]}`:       extract.Missing,
		`{"messages":[{"to":"+1"},null]}`:     extract.Missing,
		`{"messages":[{"to":"+1"},{"to":2}]}`: extract.Unreadable,
	} {
		if _, fault := extract.Read(jsonBody(body)).All(selector(t, "body.json.messages[*].to")); fault != want {
			t.Errorf("%s: %q, want %q", body, fault, want)
		}
	}
}

// What the proxy does not normalise must match no template: unmatched requests have a policy of their own.
func TestMatchPath(t *testing.T) {
	template, err := extract.ParseTemplate("POST /api/{account}/messages")
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"/api/acme/messages": true, "/api/acme/messages?x=1": true,
		"/api/acme/messages/": false, "/API/acme/messages": false, "/api/acme/messages;x=1": false, "//api/acme/messages": false,
		"/api/acme/../messages": false, "/api/./messages": false, "/api/%2e%2e/messages": false, "/api/a%2Fb/messages": false,
		"/api/acme/%6dessages": false, "/api//messages": false, "/api/a;b/messages": false, "": false, "*": false,
	} {
		if got := extract.Read(&extract.Request{Method: "POST", Target: target}).MatchPath(template); got != want {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
	if extract.Read(&extract.Request{Method: "GET", Target: "/api/acme/messages"}).MatchPath(template) {
		t.Error("GET matches POST")
	}
}

func TestParse_errorsSayWhatToWrite(t *testing.T) {
	for _, text := range []string{"", "otp", "heder.x", "header.", "body.json.", "body.json.a..b", "body.json.a[0]", "body.json.a*",
		"peer.port", "query.a[*]", "header." + strings.Repeat("x", 300)} {
		if _, err := extract.ParseSelector(text); err == nil || !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "has") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "/a", "post /a", "POST a", "POST /a b", "POST /{a}/{a}", "POST /x{a}", "POST /../a", "POST /a?b"} {
		if _, err := extract.ParseTemplate(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func TestBeside(t *testing.T) {
	number := selector(t, "body.json.messages[*].to[*].number")
	for text, want := range map[string]bool{
		"body.json.messages[*].sender": true, "body.json.account": true, "header.x": true, "body.json.messages[*].to[*].x": true,
		"body.json.others[*].x": false, "body.json.messages[*].cc[*].x": false, "body.json.messages[*].to[*].number[*]": false,
	} {
		if got := number.Beside(selector(t, text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// Whatever the bytes are: no panic, and what is found is one of the strings that stand in them.
func FuzzAll(f *testing.F) {
	for _, seed := range []string{`{"m":[{"to":"+1"}]}`, `{"m":[{"to":"+1","to":"+2"}]}`, `[`, `{"m":null}`, "\xff", `{"m":[{"\u0074o":"x"}]}`} {
		f.Add([]byte(seed))
	}
	s, err := extract.ParseSelector("body.json.m[*].to")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := extract.Read(&extract.Request{Body: body, Header: headers(map[string][]string{"content-type": {"application/json"}})})
		items, fault := r.All(s)
		if (fault == "") != (len(items) > 0) && fault == "" {
			t.Errorf("no fault and no item in %q", body)
		}
	})
}
