package proxies_test

import (
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rlv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy/envoyconfig"
	"github.com/sendgate/sendgate/server"
)

// limited is a rate limit service with a clock of the test's own.
type limited struct {
	rlsv3.RateLimitServiceClient
	t    *testing.T
	side *sidecar
	now  atomic.Int64
}

// startRLS runs a configuration of envoyproxy/ratelimit.
func startRLS(t *testing.T, fixed bool, dir string, config ...string) *limited {
	t.Helper()
	var files []envoyconfig.File
	for i, text := range config {
		files = append(files, envoyconfig.File{Name: fmt.Sprint(i), Text: []byte(text)})
	}
	c, err := envoyconfig.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	table, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	l := &limited{t: t}
	l.now.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano())
	store := &breakable{Store: table}
	l.side = startSidecar(t, "version: 1\n", dir, func(o *server.Options) {
		o.RateLimits = &server.RateLimits{Config: c, Store: store, Fixed: fixed, Clock: func() time.Time { return time.Unix(0, l.now.Load()) }}
	})
	l.side.store = store
	conn, err := grpc.NewClient("unix:"+l.side.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l.RateLimitServiceClient = rlsv3.NewRateLimitServiceClient(conn)
	return l
}

func (l *limited) later(d time.Duration) { l.now.Add(int64(d)) }

// descriptor reads a=1,b=2.
func descriptor(text string) *rlv3.RateLimitDescriptor {
	d := &rlv3.RateLimitDescriptor{}
	for pair := range strings.SplitSeq(text, ",") {
		k, v, _ := strings.Cut(pair, "=")
		d.Entries = append(d.Entries, &rlv3.RateLimitDescriptor_Entry{Key: k, Value: v})
	}
	return d
}

