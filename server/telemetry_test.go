package server_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlpmetrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	otlptraces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sendgate/sendgate/server"
)

// receiver takes OTLP, as a collector does.
type receiver struct {
	collecttraces.UnimplementedTraceServiceServer
	collectmetrics.UnimplementedMetricsServiceServer
	url string

	mu      sync.Mutex
	spans   []*otlptraces.Span
	about   []string // resource attributes, as JSON
	metrics map[string]*otlpmetrics.Metric
	all     strings.Builder // everything, as JSON
}

type traceReceiver struct {
	collecttraces.UnimplementedTraceServiceServer
	*receiver
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{url: "http://" + l.Addr().String(), metrics: map[string]*otlpmetrics.Metric{}}
	s := grpc.NewServer()
	collecttraces.RegisterTraceServiceServer(s, traceReceiver{receiver: r})
	collectmetrics.RegisterMetricsServiceServer(s, r)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return r
}

func (r traceReceiver) Export(_ context.Context, in *collecttraces.ExportTraceServiceRequest) (*collecttraces.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.WriteString(protojson.Format(in))
	for _, resource := range in.ResourceSpans {
		r.about = append(r.about, protojson.Format(resource.Resource))
		for _, scope := range resource.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
	return new(collecttraces.ExportTraceServiceResponse), nil
}

func (r *receiver) Export(_ context.Context, in *collectmetrics.ExportMetricsServiceRequest) (*collectmetrics.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.WriteString(protojson.Format(in))
	for _, resource := range in.ResourceMetrics {
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				r.metrics[m.Name] = m
			}
		}
	}
	return new(collectmetrics.ExportMetricsServiceResponse), nil
}

