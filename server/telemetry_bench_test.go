package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// silent is an observer of durations that notes nothing.
type silent struct{}

func (silent) Observe(float64) {}

type taker struct {
	collecttraces.UnimplementedTraceServiceServer
	collectmetrics.UnimplementedMetricsServiceServer
}

type traceTaker struct {
	collecttraces.UnimplementedTraceServiceServer
}

func (traceTaker) Export(context.Context, *collecttraces.ExportTraceServiceRequest) (*collecttraces.ExportTraceServiceResponse, error) {
	return new(collecttraces.ExportTraceServiceResponse), nil
}

func (taker) Export(context.Context, *collectmetrics.ExportMetricsServiceRequest) (*collectmetrics.ExportMetricsServiceResponse, error) {
	return new(collectmetrics.ExportMetricsServiceResponse), nil
}

// observed is a server without sockets; ask makes one call as grpc-go would, through the interceptors.
func observed(b *testing.B, on bool, every int) (ask func(i int) (refused int), scrape func()) {
	b.Helper()
	store, err := limiter.Open(limiter.Options{Size: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	engine, err := detect.New(detect.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { engine.Close() })
	clock := NewClock(time.Time{})
	log := slog.New(slog.DiscardHandler)
	o := Options{Store: store, Log: log, Version: "bench"}
	g := gate.Options{Policy: policy.Default(), Store: store, Detect: engine, Clock: clock.Now}
	if on {
		trail, err := audit.OpenTrail(audit.TrailOptions{Dir: b.TempDir(), Secret: make([]byte, 32), Now: clock.Now, Log: log, AllowSample: 0.01})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { trail.Close() })
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		collector := grpc.NewServer()
		collecttraces.RegisterTraceServiceServer(collector, traceTaker{})
		collectmetrics.RegisterMetricsServiceServer(collector, taker{})
		go collector.Serve(l)
		b.Cleanup(collector.Stop)
		o.Trail, o.Tally = trail, NewTally(nil)
		o.Telemetry, err = NewTelemetry(b.Context(), TelemetryOptions{Endpoint: "http://" + l.Addr().String(), Share: 0.01, Getenv: func(string) string { return "" }, Log: log})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { o.Telemetry.Close(context.Background()) })
		g.Observers = []gate.Observer{NewDenialLog(log), trail, o.Tally}
		g.Stage, g.Stopwatch = o.Tally.Stage, Stopwatch()
	}
	if o.Gate, err = gate.New(b.Context(), g); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(o.Gate.Close)
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	if !on {
		s.service.metrics.grpc = &surface{silent{}}
	}
	info := &grpc.UnaryServerInfo{FullMethod: sendgatev1.SendGateService_CheckSend_FullMethodName}
	handler := func(ctx context.Context, req any) (any, error) {
		return s.grpc.CheckSend(ctx, req.(*sendgatev1.CheckSendRequest))
	}
	around := s.service.tracing.around(s.grpc.catchUnary)
	return func(i int) (refused int) {
			// One in so many asks for a number that was asked for a moment ago, and is refused.
			who := uint32(i-i%every/(every-1)) * 2_654_435_761 // spread out, so that nothing looks like an attack
			in := &sendgatev1.CheckSendRequest{Number: fmt.Sprintf("+4477%08d", who%100_000_000), Account: fmt.Sprintf("a%d", who%1000), Purpose: sendgatev1.Purpose_PURPOSE_OTP}
			in.ClientAddress = fmt.Sprintf("%d.%d.%d.%d", 20+who>>27, who>>16&255, who>>8&255, who&255)
			out, err := around(context.Background(), in, info, handler)
			if err != nil {
				b.Fatal(err)
			}
			if out.(*sendgatev1.CheckSendResponse).Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
				return 1
			}
			return 0
		}, func() {
			s.service.metrics.handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
		}
}

// BenchmarkTelemetry compares everything on (audit, metrics, stages, traces of 1 %, the log of refusals, a scrape a round) with
// everything off but the counter of verdicts, in turns, by processor time of the process, so what runs behind the answer counts too. It is the
// whole of a call but the wire; the ratio is to what grpc-go's server takes beside it (24 us here; see bench/results).
func BenchmarkTelemetry(b *testing.B) {
	for _, every := range []int{50, 5} {
		b.Run(fmt.Sprintf("refused=%d%%", 100/every), func(b *testing.B) { benchmarkTelemetry(b, every) })
	}
}

func benchmarkTelemetry(b *testing.B, every int) {
	const calls = 20_000
	on, scrape := observed(b, true, every)
	off, _ := observed(b, false, every)
	var took [2][]float64
	var refused [2]int
	n := 0
	for b.Loop() {
		for which, ask := range []func(int) int{off, on} {
			before := processorTime(b)
			for i := range calls {
				refused[which] += ask(n + i)
			}
			if which == 1 {
				scrape()
			}
			time.Sleep(20 * time.Millisecond) // what is queued is told
			took[which] = append(took[which], float64(processorTime(b)-before)/calls)
		}
		n += calls
	}
	median := func(of []float64) float64 { slices.Sort(of); return of[len(of)/2] }
	b.ReportMetric(100*float64(refused[1])/float64(n), "%-refused")
	b.ReportMetric(median(took[0]), "off-ns/call")
	b.ReportMetric(median(took[1]), "on-ns/call")
	b.ReportMetric(100*(median(took[1])-median(took[0]))/(24_000+median(took[0])), "%-of-a-gRPC-call")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
