package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

// httpClient keeps no connection open, so that none outlives its test.
func httpClient(t *testing.T) *http.Client {
	t.Helper()
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func (r *running) do(t *testing.T, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d does
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := httpClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func (r *running) post(t *testing.T, path, body string, headers ...string) *http.Response {
	t.Helper()
	return r.do(t, "POST", path, body, headers...)
}

func read(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// metric is the value of one series.
func (r *running) metric(t *testing.T, series string) string {
	t.Helper()
	for line := range strings.Lines(read(t, r.do(t, "GET", "/metrics", ""))) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestHTTPCheck(t *testing.T) {
	r := start(t, setup{policy: `client_address: {missing_client: deny}
limits:
  - {name: number-minute, by: [number], limit: 1, window: 60s}
  - {name: soft, by: [client], limit: 2, window: 90s500ms, on_limit: challenge}`,
		clock: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	steps := []struct {
		name, body string
		status     int
		headers    map[string]string
		fields     map[string]any
	}{
		{"allowed", `{"number":"+6581234567","clientAddress":"203.0.113.7"}`, 200,
			map[string]string{"RateLimit": `"number-minute";r=0`, "RateLimit-Policy": `"number-minute";q=1;w=60`, "Retry-After": "", "Content-Type": "application/json"},
			map[string]any{"verdict": "VERDICT_ALLOW", "rule": "number-minute"}},
		{"limited", `{"number":"+6581234567","client_address":"203.0.113.7"}`, 429,
			map[string]string{"RateLimit": `"number-minute";r=0;t=60`, "Retry-After": "60", "Cache-Control": "no-store"},
			map[string]any{"verdict": "VERDICT_DENY", "reason": "limit:number-minute", "retryAfter": "60s"}},
		{"allowed again", `{"number":"+6581234568","clientAddress":"203.0.113.7","purpose":"PURPOSE_TRANSACTIONAL","cost":"1"}`, 200, nil, nil},
		{"challenged, seconds rounded up", `{"number":"+6581234569","clientAddress":"203.0.113.7"}`, 403,
			map[string]string{"RateLimit": `"soft";r=0;t=91`, "RateLimit-Policy": `"soft";q=2;w=91`, "Retry-After": "91"},
			map[string]any{"verdict": "VERDICT_CHALLENGE", "retryAfter": "90.500s"}},
		{"waiting does not help", `{"number":"+6581234569"}`, 403,
			map[string]string{"RateLimit": "", "Retry-After": ""},
			map[string]any{"verdict": "VERDICT_DENY", "reason": "client:missing"}},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			res := r.post(t, "/v1/check", s.body)
			body := read(t, res)
			if res.StatusCode != s.status {
				t.Fatalf("%s %s, want %d", res.Status, body, s.status)
			}
			for k, v := range s.headers {
				if got := res.Header.Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			for k, v := range s.fields {
				if got[k] != v {
					t.Errorf("%s: %v, want %v", k, got[k], v)
				}
			}
		})
	}
}

func TestHTTPCheck_badRequests(t *testing.T) {
	r := start(t, setup{})
	for name, tt := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		says               string
	}{
		"misspelt field":       {"POST", "/v1/check", `{"number":"+6581234567","clientAddres":"203.0.113.7"}`, nil, 400, `unknown field \"clientAddres\"`},
		"same field twice":     {"POST", "/v1/check", `{"number":"+6581234567","number":"+6581234568"}`, nil, 400, `duplicate field \"number\"`},
		"no JSON":              {"POST", "/v1/check", `number=+6581234567`, nil, 400, "write an object"},
		"empty":                {"POST", "/v1/check", ``, nil, 400, "write an object"},
		"wrong type":           {"POST", "/v1/check", `{"number":6581234567}`, nil, 400, "wrong type"},
		"cut off":              {"POST", "/v1/check", `{"number":"+6581234567`, nil, 400, "write an object"},
		"more behind it":       {"POST", "/v1/check", `{"number":"+6581234567"} {}`, nil, 400, "write an object"},
		"field in its JSON":    {"POST", "/v1/check", `{"number":"+6581234567","clientAddress":"x"}`, nil, 400, `"field":"clientAddress"`},
		"cost that never fits": {"POST", "/v1/check", `{"number":"+6581234567","clientAddress":"203.0.113.7","cost":2}`, nil, 400, `rule \"number-minute\"`},
		"too large":            {"POST", "/v1/check", `{"number":"` + strings.Repeat("1", 10<<20) + `"}`, nil, 413, "larger than 65536 bytes"},
		"GET":                  {"GET", "/v1/check", "", nil, 405, "POST"},
		"no such path":         {"GET", "/v1/chek", "", nil, 404, "POST /v1/check"},
		"a page elsewhere":     {"POST", "/v1/check", `{"number":"+6581234567"}`, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "cross-origin"},
	} {
		t.Run(name, func(t *testing.T) {
			res := r.do(t, tt.method, tt.path, tt.body, tt.headers...)
			body := read(t, res)
			if res.StatusCode != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%s %s\nwant %d saying %s", res.Status, body, tt.status, tt.says)
			}
			if strings.Contains(body, "658123456") && !strings.Contains(body, `like {\"number\":\"+6581234567\"`) || strings.Count(body, "658123456") > 1 {
				t.Errorf("the number comes back: %s", body)
			}
		})
	}
}

func TestHTTPProbes(t *testing.T) {
	r := start(t, setup{})
	for _, path := range []string{"/healthz", "/readyz"} {
		if res := r.do(t, "GET", path, ""); res.StatusCode != 200 {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestMetrics_countEveryAnswerAndNoCallerGrowsThem(t *testing.T) {
	r := start(t, setup{})
	series := func() int { return strings.Count(read(t, r.do(t, "GET", "/metrics", "")), "\n") }
	r.check(t, send("+6581234567", "203.0.113.7"))
	r.check(t, send("+6581234567", "203.0.113.7"))
	if _, err := r.CheckSend(t.Context(), send("", "")); err == nil {
		t.Fatal("an empty number passed")
	}
	for name, want := range map[string]string{
		`sendgate_checks_total{verdict="allow"}`:                              "1",
		`sendgate_checks_total{verdict="deny"}`:                               "1",
		`sendgate_checks_total{verdict="challenge"}`:                          "0",
		`sendgate_refused_total{reason="limit:number-minute",verdict="deny"}`: "1",
		`sendgate_errors_total{code="InvalidArgument"}`:                       "1",
		`sendgate_check_seconds_count{surface="grpc"}`:                        "3",
		`sendgate_build_info{version="test"}`:                                 "1",
		`sendgate_in_flight`:                                                  "0",
	} {
		if got := r.metric(t, name); got != want {
			t.Errorf("%s %s, want %s", name, got, want)
		}
	}
	before := series()
	for _, word := range []string{"a", "b", "c", "d"} {
		in := send("+6581234567", "203.0.113.7")
		in.Account, in.Subaccount, in.Endpoint, in.Channel = word, word, word, word
		r.check(t, in)
		r.do(t, "GET", "/"+word, "")
	}
	if after := series(); after != before {
		t.Errorf("%d series grew to %d by what callers wrote", before, after)
	}
}

func TestConnect_sameServiceOverHTTP(t *testing.T) {
	r := start(t, setup{})
	client := sendgatev1connect.NewSendGateServiceClient(httpClient(t), r.url, connect.WithProtoJSON())
	v, err := client.CheckSend(t.Context(), send("+6581234567", "203.0.113.7"))
	if err != nil || v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Fatalf("%v, %v", v, err)
	}
	_, err = client.CheckSend(t.Context(), send("", "203.0.113.7"))
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !bytes.Contains([]byte(err.Error()), []byte("number")) {
		t.Errorf("a bad request: %v", err)
	}
	out, err := client.CheckSendBatch(t.Context(), &sendgatev1.CheckSendBatchRequest{Items: []*sendgatev1.CheckSendRequest{send("+6581234568", "203.0.113.7")}})
	if err != nil || len(out.Items) != 1 {
		t.Errorf("batch: %v, %v", out, err)
	}
	if _, err = client.CheckSendBatch(t.Context(), &sendgatev1.CheckSendBatchRequest{}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("an empty batch: %v", err)
	}
}