func (l *limited) ask(in *rlsv3.RateLimitRequest) *rlsv3.RateLimitResponse {
	l.t.Helper()
	out, err := l.ShouldRateLimit(l.t.Context(), in)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// pass asks about descriptors, one hit each.
func (l *limited) pass(domain string, descriptors ...string) bool {
	l.t.Helper()
	in := &rlsv3.RateLimitRequest{Domain: domain}
	for _, d := range descriptors {
		in.Descriptors = append(in.Descriptors, descriptor(d))
	}
	return l.ask(in).OverallCode == rlsv3.RateLimitResponse_OK
}

// passes is how many of n pass.
func (l *limited) passes(n int, domain string, descriptors ...string) int {
	l.t.Helper()
	passed := 0
	for range n {
		if l.pass(domain, descriptors...) {
			passed++
		}
	}
	return passed
}

func readme(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile(root + "policy/envoyconfig/testdata/readme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(src), "---\n")
}

// The examples of envoyproxy/ratelimit's README decide as it says, in both ways to count.
func TestRLS_thePeersExamples(t *testing.T) {
	for _, fixed := range []bool{true, false} {
		t.Run(fmt.Sprint("fixed ", fixed), func(t *testing.T) {
			l := startRLS(t, fixed, shortDir(t), readme(t)...)
			for _, tt := range []struct {
				what        string
				domain      string
				descriptors []string
				of, want    int
			}{
				{"500 a second", "mongo_cps", []string{"database=users"}, 510, 500},
				{"no such value", "mongo_cps", []string{"database=other"}, 10, 10},
				{"5 marketing messages a day", "messaging", []string{"message_type=marketing,to_number=2061111111", "to_number=2061111111"}, 8, 5},
				{"another number", "messaging", []string{"message_type=marketing,to_number=2062222222"}, 8, 5},
				{"10 a second by address", "edge_proxy_per_ip", []string{"remote_address=50.0.0.1"}, 12, 10},
				{"a banned address", "edge_proxy_per_ip", []string{"remote_address=50.0.0.5"}, 2, 0},
				{"deeper than the configuration", "example4", []string{"key=value,subkey=subvalue"}, 310, 310},
				{"unlimited", "internal", []string{"ldap=x"}, 10, 10},
				{"shadow", "example6", []string{"service=auth-service,user=user-a"}, 15, 15},
				{"not in shadow", "example6", []string{"service=auth-service,user=user-b"}, 25, 20},
				{"a specific limit", "example7", []string{"key_1=value_1,user=bkthomps"}, 7, 5},
				{"which is replaced, though it is used up", "example7", []string{"key_1=value_1,user=bkthomps", "key_2=value_2,user=bkthomps"}, 12, 10},
				{"wildcard", "example9", []string{"key1=valueXYZ"}, 25, 20},
				{"each value for itself", "example9", []string{"key1=valueABC"}, 25, 20},
				{"shared", "example11", []string{"files=files/a.pdf"}, 6, 6},
				{"shared, by another", "example11", []string{"files=files/b.csv"}, 6, 4},
				{"not shared", "example11", []string{"files_no_share=files_no_share/a"}, 12, 10},
				{"not shared, by another", "example11", []string{"files_no_share=files_no_share/b"}, 12, 10},
				{"no such domain", "nobody", []string{"a=b"}, 3, 3},
			} {
				if got := l.passes(tt.of, tt.domain, tt.descriptors...); got != tt.want {
					t.Errorf("%s: %d of %d pass, want %d", tt.what, got, tt.of, tt.want)
				}
			}
			// All of a day's hundred: in fixed windows the three refused above were counted, in exact ones not.
			want := 95
			if fixed {
				want = 92
			}
			if got := l.passes(110, "messaging", "to_number=2061111111"); got != want {
				t.Errorf("what is left of the day: %d, want %d", got, want)
			}
		})
	}
}

// What exact windows are for: at the border of a minute, fixed ones let pass twice as many.
func TestRLS_borders(t *testing.T) {
	const config = "domain: d\ndescriptors: [{key: k, rate_limit: {unit: minute, requests_per_unit: 10}}]"
	for fixed, want := range map[bool]int{true: 20, false: 10} {
		l := startRLS(t, fixed, shortDir(t), config)
		l.later(59 * time.Second)
		passed := l.passes(15, "d", "k=v")
		l.later(2 * time.Second)
		if passed += l.passes(15, "d", "k=v"); passed != want {
			t.Errorf("fixed %v: %d pass within 2 s, want %d", fixed, passed, want)
		}
		l.later(58 * time.Second)
		if !fixed && l.passes(15, "d", "k=v") != 10 {
			t.Error("a minute later there is room again")
		}
	}
}

func TestRLS_hitsLimitsAndStatuses(t *testing.T) {
	l := startRLS(t, false, shortDir(t), "domain: d\ndescriptors:\n- {key: k, rate_limit: {name: tens, unit: minute, requests_per_unit: 10}}\n- {key: other, rate_limit: {unit: hour, requests_per_unit: 5}}\n- {key: free, rate_limit: {unlimited: true}}")
	in := &rlsv3.RateLimitRequest{Domain: "d", HitsAddend: 4, Descriptors: []*rlv3.RateLimitDescriptor{descriptor("k=v"), descriptor("other=v"), descriptor("free=v"), descriptor("none=v")}}
	out := l.ask(in)
	s := out.Statuses
	if out.OverallCode != rlsv3.RateLimitResponse_OK || len(s) != 4 || s[0].LimitRemaining != 6 || s[0].CurrentLimit.Name != "tens" || s[0].CurrentLimit.RequestsPerUnit != 10 ||
		s[0].CurrentLimit.Unit != rlsv3.RateLimitResponse_RateLimit_MINUTE || s[0].DurationUntilReset.Seconds != 60 || s[1].LimitRemaining != 1 ||
		s[2].LimitRemaining != math.MaxUint32 || s[2].CurrentLimit != nil || s[3].CurrentLimit != nil {
		t.Errorf("%v", out)
	}
	l.later(10 * time.Second)
	out = l.ask(in) // the second descriptor has 1 left: all or none
	s = out.Statuses
	if out.OverallCode != rlsv3.RateLimitResponse_OVER_LIMIT || s[0].Code != rlsv3.RateLimitResponse_OK || s[0].LimitRemaining != 6 || s[1].Code != rlsv3.RateLimitResponse_OVER_LIMIT ||
		len(out.ResponseHeadersToAdd) != 1 || out.ResponseHeadersToAdd[0].Key != "retry-after" || out.ResponseHeadersToAdd[0].Value != "3590" || out.DynamicMetadata.Fields["rule"].GetStringValue() != "d.other" {
		t.Errorf("%v", out)
	}
	// A limit that the descriptor brings along, and hits of its own.
	own := descriptor("k=own")
	own.Limit = &rlv3.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 42, Unit: typev3.RateLimitUnit_HOUR}
	own.HitsAddend = wrapperspb.UInt64(40)
	if out := l.ask(&rlsv3.RateLimitRequest{Domain: "d", Descriptors: []*rlv3.RateLimitDescriptor{own}}); out.Statuses[0].LimitRemaining != 2 || out.Statuses[0].CurrentLimit.RequestsPerUnit != 42 {
		t.Errorf("%v", out)
	}
	own.HitsAddend = wrapperspb.UInt64(0) // only asks
	for range 3 {
		if out := l.ask(&rlsv3.RateLimitRequest{Domain: "d", Descriptors: []*rlv3.RateLimitDescriptor{own}}); out.OverallCode != rlsv3.RateLimitResponse_OK || out.Statuses[0].LimitRemaining != 2 {
			t.Errorf("%v", out)
		}
	}
	// The same descriptor twice is charged twice.
	twice := &rlsv3.RateLimitRequest{Domain: "d", Descriptors: []*rlv3.RateLimitDescriptor{descriptor("k=twice"), descriptor("k=twice")}}
	if out := l.ask(twice); out.Statuses[0].LimitRemaining != 8 || out.Statuses[1].LimitRemaining != 8 {
		t.Errorf("%v", out)
	}
	for _, in := range []*rlsv3.RateLimitRequest{{}, {Domain: "d"}, {Descriptors: twice.Descriptors}} {
		if _, err := l.ShouldRateLimit(t.Context(), in); err == nil {
			t.Errorf("%v is answered", in)
		}
	}
}

func TestRLS_refunds(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		l := startRLS(t, fixed, shortDir(t), "domain: d\ndescriptors: [{key: k, rate_limit: {unit: hour, requests_per_unit: 3}}]")
		back := func(n uint64) {
			d := descriptor("k=v")
			d.HitsAddend, d.IsNegativeHits = wrapperspb.UInt64(n), true
			if out := l.ask(&rlsv3.RateLimitRequest{Domain: "d", Descriptors: []*rlv3.RateLimitDescriptor{d}}); out.OverallCode != rlsv3.RateLimitResponse_OK {
				t.Errorf("a refund is refused: %v", out)
			}
		}
		var got []int
		got = append(got, l.passes(3, "d", "k=v"))
		back(1)
		got = append(got, l.passes(2, "d", "k=v"))
		back(2)
		got = append(got, l.passes(4, "d", "k=v"))
		back(100) // never more than was taken
		got = append(got, l.passes(5, "d", "k=v"))
		if fmt.Sprint(got) != "[3 1 2 3]" {
			t.Errorf("fixed %v: %v", fixed, got)
		}
	}
}

