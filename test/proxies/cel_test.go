package proxies_test

import (
	"testing"
)

// What selectors cannot say: a number in two parts, in a list, behind the real Envoy.
func TestExtAuthz_cel(t *testing.T) {
	program(t, "envoy")
	e := &edge{dir: shortDir(t), app: startApp(t), client: plain(t)}
	e.side = startSidecar(t, `version: 1
limits:
  - {name: number-minute, by: number, limit: 1, window: 60s}
  - {name: free, by: subaccount, limit: 2, window: 1h, when: send.purpose == "marketing" && send.subaccount != "paid", match: {subaccount: [free, paid]}}
proxies:
  profiles:
    batch:
      match: POST /api/v1/batch
      number: {cel: 'request.json.to.map(m, "+" + string(m.cc) + m.nr)'}
      subaccount: {cel: 'request.json.to.map(m, m.team)'}
      purpose: {cel: 'request.has("header.x-code") ? "otp" : "marketing"'}
`, e.dir)
	e.envoy = startEnvoy(t, example(t, "examples/envoy/envoy.yaml", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+e.app.port(),
		"/run/sendgate/grpc.sock", e.side.grpc), e.dir)
	ask := func(body string, header ...string) int {
		return request(t, e.client, "POST", e.url+"/api/v1/batch", body, append([]string{"Content-Type", "application/json"}, header...)...).status
	}
	for i, tt := range []struct {
		body   string
		header []string
		want   int
	}{
		{`{"to":[{"cc":65,"nr":"81230001","team":"free"},{"cc":65,"nr":"81230002","team":"free"}]}`, nil, 200},
		{`{"to":[{"cc":65,"nr":"81230003","team":"free"}]}`, nil, 429},                     // the third of the free team
		{`{"to":[{"cc":65,"nr":"81230003","team":"free"}]}`, []string{"X-Code", "1"}, 200}, // a code is no marketing
		{`{"to":[{"cc":65,"nr":"81230004","team":"paid"}]}`, nil, 200},                     // nor is the limit for who pays
		{`{"to":[{"cc":65,"nr":"81230004","team":"paid"}]}`, nil, 429},                     // the number's own
		{`{"to":[]}`, nil, 400}, // no number
		{`{"to":[{"cc":65,"nr":81230005,"team":"paid"}]}`, nil, 400},                   // no text
		{`{"to":[{"cc":65,"nr":"81230005","nr":"81230006","team":"paid"}]}`, nil, 400}, // a key twice
	} {
		if got := ask(tt.body, tt.header...); got != tt.want {
			t.Errorf("%d: %d, want %d", i, got, tt.want)
		}
	}
	e.wantStats(ok, 3, denied, 5, erred, 0, open, 0)
}
