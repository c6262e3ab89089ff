package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectgrpc "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// running is a whole server on real sockets.
type running struct {
	sendgatev1.SendGateServiceClient
	conn *grpc.ClientConn
	url  string // of the HTTP port
	log  *lockedBuffer
	stop context.CancelFunc
	done chan error // what Serve returned
}

type setup struct {
	observers   []gate.Observer
	policy      string
	clock       func() time.Time
	network     string // "tcp" by default
	maxInFlight int64
	drain       time.Duration
	lists       *lists.Store
	consent     *consent.Ledger
	templates   *template.Book
	detect      *detect.Engine
	prices      *prices.Table
	options     func(*server.Options)            // the last word
	transport   credentials.TransportCredentials // of the client
}

func start(t *testing.T, s setup) *running {
	t.Helper()
	before := goleak.IgnoreCurrent()
	if s.clock == nil {
		s.clock = server.NewClock(time.Time{}).Now
	}
	p := policy.Default()
	if s.policy != "" {
		var err error
		if p, err = policy.Parse("test.yaml", []byte("version: 1\n"+s.policy)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(t.Context(), gate.Options{Policy: p, Store: store, Lists: s.lists, Consent: s.consent, Templates: s.templates, Detect: s.detect, Clock: s.clock, Prices: s.prices, Report: report.New(), Observers: s.observers})
	if err != nil {
		t.Fatal(err)
	}
	addr, target := "127.0.0.1:0", ""
	if s.network == "unix" {
		addr = "unix:" + filepath.Join(t.TempDir(), "s")
		target = addr
	}
	rpc, err := server.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	if target == "" {
		target = rpc.Addr().String()
	}
	web, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{url: "http://" + web.Addr().String(), log: new(lockedBuffer), done: make(chan error, 1)}
	o := server.Options{
		Lists: s.lists,
		Gate:  g, Store: store, Log: slog.New(slog.NewTextHandler(r.log, nil)), Version: "test", GRPC: rpc, HTTP: web,
		MaxInFlight: s.maxInFlight, Drain: s.drain,
	}
	if s.options != nil {
		s.options(&o)
	}
	srv, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if s.transport == nil {
		s.transport = insecure.NewCredentials()
	}
	r.conn, err = grpc.NewClient(target, grpc.WithTransportCredentials(s.transport), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	r.SendGateServiceClient = sendgatev1.NewSendGateServiceClient(r.conn)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.done <- srv.Serve(ctx)
	}()
	t.Cleanup(func() {
		r.conn.Close()
		web := httpClient(t)
		web.CloseIdleConnections()
		r.stop()
		<-served
		g.Close()
		store.Close()
		goleak.VerifyNone(t, before)
	})
	return r
}

// lockedBuffer is a log that a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func send(number, client string) *sendgatev1.CheckSendRequest {
	return &sendgatev1.CheckSendRequest{Number: number, ClientAddress: client}
}

func (r *running) check(t *testing.T, in *sendgatev1.CheckSendRequest) *sendgatev1.CheckSendResponse {
	t.Helper()
	out, err := r.CheckSend(t.Context(), in)
	if err != nil {
		t.Fatalf("CheckSend: %v", err)
	}
	return out
}

const tenIn30m = `limits: [{name: number-30m, by: [number], limit: 10, window: 30m}]`

func TestCheckSend(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Run("the second at once is denied", func(t *testing.T) {
				r := start(t, setup{network: network})
				if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW || v.CheckId == "" {
					t.Errorf("the first: %v", v)
				}
				v := r.check(t, send("+65 8123 4567", "203.0.113.8"))
				wait := v.RetryAfter.AsDuration()
				if v.Verdict != sendgatev1.Verdict_VERDICT_DENY || v.Rule != "number-minute" || v.Reason != "limit:number-minute" || wait <= 0 || wait > time.Minute {
					t.Errorf("the second: %v", v)
				}
			})
			t.Run("ten of twelve pass", func(t *testing.T) {
				r := start(t, setup{network: network, policy: tenIn30m})
				for i := range 12 {
					v := r.check(t, send("+6581234567", "203.0.113.7"))
					wait := v.RetryAfter.AsDuration()
					if i < 10 && v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
						t.Errorf("check %d: %v", i+1, v)
					}
					if i >= 10 && (v.Verdict != sendgatev1.Verdict_VERDICT_DENY || v.Rule != "number-30m" || wait <= 29*time.Minute || wait > 30*time.Minute || v.Limit != 10) {
						t.Errorf("check %d: %v", i+1, v)
					}
				}
			})
		})
	}
}