// told describes each span in one line, in the order of their names.
func (r *receiver) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, s := range r.spans {
		line := fmt.Sprintf("%s %s", strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"), s.Name)
		if len(s.ParentSpanId) > 0 {
			line += " in " + hex.EncodeToString(s.TraceId) + "/" + hex.EncodeToString(s.ParentSpanId)
		}
		if s.Status.GetCode() == otlptraces.Status_STATUS_CODE_ERROR {
			line += " ERROR" + s.Status.Message
		}
		for _, a := range s.Attributes {
			value := a.Value.GetStringValue()
			if a.Key == "sendgate.check_id" {
				value = fmt.Sprint(len(value) > 50)
			}
			if a.Value.GetStringValue() == "" {
				value = fmt.Sprint(a.Value.GetIntValue())
			}
			line += " " + a.Key + "=" + value
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// exported is a server that sends to a receiver; what it returns flushes.
func exported(t *testing.T, policy string, o server.TelemetryOptions) (*running, func()) {
	t.Helper()
	env := func(string) string { return "" }
	if o.Getenv == nil {
		o.Getenv = env
	}
	o.Version = "test"
	telemetry, err := server.NewTelemetry(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	closed := sync.OnceFunc(func() {
		if err := telemetry.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(closed)
	return start(t, setup{policy: policy, options: func(so *server.Options) { so.Telemetry = telemetry }}), closed
}

const oneAnHour = "limits: [{name: one, by: [number], limit: 1, window: 1h}]\n"

func TestTraces(t *testing.T) {
	in := newReceiver(t)
	r, flush := exported(t, oneAnHour, server.TelemetryOptions{Endpoint: in.url, Share: 0})
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	sampled := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-"+span+"-01", "tracestate", "number=+6581234567")
	unsampled := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-"+span+"-00")

	ask := func(ctx context.Context, number string) error {
		_, err := r.CheckSend(ctx, send(number, "203.0.113.7"))
		return err
	}
	for _, err := range []error{
		ask(sampled, "+6581234567"), ask(sampled, "+6581234567"), // allow, deny
		ask(unsampled, "+6581234568"), ask(t.Context(), "+6581234569"), // of which nobody hears
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if ask(sampled, "nonsense 81234567") == nil {
		t.Fatal("nonsense is a number")
	}
	for path, body := range map[string]string{"/v1/check": `{"number":"+6581234560","clientAddress":"203.0.113.7"}`, "/v1/proxy/+6581234561": "", "/readyz": ""} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("traceparent", "00-"+trace+"-"+span+"-01")
		res, err := httpClient(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	flush()
	in0 := " in " + trace + "/" + span
	rpc := "SERVER sendgate.v1.SendGateService/CheckSend" + in0 + " rpc.system.name=grpc rpc.method=sendgate.v1.SendGateService/CheckSend "
	want := []string{
		"SERVER POST /v1/check" + in0 + " http.request.method=POST http.route=/v1/check sendgate.verdict=allow sendgate.check_id=true sendgate.rule=one http.response.status_code=200",
		"SERVER POST /v1/proxy/*" + in0 + " ERROR http.request.method=POST http.route=/v1/proxy/* http.response.status_code=500 error.type=500",
		rpc + "rpc.response.status_code=INVALID_ARGUMENT",
		rpc + "sendgate.verdict=allow sendgate.check_id=true sendgate.rule=one rpc.response.status_code=OK",
		rpc + "sendgate.verdict=deny sendgate.check_id=true sendgate.reason=limit:one sendgate.rule=one rpc.response.status_code=OK",
	}
	got := in.told()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if about := strings.ReplaceAll(strings.Join(in.about, ""), " ", ""); !strings.Contains(about, `"stringValue":"sendgate"`) {
		t.Errorf("resource %s", about)
	}
	for _, secret := range []string{"8123456", "203.0.113", "number="} {
		if strings.Contains(in.all.String(), secret) {
			t.Errorf("what was exported holds %q", secret)
		}
	}
}

// Without a trace of the caller's, a share of calls begins one.
func TestTraces_share(t *testing.T) {
	for share, want := range map[float64]int{0: 0, 1: 20} {
		in := newReceiver(t)
		r, flush := exported(t, oneAnHour, server.TelemetryOptions{Endpoint: in.url, Share: share})
		for range 20 {
			r.check(t, send("+6581234567", "203.0.113.7"))
		}
		flush()
		if got := in.told(); len(got) != want {
			t.Errorf("a share of %v of 20 calls are %d", share, len(got))
		}
	}
}

// The metrics of /metrics are sent too, under their names.
func TestMetrics_otlp(t *testing.T) {
	in := newReceiver(t)
	r, flush := exported(t, oneAnHour, server.TelemetryOptions{Endpoint: in.url})
	r.check(t, send("+6581234567", "203.0.113.7"))
	r.check(t, send("+6581234567", "203.0.113.7"))
	flush()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, name := range []string{"sendgate_checks_total", "sendgate_check_seconds", "sendgate_store_occupied_keys", "go_goroutines"} {
		if in.metrics[name] == nil {
			t.Errorf("%s is not among the %d metrics", name, len(in.metrics))
		}
	}
	sum := 0.0
	for _, p := range in.metrics["sendgate_checks_total"].GetSum().GetDataPoints() {
		sum += p.GetAsDouble()
	}
	if sum != 2 {
		t.Errorf("%v checks", sum)
	}
}

func TestNewTelemetry(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	const at = "http://127.0.0.1:1"
	for _, tt := range []struct {
		name string
		o    server.TelemetryOptions
		on   bool
		err  string
	}{
		{name: "nothing said"},
		{name: "a flag", o: server.TelemetryOptions{Endpoint: at}, on: true},
		{name: "the environment", o: server.TelemetryOptions{Getenv: env("OTEL_EXPORTER_OTLP_ENDPOINT", at)}, on: true},
		{name: "metrics only", o: server.TelemetryOptions{Getenv: env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", at)}, on: true},
		{name: "switched off", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_SDK_DISABLED", "true")}},
		{name: "both off", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_TRACES_EXPORTER", "none", "OTEL_METRICS_EXPORTER", "none")}},
		{name: "no URL", o: server.TelemetryOptions{Endpoint: "collector:4317"}, err: "write one like http://127.0.0.1:4317"},
		{name: "by HTTP", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")}, err: "only grpc is spoken here"},
		{name: "to Zipkin", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_TRACES_EXPORTER", "zipkin")}, err: "write otlp or none"},
		{name: "always", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_TRACES_SAMPLER", "always_on")}, err: "write parentbased_traceidratio"},
		{name: "a share", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG", "0.5")}, on: true},
		{name: "no share", o: server.TelemetryOptions{Endpoint: at, Getenv: env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG", "NaN")}, err: "from 0 to 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.o.Getenv == nil {
				tt.o.Getenv = env()
			}
			got, err := server.NewTelemetry(t.Context(), tt.o)
			if (got != nil) != tt.on || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%v %v", got, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_ = got.Close(ctx) // there is no receiver
		})
	}
}