// examples/envoy-ratelimit behind the real Envoy.
func TestRLS_envoy(t *testing.T) {
	for _, deny := range []bool{true, false} {
		t.Run(fmt.Sprint("failure_mode_deny ", deny), func(t *testing.T) {
			program(t, "envoy")
			dir, behind, client := shortDir(t), startApp(t), plain(t)
			l := startRLS(t, false, dir, example(t, "examples/envoy-ratelimit/ratelimit.yaml"))
			e := startEnvoy(t, example(t, "examples/envoy-ratelimit/envoy.yaml", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+behind.port(),
				"/run/sendgate/grpc.sock", l.side.grpc, "failure_mode_deny: true", fmt.Sprint("failure_mode_deny: ", deny)), dir)
			send := func(number string, header ...string) reply {
				return request(t, client, "POST", e.url+"/messages", "hi", append([]string{"x-phone", number}, header...)...)
			}
			first := send("+6581230001")
			if h := first.header; first.status != 200 || h.Get("x-ratelimit-remaining") != "1" || !strings.HasPrefix(h.Get("x-ratelimit-limit"), "2, ") {
				t.Errorf("%d %v", first.status, h)
			}
			send("+6581230001")
			third := send("+6581230001")
			if h := third.header; third.status != 429 || h.Get("Retry-After") != "60" || h.Get("Content-Type") != "" || h.Get("x-envoy-ratelimited") != "true" {
				t.Errorf("%d %v", third.status, h)
			}
			limit, _ := e.logged(3)["limit"].(map[string]any)
			if limit["rule"] != "messaging.to_number" || strings.Contains(fmt.Sprint(limit), "8123") {
				t.Errorf("access log: %v", e.logged(3))
			}
			// The application says that nothing was sent: Envoy gives the hit back when the stream is done.
			behind.mu.Lock()
			behind.answer.Set("x-not-sent", "1")
			behind.mu.Unlock()
			send("+6581230002")
			const calls = "cluster.sendgate.upstream_rq_completed" // a refund is a call of its own
			await(t, func() bool { return e.stat(calls) == 5 }, "the refund")
			for i := range 4 { // each is given back, so none is too many
				want := 7 + 2*i
				if got := send("+6581230002"); got.status != 200 {
					t.Errorf("%d after a refund", got.status)
				}
				await(t, func() bool { return e.stat(calls) == want }, "the refund")
			}
			behind.mu.Lock()
			behind.answer.Del("x-not-sent")
			behind.mu.Unlock()
			// Not enforced: it passes, and the answer is still one of the application's.
			if _, err := e.ask("POST", "/runtime_modify?sendgate.enforced=0"); err != nil {
				t.Fatal(err)
			}
			if got := send("+6581230001"); got.status != 200 || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("in shadow: %d %v", got.status, got.header)
			}
			e.wantStats("ratelimit.sendgate.over_limit", 2, "ratelimit.sendgate.error", 0)
			l.side.store.fault.Store(broken)
			want, allowed := 503, 0
			if !deny {
				want, allowed = 200, 1
			}
			if got := send("+6581230003"); got.status != want {
				t.Errorf("without its store: %d, want %d", got.status, want)
			}
			e.wantStats("ratelimit.sendgate.error", 1, "ratelimit.sendgate.failure_mode_allowed", allowed)
		})
	}
}