func TestCheckSend_badInputNamesTheField(t *testing.T) {
	r := start(t, setup{policy: tenIn30m})
	cost := func(n int64) *sendgatev1.CheckSendRequest {
		in := send("+6581234567", "203.0.113.7")
		in.Cost = &n
		return in
	}
	purpose := send("+6581234567", "203.0.113.7")
	purpose.Purpose = 77
	for name, tt := range map[string]struct {
		in     *sendgatev1.CheckSendRequest
		field  string
		reason string
	}{
		"nothing":              {&sendgatev1.CheckSendRequest{}, "number", "NUMBER_INVALID"},
		"unparsable number":    {send("hello", "203.0.113.7"), "number", "NUMBER_INVALID"},
		"bad address":          {send("+6581234567", "localhost"), "client_address", "CLIENT_ADDRESS_INVALID"},
		"cost 0":               {cost(0), "cost", "COST_INVALID"},
		"cost negative":        {cost(-1), "cost", "COST_INVALID"},
		"cost above the limit": {cost(11), "cost", "COST_INVALID"},
		"unknown purpose":      {purpose, "purpose", "PURPOSE_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.CheckSend(t.Context(), tt.in)
			st := status.Convert(err)
			var bad *errdetails.BadRequest
			var info *errdetails.ErrorInfo
			for _, d := range st.Details() {
				switch d := d.(type) {
				case *errdetails.BadRequest:
					bad = d
				case *errdetails.ErrorInfo:
					info = d
				}
			}
			if st.Code() != codes.InvalidArgument || bad == nil || bad.FieldViolations[0].Field != tt.field || info == nil || info.Reason != tt.reason || info.Domain != "sendgate" {
				t.Errorf("%v %v", err, st.Details())
			}
		})
	}
}

func TestCheckSend_refusesHugeMessages(t *testing.T) {
	r := start(t, setup{})
	_, err := r.CheckSend(t.Context(), send(strings.Repeat("1", 10<<20), "203.0.113.7"))
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "larger than max") {
		t.Errorf("err = %v, want a clear refusal", err)
	}
	r.check(t, send("+6581234567", "203.0.113.7")) // the connection lives
}

func TestCheckSend_ownHeadersCountOnlyFromATrustedProxy(t *testing.T) {
	const limit = "\nlimits: [{name: client, by: [client], limit: 1, window: 1h}]"
	forwarded := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "203.0.113.7")
	for _, tt := range []struct {
		trusted string
		reason  string
	}{
		{"10.0.0.0/8", "client:missing"},
		{"127.0.0.0/8", "limit:client"},
	} {
		r := start(t, setup{policy: "client_address: {missing_client: deny, trusted_proxies: [" + tt.trusted + "]}" + limit})
		r.check(t, send("+6581234567", "203.0.113.7"))
		v, err := r.CheckSend(forwarded, send("+6581234568", ""))
		if err != nil || v.Reason != tt.reason {
			t.Errorf("with %s trusted: %v, %v, want %s", tt.trusted, v, err, tt.reason)
		}
	}
}

func TestCheckSend_shadowAndChallenge(t *testing.T) {
	r := start(t, setup{policy: `limits:
  - {name: soft, by: [client], limit: 1, window: 1h, on_limit: challenge}
  - {name: trial, by: [account], limit: 1, window: 1h, mode: shadow, count_denied: true}`})
	r.check(t, send("+6581234567", "203.0.113.7"))
	v := r.check(t, send("+6581234568", "203.0.113.7"))
	if v.Verdict != sendgatev1.Verdict_VERDICT_CHALLENGE || v.Reason != "limit:soft" {
		t.Errorf("verdict %v", v)
	}
	if len(v.Shadow) != 1 || v.Shadow[0].Rule != "trial" || v.Shadow[0].Verdict != sendgatev1.Verdict_VERDICT_DENY || v.Shadow[0].RetryAfter == nil {
		t.Errorf("shadow %v", v.Shadow)
	}
}

