package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

var otp = Send{Number: "+6581234567", ClientAddress: "203.0.113.7"}

func TestCheck_saysAllOfASend(t *testing.T) {
	w := &wire{}
	c := ask(t, w, Options{APIKey: "k-123"})
	cost := int64(3)
	s := Send{
		Number: "+6581234567", ClientAddress: "203.0.113.7", Forwarded: &Forwarded{Peer: "10.0.0.1"}, Account: "acme",
		Subaccount: "blue", Endpoint: "login", Channel: "voice", Purpose: Transactional, Cost: 3, IdempotencyKey: "mine",
		ChallengePassed: true, Attributes: map[string]string{"tenant": "blue"},
	}
	v, err := c.Check(t.Context(), s)
	if err != nil || !v.Allowed() || !v.Answered || v.CheckID != "id" || v.Response.Remaining != 9 || v.Err() != nil {
		t.Errorf("%+v, %v", v, err)
	}
	want := &sendgatev1.CheckSendRequest{
		Number: "+6581234567", ClientAddress: "203.0.113.7", Forwarded: &Forwarded{Peer: "10.0.0.1"}, Account: "acme",
		Subaccount: "blue", Endpoint: "login", Channel: "voice", Purpose: Transactional, Cost: &cost, IdempotencyKey: "mine",
		ChallengePassed: true, Attributes: map[string]string{"tenant": "blue"},
	}
	if !proto.Equal(w.checks[0], want) {
		t.Errorf("asked %v", w.checks[0])
	}
	if len(w.auth) != 1 || w.auth[0] != "Bearer k-123" {
		t.Errorf("authorization %q", w.auth)
	}
	for range 2 {
		if _, err := c.Check(t.Context(), otp); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := w.checks[1].IdempotencyKey, w.checks[2].IdempotencyKey; len(a) < 20 || a == b {
		t.Errorf("drawn keys %q and %q", a, b)
	}
	if w.checks[1].Cost != nil {
		t.Errorf("cost %d, want none", *w.checks[1].Cost)
	}
}

func TestCheck_verdicts(t *testing.T) {
	for _, c := range []struct {
		say     *sendgatev1.CheckSendResponse
		allowed bool
		text    string
		code    codes.Code
	}{
		{allow(), true, "", codes.OK},
		{&sendgatev1.CheckSendResponse{Verdict: Deny, Reason: "limit:a", RetryAfter: durationpb.New(30 * time.Second)}, false, "sendgate: DENY, limit:a, ask again in 30s", codes.ResourceExhausted},
		{&sendgatev1.CheckSendResponse{Verdict: Deny, Reason: "block:number"}, false, "sendgate: DENY, block:number", codes.PermissionDenied},
		{&sendgatev1.CheckSendResponse{Verdict: Challenge, Reason: "limit:b"}, false, "sendgate: CHALLENGE, limit:b", codes.PermissionDenied},
		{&sendgatev1.CheckSendResponse{Verdict: 9, Reason: "of a newer gate"}, false, "sendgate: 9, of a newer gate", codes.PermissionDenied},
	} {
		client := ask(t, &wire{answer: func(context.Context, int) (*sendgatev1.CheckSendResponse, error) { return c.say, nil }}, Options{})
		v, err := client.Check(t.Context(), otp)
		if err != nil || v.Allowed() != c.allowed || !v.Answered || v.Kind != c.say.Verdict || v.RetryAfter != c.say.RetryAfter.AsDuration() {
			t.Errorf("%+v, %v", v, err)
		}
		if err := v.Err(); c.text != "" && (err == nil || err.Error() != c.text) || status.Code(err) != c.code {
			t.Errorf("%v with %v, want %q with %v", err, status.Code(err), c.text, c.code)
		}
	}
	var none Verdict
	if none.Allowed() || none.Err() == nil {
		t.Error("the zero verdict allows")
	}
}

// What the gate says, call by call, and what becomes of it. The time is that of the bubble: nothing waits, and no machine is
// too slow.
func TestCheck_triesAgain(t *testing.T) {
	unavailable := status.Error(codes.Unavailable, "connection reset")
	for _, c := range []struct {
		name   string
		script []error // nil: ALLOW; errHang: no answer; the last one goes on
		calls  int
		reason string // "": ALLOW by the gate
		err    codes.Code
		took   [2]time.Duration
	}{
		{"at once", []error{nil}, 1, "", 0, [2]time.Duration{0, 0}},
		{"after one failure", []error{unavailable, nil}, 2, "", 0, [2]time.Duration{5, 10}},
		{"after two failures", []error{unavailable, unavailable, nil}, 3, "", 0, [2]time.Duration{15, 30}},
		{"not a fourth time", []error{unavailable, unavailable, unavailable, nil}, 3, "gate:unreachable", 0, [2]time.Duration{15, 30}},
		{"after a try that hung", []error{errHang, nil}, 2, "", 0, [2]time.Duration{130, 135}},
		{"all of them hang", []error{errHang}, 3, "gate:timeout", 0, [2]time.Duration{250, 250}},
		{"a shutdown that says when", []error{ours(codes.Unavailable, "DRAINING", 50*time.Millisecond), nil}, 2, "", 0, [2]time.Duration{50, 50}},
		{"the store is gone", []error{ours(codes.Unavailable, "STORE_UNAVAILABLE", time.Second)}, 1, "store:unavailable", 0, [2]time.Duration{0, 0}},
		{"the store is back soon", []error{ours(codes.Unavailable, "STORE_UNAVAILABLE", 20*time.Millisecond), nil}, 2, "", 0, [2]time.Duration{20, 20}},
		{"too many in flight", []error{ours(codes.ResourceExhausted, "TOO_MANY_IN_FLIGHT", time.Second)}, 1, "gate:overloaded", 0, [2]time.Duration{0, 0}},
		{"a bug", []error{status.Error(codes.Internal, "oops")}, 1, "gate:error", 0, [2]time.Duration{0, 0}},
		{"not a gate", []error{status.Error(codes.Unimplemented, "what?")}, 1, "gate:error", 0, [2]time.Duration{0, 0}},
		{"no verdict", []error{errEmpty}, 1, "gate:error", 0, [2]time.Duration{0, 0}},
		{"a wrong field", []error{ours(codes.InvalidArgument, "NUMBER_INVALID", 0)}, 1, "", codes.InvalidArgument, [2]time.Duration{0, 0}},
		{"a wrong key", []error{status.Error(codes.Unauthenticated, "no")}, 1, "", codes.Unauthenticated, [2]time.Duration{0, 0}},
		{"a wrong account", []error{status.Error(codes.PermissionDenied, "no")}, 1, "", codes.PermissionDenied, [2]time.Duration{0, 0}},
	} {
		for _, mode := range []FailMode{FailOpen, FailClosed} {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &wire{answer: func(ctx context.Context, call int) (*sendgatev1.CheckSendResponse, error) {
						switch err := c.script[min(call, len(c.script))-1]; err {
						case nil:
							return allow(), nil
						case errHang:
							return hang(ctx)
						case errEmpty:
							return &sendgatev1.CheckSendResponse{}, nil
						default:
							return nil, err
						}
					}}
					told := 0
					client := ask(t, w, Options{FailMode: mode, OnUnanswered: func(err error) {
						told++
						if err == nil {
							t.Error("no cause")
						}
					}})
					began := time.Now()
					v, err := client.Check(t.Context(), otp)
					took := time.Since(began)

					if status.Code(err) != c.err || w.calls() != c.calls {
						t.Errorf("%v after %d calls, want %v after %d", err, w.calls(), c.err, c.calls)
					}
					if took < c.took[0]*time.Millisecond || took > c.took[1]*time.Millisecond {
						t.Errorf("took %v, want %d to %d ms", took, c.took[0], c.took[1])
					}
					for _, in := range w.checks {
						if in.IdempotencyKey == "" || in.IdempotencyKey != w.checks[0].IdempotencyKey {
							t.Errorf("keys %q and %q", w.checks[0].IdempotencyKey, in.IdempotencyKey)
						}
					}
					unanswered := strings.HasPrefix(c.reason, "gate:")
					wantAllowed := c.err == 0 && (c.reason == "" || unanswered && mode == FailOpen)
					if v.Allowed() != wantAllowed || v.Reason != c.reason || v.Answered != (c.err == 0 && !unanswered) || (v.Cause != nil) != (c.reason != "") {
						t.Errorf("%+v", v)
					}
					if (told == 1) != unanswered || told > 1 {
						t.Errorf("told %d times", told)
					}
					if err := v.Err(); !v.Allowed() && c.err == 0 && (status.Code(err) != codes.Unavailable || !errors.Is(err, v.Cause)) {
						t.Errorf("as an error: %v", err)
					}
				})
			})
		}
	}
}

