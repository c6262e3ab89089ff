package proxies_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// edge is examples/envoy as a whole: Envoy, Sendgate and an application.
type edge struct {
	*envoy
	side   *sidecar
	app    *app
	client *http.Client
	dir    string
}

// startEdge runs the example; replace edits envoy.yaml.
func startEdge(t *testing.T, replace ...string) *edge {
	t.Helper()
	program(t, "envoy")
	e := &edge{dir: shortDir(t), app: startApp(t), client: plain(t)}
	e.side = startSidecar(t, example(t, "examples/envoy/policy.yaml"), e.dir)
	e.envoy = startEnvoy(t, edit(t, example(t, "examples/envoy/envoy.yaml", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+e.app.port(),
		"/run/sendgate/grpc.sock", e.side.grpc), replace...), e.dir)
	return e
}

func (e *edge) sms(number string, header ...string) reply {
	e.t.Helper()
	return request(e.t, e.client, "POST", e.url+"/api/v1/subaccounts/acme_hq/messages", `{"destination":"`+number+`","text":"hi"}`, append([]string{"Content-Type", "application/json; charset=utf-8"}, header...)...)
}

const (
	ok     = "ext_authz.sendgate.ok"
	denied = "ext_authz.sendgate.denied"
	erred  = "ext_authz.sendgate.error"
	open   = "ext_authz.sendgate.failure_mode_allowed"
)

func TestExtAuthz_allowThenDeny(t *testing.T) {
	e := startEdge(t)
	first := e.sms("+6581230001", "x-sendgate-verdict", "forged", "x-sendgate-check-id", "forged")
	at, n := e.app.last()
	if first.status != 200 || n != 1 || at.Header.Get("x-sendgate-verdict") != "allow" || len(at.Header["X-Sendgate-Check-Id"]) != 1 || at.Header.Get("x-sendgate-check-id") == "forged" {
		t.Errorf("%d, the application saw %v", first.status, at.Header)
	}
	if got := e.app.header("x-rl-client-ip"); got != "" {
		t.Errorf("the application sees the client address %q", got)
	}
	for name, client := range map[string]*http.Client{"h1": e.client, "h2": plain(t, func(p *http.Protocols) { p.SetHTTP1(false); p.SetUnencryptedHTTP2(true) })} {
		got := request(t, client, "POST", e.url+"/api/v1/subaccounts/acme_hq/messages", `{"destination":"+65 8123 0001"}`, "Content-Type", "application/json")
		h := got.header
		if got.status != 429 || h.Get("Retry-After") != "60" && h.Get("Retry-After") != "59" || h.Get("RateLimit-Policy") != `"number-minute";q=1;w=60` ||
			!strings.HasPrefix(h.Get("RateLimit"), `"number-minute";r=0;t=`) || h.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.body, `"status":429`) {
			t.Errorf("%s: %d %v %s", name, got.status, h, got.body)
		}
	}
	e.wantStats(ok, 1, denied, 2, erred, 0, open, 0)
	line := e.logged(2)
	facts, _ := line["sendgate"].(map[string]any)
	if line["why"] != "ext_authz_denied" || facts["verdict"] != "deny" || facts["rule"] != "number-minute" || facts["check_id"] == nil || line["check_us"] == nil {
		t.Errorf("access log: %v", line)
	}
	if strings.Contains(fmt.Sprint(e.logged(1), line), "8123") {
		t.Errorf("a number in the access log: %v", line)
	}
}

// header is what the application saw last.
func (a *app) header(name string) string {
	r, _ := a.last()
	return r.Header.Get(name)
}

func TestExtAuthz_grpcClients(t *testing.T) {
	e := startEdge(t, "- match: {path: /login/otp}", "- match: {path: /grpc.health.v1.Health/Check}")
	conn, err := grpc.NewClient(strings.TrimPrefix(e.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-phone", "+6581230001")
	client := healthgrpc.NewHealthClient(conn)
	client.Check(ctx, &healthgrpc.HealthCheckRequest{}) // passes, to an application that speaks no gRPC
	_, err = client.Check(ctx, &healthgrpc.HealthCheckRequest{})
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || !strings.HasPrefix(s.Message(), "too many requests: try again in ") {
		t.Errorf("%v", err)
	}
	e.wantStats(ok, 1, denied, 1)
}

func TestExtAuthz_bodies(t *testing.T) {
	e := startEdge(t)
	url := e.url + "/api/v1/subaccounts/acme_hq/messages"
	const json = "application/json"
	big := `{"text":"` + strings.Repeat("x", 9000) + `","destination":"+6581230001"}`
	for _, tt := range []struct {
		name   string
		body   string
		status int
		header []string
	}{
		{"larger than Envoy buffers", big, 413, []string{"Content-Type", json}},
		{"the same with a forged mark", big, 413, []string{"Content-Type", json, "x-envoy-auth-partial-body", "false"}},
		{"compressed", "\x1f\x8b", 415, []string{"Content-Type", json, "Content-Encoding", "gzip"}},
		{"text", `{"destination":"+6581230001"}`, 400, []string{"Content-Type", "text/plain"}},
		{"a JSON number", `{"destination":6581230001}`, 400, []string{"Content-Type", json}},
		{"twice", `{"destination":"+6581230001","destination":"+6581230002"}`, 400, []string{"Content-Type", json}},
		{"other case beside", `{"destination":"+6581230003","DESTINATION":"+6581230001"}`, 200, []string{"Content-Type", json}},
		{"none", ``, 400, []string{"Content-Type", json}},
	} {
		if got := request(t, e.client, "POST", url, tt.body, tt.header...); got.status != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, got.status, tt.status, got.body)
		}
	}
	form := func(body string) int {
		return request(t, e.client, "POST", e.url+"/2010-04-01/Accounts/AC123/Messages.json", body, "Content-Type", "application/x-www-form-urlencoded").status
	}
	if got := []int{form("To=%2B6581230011"), form("To=%2B6581230012&To=%2B6581230013"), form("to=%2B6581230014")}; fmt.Sprint(got) != "[200 400 400]" {
		t.Errorf("forms: %v", got)
	}
	chunked := request(t, e.client, "POST", url, `{"destination":"+6581230015"}`, "Content-Type", json, "Transfer-Encoding", "chunked")
	batch := func(numbers ...string) int {
		return request(t, e.client, "POST", e.url+"/api/v1/batch", `{"messages":[{"destination":"`+strings.Join(numbers, `"},{"destination":"`)+`"}]}`, "Content-Type", json).status
	}
	got := []int{chunked.status, batch("+6581230021", "+6581230022"), batch("+6581230023", "+6581230021"), batch("+6581230023")}
	if fmt.Sprint(got) != "[200 200 429 200]" {
		t.Errorf("chunked and batches: %v", got)
	}
	// What Envoy refuses itself never reaches the sidecar.
	e.wantStats(ok, 5, denied, 8, erred, 0)
}

