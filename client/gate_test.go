package client

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// wire is a grpc server that answers what a test wrote down. It stands for every gate that there may be, slow and broken ones
// too; the real one is asked in server_test.go.
type wire struct {
	sendgatev1.UnimplementedSendGateServiceServer
	health *health.Server
	// answer gets the number of the call, from 1. Nil: ALLOW.
	answer  func(ctx context.Context, call int) (*sendgatev1.CheckSendResponse, error)
	batch   func(*sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error)
	outcome func(call int, in *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, error)

	mu     sync.Mutex
	checks []*sendgatev1.CheckSendRequest
	auth   []string // of the last call
}

func (w *wire) CheckSend(ctx context.Context, in *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	w.mu.Lock()
	w.checks = append(w.checks, in)
	call := len(w.checks)
	md, _ := metadata.FromIncomingContext(ctx)
	w.auth = md.Get("authorization")
	w.mu.Unlock()
	if w.answer == nil {
		return allow(), nil
	}
	return w.answer(ctx, call)
}

func (w *wire) CheckSendBatch(_ context.Context, in *sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
	return w.batch(in)
}

func (w *wire) CheckVerify(_ context.Context, in *sendgatev1.CheckVerifyRequest) (*sendgatev1.CheckVerifyResponse, error) {
	if in.CheckId != "id" || in.Number != "+6581234567" || in.IdempotencyKey == "" {
		return nil, status.Error(codes.InvalidArgument, "not what was asked")
	}
	return &sendgatev1.CheckVerifyResponse{Verdict: Deny, Reason: "limit:codes", RetryAfter: durationpb.New(time.Minute)}, nil
}

func (w *wire) ReportOutcome(_ context.Context, in *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, error) {
	w.mu.Lock()
	w.checks = append(w.checks, nil)
	call := len(w.checks)
	w.mu.Unlock()
	return w.outcome(call, in)
}

func (w *wire) ReportOutcomeBatch(_ context.Context, in *sendgatev1.ReportOutcomeBatchRequest) (*sendgatev1.ReportOutcomeBatchResponse, error) {
	out := &sendgatev1.ReportOutcomeBatchResponse{}
	for i, item := range in.Items {
		answer, err := w.outcome(i+1, item)
		result := &sendgatev1.ReportOutcomeBatchItem{Response: answer}
		if err != nil {
			result.Error = &sendgatev1.ItemError{Code: int32(status.Code(err)), Reason: "CHECK_ID_UNKNOWN", Message: err.Error()}
		}
		out.Items = append(out.Items, result)
	}
	return out, nil
}

func (w *wire) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.checks)
}

func allow() *sendgatev1.CheckSendResponse {
	return &sendgatev1.CheckSendResponse{Verdict: Allow, CheckId: "id", Rule: "number-30m", Remaining: 9, Limit: 10}
}

// hang answers nothing until the caller has gone.
func hang(ctx context.Context) (*sendgatev1.CheckSendResponse, error) {
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

// ours is an error as the gate makes them.
func ours(code codes.Code, reason string, after time.Duration) error {
	s, err := status.New(code, "what is wrong").WithDetails([]protoadapt.MessageV1{
		&errdetails.ErrorInfo{Domain: "sendgate", Reason: reason}, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)},
	}...)
	if err != nil {
		return err
	}
	return s.Err()
}

// ask connects a client to the wire, all in memory.
func ask(t *testing.T, w *wire, o Options) *Client {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	sendgatev1.RegisterSendGateServiceServer(server, w)
	w.health = health.NewServer()
	w.health.SetServingStatus(sendgatev1.SendGateService_ServiceDesc.ServiceName, healthgrpc.HealthCheckResponse_SERVING)
	healthgrpc.RegisterHealthServer(server, w.health)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return dial(t, listener.DialContext, o)
}

// dial makes a client over any transport.
func dial(t *testing.T, to func(context.Context) (net.Conn, error), o Options) *Client {
	t.Helper()
	o.ClearText = true
	o.DialOptions = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return to(ctx) })}
	c, err := New("passthrough:///gate", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