func TestBatch_answersEachAsIfAlone(t *testing.T) {
	r := start(t, setup{policy: `limits: [{name: two, by: [number], limit: 2, window: 1h}]`})
	in := &sendgatev1.CheckSendBatchRequest{}
	for _, number := range []string{"+6581234567", "nonsense", "+6581234567", "+6581234567", "+6581234568"} {
		in.Items = append(in.Items, send(number, "203.0.113.7"))
	}
	out, err := r.CheckSendBatch(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range out.Items {
		if item.Error != nil {
			got = append(got, fmt.Sprint(codes.Code(item.Error.Code), " ", item.Error.Reason, " ", item.Error.Violations[0].Field))
			continue
		}
		got = append(got, item.Response.Verdict.String())
	}
	if want := "[VERDICT_ALLOW InvalidArgument NUMBER_INVALID number VERDICT_ALLOW VERDICT_DENY VERDICT_ALLOW]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestBatch_allOrNothing(t *testing.T) {
	r := start(t, setup{policy: `limits: [{name: two, by: [client], limit: 2, window: 1h}]`})
	in := &sendgatev1.CheckSendBatchRequest{Mode: sendgatev1.BatchMode_BATCH_MODE_ALL_OR_NOTHING}
	for range 3 {
		in.Items = append(in.Items, send("+6581234567", "203.0.113.7"))
	}
	out, err := r.CheckSendBatch(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, reason := range []string{"batch:all_or_nothing", "batch:all_or_nothing", "limit:two"} {
		if v := out.Items[i].Response; v.Verdict != sendgatev1.Verdict_VERDICT_DENY || v.Reason != reason {
			t.Errorf("item %d: %v, want DENY %s", i, v, reason)
		}
	}
	in.Items = in.Items[:2]
	out, err = r.CheckSendBatch(t.Context(), in)
	if err != nil || out.Items[1].Response.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("the two that fit: %v, %v", out, err)
	}
}

func TestBatch_size(t *testing.T) {
	r := start(t, setup{policy: `limits: [{name: all, by: [account], limit: 100000, window: 1h}]`})
	in := &sendgatev1.CheckSendBatchRequest{}
	for _, n := range []int{0, 10_000, 10_001} {
		for len(in.Items) < n {
			in.Items = append(in.Items, send(fmt.Sprintf("+658%07d", len(in.Items)), "203.0.113.7"))
		}
		out, err := r.CheckSendBatch(t.Context(), in)
		if n == 10_000 {
			if err != nil || len(out.Items) != n || out.Items[n-1].Response.GetVerdict() != sendgatev1.Verdict_VERDICT_ALLOW {
				t.Errorf("%d items: %v", n, err)
			}
		} else if st := status.Convert(err); st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), "1 to 10,000") {
			t.Errorf("%d items: err = %v, want INVALID_ARGUMENT", n, err)
		}
	}
}

func TestStream_answersInOrderAndSurvivesWrongQuestions(t *testing.T) {
	r := start(t, setup{})
	stream, err := r.CheckSendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	questions := []*sendgatev1.CheckSendRequest{send("+6581234567", "203.0.113.7"), send("", "203.0.113.7"), nil, send("+6581234567", "203.0.113.7")}
	for i, q := range questions {
		if err := stream.Send(&sendgatev1.CheckSendStreamRequest{Sequence: uint64(i + 1), Check: q}); err != nil {
			t.Fatal(err)
		}
	}
	stream.CloseSend()
	for i, want := range []string{"VERDICT_ALLOW", "NUMBER_INVALID", "FIELD_INVALID", "VERDICT_DENY"} {
		out, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got := out.GetError().GetReason()
		if out.Response != nil {
			got = out.Response.Verdict.String()
		}
		if got != want || out.Sequence != uint64(i+1) {
			t.Errorf("answer %d: sequence %d, %s, want %s", i+1, out.Sequence, got, want)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v, want EOF", err)
	}
}

// held is a clock that stops whoever reads it, so that a check stays in flight for as long as the test wants.
type held struct {
	arrived chan struct{}
	goOn    chan struct{}
	armed   atomic.Bool
}

func newHeld() *held { return &held{arrived: make(chan struct{}), goOn: make(chan struct{})} }

func (h *held) now() time.Time {
	if h.armed.Load() {
		h.arrived <- struct{}{}
		<-h.goOn
	}
	return time.Unix(1_800_000_000, 0)
}

type answer struct {
	out *sendgatev1.CheckSendResponse
	err error
}

func (r *running) hang(h *held, number string) chan answer {
	got := make(chan answer, 1)
	go func() {
		out, err := r.CheckSend(context.Background(), send(number, "203.0.113.7"))
		got <- answer{out, err}
	}()
	<-h.arrived
	return got
}

func TestTooManyInFlight(t *testing.T) {
	h := newHeld()
	r := start(t, setup{clock: h.now, maxInFlight: 1})
	h.armed.Store(true)
	first := r.hang(h, "+6581234567")
	_, err := r.CheckSend(t.Context(), send("+6581234568", "203.0.113.7"))
	st := status.Convert(err)
	var retry *errdetails.RetryInfo
	for _, d := range st.Details() {
		if d, ok := d.(*errdetails.RetryInfo); ok {
			retry = d
		}
	}
	if st.Code() != codes.ResourceExhausted || retry == nil || retry.RetryDelay.AsDuration() <= 0 {
		t.Errorf("err = %v, want RESOURCE_EXHAUSTED with RetryInfo", err)
	}
	if res := r.post(t, "/v1/check", `{"number":"+6581234569","clientAddress":"203.0.113.7"}`); res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("HTTP: %s %v", res.Status, res.Header)
	}
	close(h.goOn)
	if a := <-first; a.err != nil || a.out.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("the one in flight: %v, %v", a.out, a.err)
	}
}

