package server

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

func TestOverload_whenToRefuse(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		waits []time.Duration
		want  bool
	}{
		{"quiet", []time.Duration{0, 1 * ms, 0}, false},
		{"one hiccup", []time.Duration{0, 900 * ms, 0}, false},
		{"two", []time.Duration{900 * ms, 900 * ms}, false},
		{"behind", []time.Duration{101 * ms, 150 * ms, 300 * ms}, true},
		{"between the two bounds nothing changes: behind", []time.Duration{200 * ms, 200 * ms, 200 * ms, 70 * ms}, true},
		{"between the two bounds nothing changes: not", []time.Duration{70 * ms, 70 * ms, 70 * ms, 70 * ms}, false},
		{"over", []time.Duration{200 * ms, 200 * ms, 200 * ms, 10 * ms}, false},
		{"and again", []time.Duration{200 * ms, 200 * ms, 200 * ms, 10 * ms, 200 * ms, 200 * ms, 200 * ms}, true},
	} {
		var o overload
		for _, w := range tt.waits {
			o.observe(w)
		}
		if got := o.refusing.Load(); got != tt.want {
			t.Errorf("%s: refusing = %v", tt.name, got)
		}
	}
}

func TestOverload_whatIsRefused(t *testing.T) {
	o := overload{shed: prometheus.NewCounter(prometheus.CounterOpts{Name: "shed"})}
	for _, refusing := range []bool{false, true} {
		o.refusing.Store(refusing)
		for method, mayBe := range map[string]bool{
			"/sendgate.v1.SendGateService/CheckSend":                       true,
			"/sendgate.v1.SendGateService/CheckSendStream":                 true,
			"/envoy.service.auth.v3.Authorization/Check":                   true,
			"/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit": true,
			"/sendgate.v1.SendGateService/ReportOutcome":                   false,
			"/sendgate.v1.AdminService/ListAdd":                            false,
			"/grpc.health.v1.Health/Check":                                 false,
			"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":    false,
		} {
			_, err := o.enter(context.Background(), &tap.Info{FullMethodName: method})
			if got := status.Code(err) == codes.ResourceExhausted; got != (refusing && mayBe) {
				t.Errorf("%s while refusing is %v: %v", method, refusing, err)
			}
		}
	}
}

// A check whose caller gave up is not made; an outcome is kept all the same.
func TestOverload_nobodyWaits(t *testing.T) {
	o := overload{shed: prometheus.NewCounter(prometheus.CounterOpts{Name: "shed"})}
	ctx, cancel := context.WithCancel(context.Background())
	if err := o.stale(ctx, checks[0]); err != nil {
		t.Errorf("while somebody waits: %v", err)
	}
	cancel()
	if err := o.stale(ctx, checks[0]); status.Code(err) != codes.Canceled {
		t.Errorf("a check: %v", err)
	}
	if err := o.stale(ctx, "/sendgate.v1.SendGateService/ReportOutcome"); err != nil {
		t.Errorf("an outcome: %v", err)
	}
	o.refusing.Store(true)
	if err := o.stale(context.Background(), checks[0]); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("while refusing: %v", err)
	}
}