// With allow_partial_message Envoy sends the beginning and says so.
func TestExtAuthz_partialBody(t *testing.T) {
	e := startEdge(t, "allow_partial_message: false", "allow_partial_message: true")
	big := `{"destination":"+6581230001","text":"` + strings.Repeat("x", 9000) + `"}`
	got := request(t, e.client, "POST", e.url+"/api/v1/subaccounts/acme_hq/messages", big, "Content-Type", "application/json", "x-envoy-auth-partial-body", "false")
	if got.status != 413 {
		t.Errorf("%d %s", got.status, got.body)
	}
	e.wantStats(denied, 1)
}

// Other spellings of a limited path either become the path or are refused.
func TestExtAuthz_evasions(t *testing.T) {
	e := startEdge(t)
	e.sms("+6581230001")
	for path, want := range map[string]int{
		"//api/v1/subaccounts/acme_hq/messages":      429,
		"/x/../api/v1/subaccounts/acme_hq/messages":  429,
		"/api/v1/subaccounts/acme_hq/%6dessages":     429,
		"/api/v1/subaccounts/acme_hq/messages?a=b":   429,
		"/api/v1/subaccounts/acme_hq%2Fmessages":     307,
		"/api/v1/subaccounts/acme_hq/messages/":      403,
		"/API/v1/subaccounts/acme_hq/messages":       403,
		"/api/v1/subaccounts/acme_hq/messages;x=1":   403,
		"/api/v1/subaccounts/acme_hq/Messages":       403,
		"/api/v1/subaccounts/acme_hq/./messages":     429,
		"/api/v1/subaccounts/a/b/messages":           403,
		"/api/v1/subaccounts/acme_hq/messages%3Bx=1": 403,
	} {
		got := request(t, e.client, "POST", e.url+path, `{"destination":"+6581230001"}`, "Content-Type", "application/json")
		if got.status != want {
			t.Errorf("%s: %d, want %d", path, got.status, want)
		}
	}
	if got := request(t, e.client, "GET", e.url+"/healthz", ""); got.status != 200 {
		t.Errorf("a route that is not asked about: %d", got.status)
	}
	_, n := e.app.last()
	if n != 2 {
		t.Errorf("the application saw %d requests, want 2", n)
	}
	e.wantStats(ok, 1, denied, 11)
}

// The configuration for a pod, run as it is.
func TestExtAuthz_pod(t *testing.T) {
	program(t, "envoy")
	dir, behind := shortDir(t), startApp(t)
	side := startSidecar(t, example(t, "deploy/envoy/policy.yaml"), dir)
	e := startEnvoy(t, example(t, "deploy/envoy/envoy.yaml", "address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0",
		"port_value: 8080", "port_value: "+behind.port(), "/run/sendgate/grpc.sock", side.grpc), dir)
	client := plain(t)
	for _, want := range []int{200, 429} {
		if got := request(t, client, "POST", e.url+"/login/otp", "", "x-phone", "+6581230001", "X-Forwarded-For", "198.51.100.7"); got.status != want {
			t.Errorf("%d, want %d", got.status, want)
		}
	}
	e.wantStats(ok, 1, denied, 1)
}

// Two lines of one header are two numbers, whichever way Envoy writes them down.
func TestExtAuthz_headerTwice(t *testing.T) {
	for _, raw := range []bool{false, true} {
		e := startEdge(t, "emit_filter_state_stats: true", fmt.Sprintf("emit_filter_state_stats: true\n              encode_raw_headers: %v", raw))
		login := func(header ...string) int {
			return request(t, e.client, "POST", e.url+"/login/otp", "x", header...).status
		}
		got := []int{login("x-phone", "+6581230001", "x-phone", "+6581230002"), login("x-phone", "+6581230001"), login()}
		if fmt.Sprint(got) != "[400 200 400]" {
			t.Errorf("encode_raw_headers %v: %v", raw, got)
		}
	}
}