func TestDrain_finishesWhatIsInFlight(t *testing.T) {
	h := newHeld()
	r := start(t, setup{clock: h.now, drain: time.Minute})
	health := healthgrpc.NewHealthClient(r.conn)
	watch, err := health.Watch(t.Context(), &healthgrpc.HealthCheckRequest{Service: "sendgate.v1.SendGateService"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.Status != healthgrpc.HealthCheckResponse_SERVING {
		t.Fatalf("health before: %v, %v", got, err)
	}
	idle, err := r.CheckSendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Send(&sendgatev1.CheckSendStreamRequest{Sequence: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Recv(); err != nil {
		t.Fatal(err)
	}
	h.armed.Store(true)
	first := r.hang(h, "+6581234567")

	r.stop()
	if got, err := watch.Recv(); err != nil || got.Status != healthgrpc.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health in the drain: %v, %v", got, err)
	}
	if _, err := idle.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the idle stream ended with %v, want UNAVAILABLE", err)
	}
	select {
	case err := <-r.done:
		t.Fatalf("Serve returned %v with a call in flight", err)
	default:
	}
	close(h.goOn)
	if a := <-first; a.err != nil || a.out.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("the one in flight: %v, %v", a.out, a.err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", r.conn.Target()); err == nil {
		t.Error("the port is still open")
	}
}

func TestDrain_cutsOffWhatDoesNotFinish(t *testing.T) {
	h := newHeld()
	r := start(t, setup{clock: h.now, drain: 50 * time.Millisecond})
	h.armed.Store(true)
	first := r.hang(h, "+6581234567")
	r.stop()
	if a := <-first; status.Code(a.err) != codes.Unavailable {
		t.Errorf("the stuck call: %v, want UNAVAILABLE", a.err)
	}
	close(h.goOn)
	if err := <-r.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if !strings.Contains(r.log.String(), "cut off") {
		t.Errorf("the log does not say it: %s", r.log)
	}
}

func TestPanicStaysInside(t *testing.T) {
	var armed atomic.Bool
	r := start(t, setup{clock: func() time.Time {
		if armed.Load() {
			panic("call +6581234567")
		}
		return time.Unix(1_800_000_000, 0)
	}})
	armed.Store(true)
	_, err := r.CheckSend(t.Context(), send("+6581234567", "203.0.113.7"))
	if st := status.Convert(err); st.Code() != codes.Internal || st.Message() != "internal error" {
		t.Errorf("gRPC: %v", err)
	}
	stream, err := r.CheckSendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&sendgatev1.CheckSendStreamRequest{Check: send("+6581234567", "203.0.113.7")})
	if _, err := stream.Recv(); status.Code(err) != codes.Internal {
		t.Errorf("stream: %v", err)
	}
	res := r.post(t, "/v1/check", `{"number":"+6581234567","clientAddress":"203.0.113.7"}`)
	if body := read(t, res); res.StatusCode != 500 || strings.Contains(body, "call") {
		t.Errorf("HTTP: %s %s", res.Status, body)
	}
	if log := r.log.String(); !strings.Contains(log, "panic") || strings.Contains(log, "81234567") {
		t.Errorf("log: %s", log)
	}
	if m := r.metric(t, "sendgate_panics_total"); m != "3" {
		t.Errorf("sendgate_panics_total %s, want 3", m)
	}
	armed.Store(false)
	r.check(t, send("+6581234567", "203.0.113.7"))
}

func TestReflection(t *testing.T) {
	r := start(t, setup{})
	stream, err := reflectgrpc.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&reflectgrpc.ServerReflectionRequest{MessageRequest: &reflectgrpc.ServerReflectionRequest_ListServices{}})
	out, err := stream.Recv()
	stream.CloseSend()
	if err != nil || !strings.Contains(out.String(), "sendgate.v1.SendGateService") {
		t.Errorf("%v, %v", out, err)
	}
}
