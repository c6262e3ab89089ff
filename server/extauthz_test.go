package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
)

const proxied = `
limits:
  - {name: number-hour, by: [number], limit: 1, window: 1h}
  - {name: client-hour, by: [client], limit: 3, window: 1h, on_limit: challenge}
proxies:
  profiles:
    sms:
      match: "POST /v1/accounts/{account}/messages"
      number: body.json.destination
      account: path.account
    batch: {match: POST /batch, number: "body.json.messages[*].to", max_sends: 3}
    form: {match: POST /form, number: body.form.To}
    login: {match: [POST /login, POST /api.Login/Start], number: header.x-phone, account: metadata.envoy.filters.http.jwt_authn.jwt_payload.tenant}
    loose: {match: POST /loose, number: body.json.to, on_missing: count, on_unreadable: allow}
`

// asked is a request as Envoy asks about it.
type asked struct {
	method, target, body string
	header               map[string]string
	profile              string
	size                 int64
	client               string // as %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% in the call's metadata
	jwt                  map[string]any
}

func (a asked) request(t *testing.T) *authv3.CheckRequest {
	t.Helper()
	header := map[string]string{":path": a.target}
	if a.body != "" {
		header["content-type"] = "application/json"
	}
	for k, v := range a.header {
		header[k] = v
	}
	if a.method == "" {
		a.method = "POST"
	}
	out := &authv3.AttributeContext{
		Source:  &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1"}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: a.method, Path: a.target, Headers: header, RawBody: []byte(a.body), Size: a.size}},
	}
	if a.profile != "" {
		out.ContextExtensions = map[string]string{"profile": a.profile}
	}
	if a.jwt != nil {
		claims, err := structpb.NewStruct(map[string]any{"jwt_payload": a.jwt})
		if err != nil {
			t.Fatal(err)
		}
		out.MetadataContext = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.jwt_authn": claims}}
	}
	return &authv3.CheckRequest{Attributes: out}
}