var (
	errHang  = errors.New("hang")
	errEmpty = errors.New("empty")
)

func TestCheck_endsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answer: func(ctx context.Context, _ int) (*sendgatev1.CheckSendResponse, error) { return hang(ctx) }}
		c := ask(t, w, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		began := time.Now()
		if v, err := c.Check(ctx, otp); !errors.Is(err, context.Canceled) || v.Allowed() || time.Since(began) != 10*time.Millisecond {
			t.Errorf("%+v, %v after %v", v, err, time.Since(began))
		}
		if w.calls() != 1 {
			t.Errorf("%d calls", w.calls())
		}
	})
}

// Nobody listens: each check is over soon, and once that is known it does not try again.
func TestCheck_nobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }
		c := dial(t, refused, Options{FailMode: FailClosed})
		for range 10 {
			v, err := c.Check(t.Context(), otp)
			if err != nil || v.Kind != Deny || v.Reason != "gate:unreachable" || v.Answered {
				t.Fatalf("%+v, %v", v, err)
			}
		}
		began := time.Now()
		if _, err := c.Check(t.Context(), otp); err != nil || time.Since(began) != 0 {
			t.Errorf("took %v, %v", time.Since(began), err)
		}
		if err := c.Ping(t.Context()); err == nil {
			t.Error("Ping: no error")
		}
	})
}

