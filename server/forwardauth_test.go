package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const checked = `
client_address: {trusted_proxies: [127.0.0.0/8]}
limits: [{name: number, by: [number], limit: 1, window: 1h}, {name: client, by: [client], limit: 2, window: 1h}]
proxies:
  challenge: {status: 401}
  profiles:
    login: {match: POST /login, number: header.x-phone}
    messages: {match: POST /messages, number: body.json.to}
  checks:
    ours: {original: x-forwarded, deny_status: 418, profile: login}
    haproxy: {deny_status: 403}
`

// prove asks a check and returns status, X-RL-Status and all that was said.
func (r *running) prove(t *testing.T, method, path, body string, header ...string) (string, *http.Response) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+"/v1/proxy/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := httpClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return http.StatusText(res.StatusCode) + " " + res.Header.Get("X-RL-Status") + " " + string(text), res
}

func TestForwardAuth_checks(t *testing.T) {
	for _, tt := range []struct {
		what, method, path, body string
		header                   []string
		want                     string // how what is said begins, the second time
	}{
		{"Envoy: method and path of its own", "POST", "envoy/login", "", []string{"x-phone", "+6581230001"}, "Too Many Requests 429 "},
		{"nginx knows 403 only", "GET", "nginx", "", []string{"X-Original-Method", "POST", "X-Original-URI", "/login?a=b", "x-phone", "+6581230001"}, "Forbidden 429 "},
		{"Caddy", "GET", "caddy", "", []string{"X-Forwarded-Method", "POST", "X-Forwarded-Uri", "/login", "x-phone", "+6581230001"}, "Too Many Requests 429 "},
		{"a body", "POST", "njs", `{"to":"+6581230001"}`, []string{"X-Original-Method", "POST", "X-Original-URI", "/messages", "Content-Type", "application/json"}, "Too Many Requests 429 "},
		{"what the policy changes of one", "POST", "haproxy", `{"to":"+6581230001"}`, []string{"X-Original-Method", "POST", "X-Original-URI", "/messages", "Content-Type", "application/json"}, "Forbidden 429 "},
		{"one of the policy's own", "GET", "ours", "", []string{"x-phone", "+6581230001"}, "I'm a teapot 429 "},
		{"the page of another site", "POST", "envoy/login", "", []string{"x-phone", "+6581230001", "Origin", "https://example.com", "Sec-Fetch-Site", "cross-site"}, "Too Many Requests 429 "},
		{"a client that chooses", "POST", "envoy/login?deny_status=200&profile=x", "", []string{"x-phone", "+6581230001", "X-RL-Status", "200", "X-Original-URI", "/x"}, "Too Many Requests 429 "},
		{"another path", "POST", "envoy//login", "", []string{"x-phone", "+6581230001"}, "Forbidden 403 "},
		{"dots", "POST", "envoy/x/../login", "", []string{"x-phone", "+6581230001"}, "Forbidden 403 "},
		{"nginx, and a path behind it", "GET", "nginx/login", "", []string{"x-phone", "+6581230001"}, "Forbidden 403 "},
		{"no number", "POST", "envoy/login", "", nil, "Bad Request 400 "},
		{"too large", "POST", "envoy/messages", strings.Repeat(" ", 2<<20), []string{"Content-Type", "application/json"}, "Request Entity Too Large 413 "},
		{"no such check", "GET", "apache", "", nil, `Not Found  {"title":"Not Found"`},
	} {
		r := start(t, setup{policy: checked})
		r.prove(t, tt.method, tt.path, tt.body, tt.header...)
		got, res := r.prove(t, tt.method, tt.path, tt.body, tt.header...)
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s", tt.what, got)
		}
		if strings.Contains(got, "8123") || strings.Contains(tt.want, "429") && (res.Header.Get("Retry-After") != "3600" || res.Header.Get("RateLimit") == "" || res.Header.Get("X-Sendgate-Verdict") != "deny") {
			t.Errorf("%s: %v", tt.what, res.Header)
		}
	}
}

// The client's address: what the proxy sets, else what a trusted proxy forwards, and never a header of an unknown name.
func TestForwardAuth_clientAddress(t *testing.T) {
	r := start(t, setup{policy: checked})
	for i, tt := range []struct {
		path, name, client string
		want               string
	}{
		{"envoy/login", "X-RL-Client-IP", "203.0.113.7", "OK 200 "},
		{"caddy", "X-RL-Client-IP", "203.0.113.7", "OK 200 "},
		{"traefik", "X-Forwarded-For", "203.0.113.7", "Too Many Requests 429 "},
		{"traefik", "X-RL-Client-IP", "203.0.113.7", "OK 200 "}, // it cannot set that, so a client did
		{"envoy/login", "X-Real-IP", "203.0.113.7", "OK 200 "},
	} {
		number := "+65812300" + string(rune('1'+i)) + "0"
		if got, _ := r.prove(t, "POST", tt.path, "", "x-phone", number, tt.name, tt.client, "X-Forwarded-Method", "POST", "X-Forwarded-Uri", "/login"); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s with %s: %s", tt.path, tt.name, got)
		}
	}
}