func (r *running) ask(t *testing.T, a asked) *authv3.CheckResponse {
	t.Helper()
	ctx := t.Context()
	if a.client != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-rl-client-ip", a.client)
	}
	out, err := authv3.NewAuthorizationClient(r.conn).Check(ctx, a.request(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// summary is an answer in a word: pass, error, or the status of a refusal; and why.
func summary(out *authv3.CheckResponse) string {
	facts := out.GetDynamicMetadata().AsMap()
	why := fmt.Sprint(facts["verdict"])
	if facts["reason"] != nil {
		why += fmt.Sprint(" ", facts["reason"])
	}
	switch {
	case out.GetOkResponse() != nil:
		return "pass " + why
	case out.GetErrorResponse() != nil:
		return fmt.Sprint("error ", int(out.GetErrorResponse().Status.Code), " ", why)
	}
	return fmt.Sprint(int(out.GetDeniedResponse().GetStatus().GetCode()), " ", why)
}

func headersOf(options []*corev3.HeaderValueOption) map[string]string {
	out := map[string]string{}
	for _, o := range options {
		out[o.Header.Key] = o.Header.Value
	}
	return out
}

func to(number string) string { return `{"destination":"` + number + `"}` }

func TestExtAuthz_profilesAndBodies(t *testing.T) {
	r := start(t, setup{policy: proxied})
	const path = "/v1/accounts/acme/messages"
	for i, tt := range []struct {
		name string
		ask  asked
		want string
	}{
		{"json by path", asked{target: path, body: to("+6581230001")}, "pass allow"},
		{"again", asked{target: path, body: to("+65 8123 0001")}, "429 deny limit:number-hour"},
		{"query", asked{target: path + "?x=1", body: to("+6581230002")}, "pass allow"},
		{"by route, whatever the path", asked{target: "/login", profile: "form", body: "To=%2B6581230003", header: map[string]string{"content-type": "application/x-www-form-urlencoded"}}, "pass allow"},
		{"header and claim", asked{target: "/login", header: map[string]string{"x-phone": "+6581230004"}, jwt: map[string]any{"tenant": "acme"}}, "pass allow"},
		{"no claim", asked{target: "/login", header: map[string]string{"x-phone": "+6581230005"}}, "400 deny proxy:missing"},
		{"no header", asked{target: "/login", jwt: map[string]any{"tenant": "acme"}}, "400 deny proxy:missing"},
		{"unknown profile", asked{target: path, profile: "smss", body: to("+6581230006")}, "500 deny proxy:profile"},
		{"no number", asked{target: path, body: `{}`}, "400 deny proxy:missing"},
		{"no phone number", asked{target: path, body: to("hello")}, "400 deny invalid:number_invalid"},
		{"key twice", asked{target: path, body: `{"destination":"+6581230007","destination":"+6581230008"}`}, "400 deny proxy:unreadable"},
		{"other case", asked{target: path, body: `{"destination":"+6581230009","DESTINATION":"+6581230001"}`}, "pass allow"},
		{"gzip", asked{target: path, body: to("+6581230010"), header: map[string]string{"content-encoding": "gzip"}}, "415 deny proxy:compressed"},
		{"cut off", asked{target: path, body: to("+6581230011"), size: 9000}, "413 deny proxy:partial"},
		{"cut off, by header", asked{target: path, body: to("+6581230011"), header: map[string]string{"x-envoy-auth-partial-body": "true"}}, "413 deny proxy:partial"},
		{"count", asked{target: "/loose", body: `{}`}, "pass unchecked proxy:missing"},
		{"allow", asked{target: "/loose", body: `{`}, "pass unchecked proxy:unreadable"},
		// The evasions: nothing of this may pass as something else.
		{"trailing slash", asked{target: path + "/", body: to("+6581230001")}, "403 deny proxy:unmatched"},
		{"upper case", asked{target: "/V1/accounts/acme/messages", body: to("+6581230001")}, "403 deny proxy:unmatched"},
		{"parameter", asked{target: path + ";x=1", body: to("+6581230001")}, "403 deny proxy:unmatched"},
		{"two slashes", asked{target: "//v1/accounts/acme/messages", body: to("+6581230001")}, "403 deny proxy:unmatched"},
		{"dots", asked{target: "/v1/x/../accounts/acme/messages", body: to("+6581230001")}, "403 deny proxy:unmatched"},
		{"percent", asked{target: "/v1/accounts/acme/%6dessages", body: to("+6581230001")}, "403 deny proxy:unmatched"},
		{"other method", asked{method: "PUT", target: path, body: to("+6581230001")}, "403 deny proxy:unmatched"},
	} {
		tt.ask.client = fmt.Sprintf("203.0.113.%d", i+1)
		if got := summary(r.ask(t, tt.ask)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	res, err := httpClient(t).Get(r.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`sendgate_unchecked_total{action="deny",cause="unmatched"} 7`, `sendgate_unchecked_total{action="count",cause="missing"} 1`,
		`sendgate_check_seconds_count{surface="ext_authz"} 7`,
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestExtAuthz_whatTheClientIsTold(t *testing.T) {
	r := start(t, setup{policy: proxied})
	ask := asked{target: "/login", header: map[string]string{"x-phone": "+6581230001"}, jwt: map[string]any{"tenant": "acme"}}
	passed := r.ask(t, ask)
	up := headersOf(passed.GetOkResponse().Headers)
	if up["x-sendgate-verdict"] != "allow" || up["x-sendgate-check-id"] == "" {
		t.Errorf("the application is told %v", up)
	}
	denied := r.ask(t, ask).GetDeniedResponse()
	h := headersOf(denied.Headers)
	if h["retry-after"] != "3600" || h["ratelimit-policy"] != `"number-hour";q=1;w=3600` || h["ratelimit"] != `"number-hour";r=0;t=3600` || h["content-type"] != "application/problem+json" || h["grpc-status"] != "" {
		t.Errorf("headers %v", h)
	}
	var p struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal([]byte(denied.Body), &p); err != nil || p.Status != 429 || p.Title != "Too Many Requests" || !strings.Contains(p.Detail, "3600 s") {
		t.Errorf("body %s", denied.Body)
	}
	ask.header["content-type"] = "application/grpc"
	ask.target = "/api.Login/Start"
	denied = r.ask(t, ask).GetDeniedResponse()
	if h := headersOf(denied.Headers); h["grpc-status"] != "8" || h["content-type"] != "" || strings.ContainsAny(denied.Body, "{}\n") {
		t.Errorf("to gRPC: %v %q", h, denied.Body)
	}
	// A challenge, for the client who asked for too many numbers.
	var got *authv3.CheckResponse
	for i := range 4 {
		ask := ask
		ask.client, ask.header = "203.0.113.9", map[string]string{"x-phone": fmt.Sprintf("+658123002%d", i)}
		got = r.ask(t, ask)
	}
	if h := headersOf(got.GetDeniedResponse().GetHeaders()); summary(got) != "403 challenge limit:client-hour" || h["x-sendgate-challenge"] != "required" {
		t.Errorf("%s %v", summary(got), h)
	}
	// Nothing that Envoy logs, and nothing that the client sees, holds the number.
	for _, out := range []fmt.Stringer{passed, got} {
		if strings.Contains(out.String(), "8123002") || strings.Contains(out.String(), "8123000") {
			t.Errorf("a number in %s", out)
		}
	}
}

func TestExtAuthz_clientAddress(t *testing.T) {
	r := start(t, setup{policy: "limits: [{name: client, by: [client], limit: 1, window: 1h}]\nproxies: {profiles: {a: {match: POST /a, number: header.x-phone}, b: {match: POST /b, number: header.x-phone, client_address: header.x-end-user}}}"})
	n := 0
	check := func(what, want string, a asked) {
		t.Helper()
		n++
		if a.header == nil {
			a.header = map[string]string{}
		}
		a.header["x-phone"] = fmt.Sprintf("+658123%04d", n)
		if got := summary(r.ask(t, a)); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	const allow, deny = "pass allow", "429 deny limit:client"
	check("Envoy's word", allow, asked{target: "/a", client: "203.0.113.7"})
	check("the same", deny, asked{target: "/a", client: "203.0.113.7", header: map[string]string{"x-forwarded-for": "198.51.100.1", "x-rl-client-ip": "198.51.100.2"}})
	check("without it the peer", allow, asked{target: "/a"})
	check("the same peer", deny, asked{target: "/a", header: map[string]string{"x-rl-client-ip": "198.51.100.2", "x-envoy-external-address": "8.8.8.8"}})
	check("an end user behind", allow, asked{target: "/b", client: "203.0.113.7", header: map[string]string{"x-end-user": "198.51.100.9"}})
	check("the same end user", deny, asked{target: "/b", client: "203.0.113.8", header: map[string]string{"x-end-user": "198.51.100.9"}})
	check("an address that is none", "400 deny invalid:client_address_invalid", asked{target: "/b", header: map[string]string{"x-end-user": "localhost"}})
}

func TestExtAuthz_batchesAreOneCheckEach(t *testing.T) {
	r := start(t, setup{policy: proxied})
	batch := func(numbers ...string) asked {
		var messages []string
		for _, n := range numbers {
			messages = append(messages, `{"to":"`+n+`"}`)
		}
		return asked{target: "/batch", body: `{"messages":[` + strings.Join(messages, ",") + `]}`, client: "203.0.113.7"}
	}
	first := r.ask(t, batch("+6581230001", "+6581230002"))
	ids := strings.Split(headersOf(first.GetOkResponse().GetHeaders())["x-sendgate-check-id"], ",")
	if summary(first) != "pass allow" || len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("%s %v", summary(first), ids)
	}
	for _, tt := range []struct {
		numbers []string
		want    string
	}{
		{[]string{"+6581230003", "+6581230001"}, "429 deny limit:number-hour"}, // one is denied, so none goes out
		{[]string{"+6581230003"}, "pass allow"},                                // and none was charged
		{[]string{"+6581230004"}, "403 challenge limit:client-hour"},           // two and one: the client's three are used up
		{[]string{"+1", "+2", "+3", "+4"}, "413 deny proxy:max_sends"},
		{[]string{"+6581230006", "nobody"}, "400 deny invalid:number_invalid"},
	} {
		if got := summary(r.ask(t, batch(tt.numbers...))); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.numbers, got, tt.want)
		}
	}
}

func TestExtAuthz_withoutASection(t *testing.T) {
	r := start(t, setup{})
	if got := summary(r.ask(t, asked{target: "/"})); got != "error 500 error NO_PROXIES" {
		t.Error(got)
	}
}