func TestRetries_areBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		w := &wire{answer: func(context.Context, int) (*sendgatev1.CheckSendResponse, error) {
			if down {
				return nil, status.Error(codes.Unavailable, "down")
			}
			return allow(), nil
		}}
		c := ask(t, w, Options{})
		check := func(times int) int {
			before := w.calls()
			for range times {
				if _, err := c.Check(t.Context(), otp); err != nil {
					t.Fatal(err)
				}
			}
			return w.calls() - before
		}
		// Five failures in a row end it: 3 tries, then 2, then one each.
		if n := check(1); n != 3 {
			t.Errorf("first check: %d calls", n)
		}
		if n := check(20); n != 2+19 {
			t.Errorf("20 checks while it is down: %d calls", n)
		}
		down = false
		if n := check(70); n != 70 {
			t.Errorf("70 checks while it is up: %d calls", n)
		}
		down = true
		if n := check(1); n < 2 {
			t.Errorf("after answers: %d calls, want tries again", n)
		}
	})
}

func TestCheckBatch(t *testing.T) {
	w := &wire{batch: func(in *sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
		if in.Mode != sendgatev1.BatchMode_BATCH_MODE_EACH || in.Items[0].IdempotencyKey == in.Items[1].IdempotencyKey {
			t.Errorf("mode %v, keys %q, %q", in.Mode, in.Items[0].IdempotencyKey, in.Items[1].IdempotencyKey)
		}
		return &sendgatev1.CheckSendBatchResponse{Items: []*sendgatev1.CheckSendBatchItem{
			{Response: allow()},
			{Error: &sendgatev1.ItemError{Code: 3, Reason: "NUMBER_INVALID", Message: "number: too short", Violations: []*sendgatev1.FieldViolation{{Field: "number"}}}},
			{Error: &sendgatev1.ItemError{Code: 14, Reason: "STORE_UNAVAILABLE", RetryAfter: durationpb.New(time.Second)}},
			{Error: &sendgatev1.ItemError{Code: 8, Reason: "TOO_MANY_IN_FLIGHT"}},
			{Error: &sendgatev1.ItemError{}},
			{},
		}}, nil
	}}
	results, err := ask(t, w, Options{}).CheckBatch(t.Context(), make([]Send, 6))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		kind   Kind
		reason string
		code   codes.Code
	}{
		{Allow, "", 0}, {0, "", codes.InvalidArgument}, {Deny, "store:unavailable", 0}, {Allow, "gate:overloaded", 0}, {Allow, "gate:error", 0}, {Allow, "gate:error", 0},
	} {
		if r := results[i]; r.Verdict.Kind != want.kind || r.Verdict.Reason != want.reason || status.Code(r.Err) != want.code {
			t.Errorf("%d: %+v, want %+v", i, r, want)
		}
	}

	// What is wrong with the whole call is so for each.
	w.batch = func(in *sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
		if in.Mode != sendgatev1.BatchMode_BATCH_MODE_ALL_OR_NOTHING {
			t.Errorf("mode %v", in.Mode)
		}
		return &sendgatev1.CheckSendBatchResponse{}, nil
	}
	results, err = ask(t, w, Options{FailMode: FailClosed}).CheckAll(t.Context(), make([]Send, 2))
	if err != nil || len(results) != 2 || results[1].Verdict.Kind != Deny || results[1].Verdict.Answered {
		t.Errorf("%+v, %v", results, err)
	}
	w.batch = func(*sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
		return nil, status.Error(codes.InvalidArgument, "too many")
	}
	if results, err = ask(t, w, Options{}).CheckAll(t.Context(), make([]Send, 2)); status.Code(err) != codes.InvalidArgument || results != nil {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestCheckVerify(t *testing.T) {
	c := ask(t, &wire{}, Options{})
	v, err := c.CheckVerify(t.Context(), Verify{CheckID: "id", Number: "+6581234567"})
	if err != nil || v.Kind != Deny || v.RetryAfter != time.Minute || v.CheckID != "id" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := c.CheckVerify(t.Context(), Verify{}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func TestReport(t *testing.T) {
	var got *sendgatev1.ReportOutcomeRequest
	w := &wire{outcome: func(call int, in *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, error) {
		got = in
		switch {
		case in.CheckId == "old":
			return nil, status.Error(codes.NotFound, "no such check")
		case call == 1 && in.Detail == "lost":
			return nil, status.Error(codes.Unavailable, "connection reset")
		}
		return &sendgatev1.ReportOutcomeResponse{Result: sendgatev1.OutcomeResult_OUTCOME_RESULT_DUPLICATE}, nil
	}}
	synctest.Test(t, func(t *testing.T) {
		c := ask(t, w, Options{})
		at := time.Now()
		if err := c.Report(t.Context(), Report{CheckID: "id", Outcome: Verified, Account: "acme", At: at, Detail: "lost"}); err != nil || w.calls() != 2 {
			t.Errorf("%v after %d calls", err, w.calls())
		}
		if got.CheckId != "id" || got.Outcome != Verified || got.Account != "acme" || !got.OccurredAt.AsTime().Equal(at) {
			t.Errorf("reported %v", got)
		}
		if err := c.Report(t.Context(), Report{CheckID: "old", Outcome: Sent}); status.Code(err) != codes.NotFound || got.OccurredAt != nil {
			t.Error(err)
		}
		if err := c.Report(t.Context(), Report{Outcome: Sent}); err != nil || w.calls() != 3 {
			t.Errorf("no check id: %v after %d calls", err, w.calls())
		}
		errs, err := c.ReportBatch(t.Context(), []Report{{CheckID: "id"}, {}, {CheckID: "old"}})
		if err != nil || len(errs) != 3 || errs[0] != nil || errs[1] != nil || status.Code(errs[2]) != codes.NotFound {
			t.Errorf("%v, %v", errs, err)
		}
		if errs, err := c.ReportBatch(t.Context(), make([]Report, 2)); err != nil || len(errs) != 2 {
			t.Errorf("nothing to report: %v, %v", errs, err)
		}
	})
}

func TestPing(t *testing.T) {
	w := &wire{}
	c := ask(t, w, Options{})
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	w.health.SetServingStatus(sendgatev1.SendGateService_ServiceDesc.ServiceName, healthgrpc.HealthCheckResponse_NOT_SERVING)
	if err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "NOT_SERVING") {
		t.Error(err)
	}
}
