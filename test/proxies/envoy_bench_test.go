package proxies_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkEnvoy is what a check costs a request through the real Envoy: the same request to the same application without the filter
// is "none". Client, Envoy, sidecar and application share the machine. docs/envoy.md has the figures.
func BenchmarkEnvoy(b *testing.B) {
	program(b, "envoy")
	e := &edge{dir: shortDir(b), app: startApp(b), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	e.side = startSidecar(b, `version: 1
limits:
  - {name: number-minute, by: number, limit: 1, window: 60s}
  - {name: number-30m, by: number, limit: 10, window: 30m}
  - {name: client-minute, by: client, limit: 1000000, window: 1m}
  - {name: account-second, by: account, limit: 1000000, window: 1s}
proxies:
  profiles:
    login: {number: header.x-phone}
    sms: {match: "POST /api/v1/subaccounts/{id}/messages", number: body.json.destination, subaccount: path.id}
    batch: {match: POST /api/v1/batch, number: {cel: '"+" + request.json.to'}}
`, e.dir)
	e.envoy = startEnvoy(b, example(b, "examples/envoy/envoy.yaml", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+e.app.port(),
		"/run/sendgate/grpc.sock", e.side.grpc), e.dir)
	var last atomic.Int64
	for _, way := range []struct{ name, path, body string }{
		{"none", "/healthz", `{"destination":"+65%08d","text":"your code is 123456"}`},
		{"header", "/login/otp", `{"text":"your code is 123456"}`},
		{"body", "/api/v1/subaccounts/acme/messages", `{"destination":"+65%08d","text":"your code is 123456"}`},
		{"body-cel", "/api/v1/batch", `{"to":"65%08d","text":"your code is 123456"}`},
	} {
		for _, at := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", way.name, at), func(b *testing.B) { e.measure(b, way.path, way.body, at, &last) })
		}
	}
}

// measure asks, so many at a time, each for a number of its own.
func (e *edge) measure(b *testing.B, path, body string, at int, last *atomic.Int64) {
	took := make([]time.Duration, b.N)
	var next, refused atomic.Int64
	var workers sync.WaitGroup
	b.ResetTimer()
	for range at {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				number := 80000000 + last.Add(1)%19999999
				text := body
				if strings.Contains(text, "%") {
					text = fmt.Sprintf(text, number)
				}
				req, _ := http.NewRequest("POST", e.url+path, strings.NewReader(text))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("x-phone", fmt.Sprintf("+65%08d", number))
				start := time.Now()
				res, err := e.client.Do(req)
				if err != nil {
					refused.Add(1)
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if took[i] = time.Since(start); res.StatusCode != 200 {
					refused.Add(1)
				}
			}
		})
	}
	workers.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-us")
	if refused.Load() > 0 {
		b.Errorf("%d of %d were refused", refused.Load(), b.N)
	}
}
