package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/client"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// rules are those of the gate in the examples and tests.
const rules = `
version: 1
limits:
  - {name: number-minute, by: [number], limit: 1, window: 60s}
  - {name: client-hour, by: [client], limit: 3, window: 1h, on_limit: challenge}
`

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// serve runs a real gate on a loopback port or unix socket, with a clock that stands still, until stop is called.
func serve(addr string) (at string, stop func(), err error) {
	p, err := policy.Parse("rules.yaml", []byte(rules))
	if err != nil {
		return "", nil, err
	}
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		return "", nil, err
	}
	g, err := gate.New(context.Background(), gate.Options{Policy: p, Store: store, Clock: func() time.Time { return noon }})
	if err != nil {
		return "", nil, err
	}
	listener, err := server.Listen(addr)
	if err != nil {
		return "", nil, err
	}
	s, err := server.New(server.Options{Gate: g, Store: store, Log: slog.New(slog.DiscardHandler), GRPC: listener})
	if err != nil {
		return "", nil, err
	}
	if at = addr; !strings.HasPrefix(addr, "unix:") {
		at = listener.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	return at, func() {
		cancel()
		<-served
		g.Close()
		store.Close()
	}, nil
}

func connect(t *testing.T, addr string, o client.Options) *client.Client {
	t.Helper()
	o.Timeout = 10 * time.Second // the machine may be busy
	c, err := client.New(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestServer(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		at, stop, err := serve(addr)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		c := connect(t, at, client.Options{})
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		for i, want := range []struct {
			number client.Number
			kind   client.Kind
			reason string
			after  time.Duration
		}{
			{"+6581234567", client.Allow, "", 0},
			{"+6581234567", client.Deny, "limit:number-minute", time.Minute},
			{"+6581234568", client.Allow, "", 0},
			{"+6581234569", client.Allow, "", 0},
			{"+6581234570", client.Challenge, "limit:client-hour", time.Hour},
		} {
			v, err := c.Check(t.Context(), client.Send{Number: want.number, ClientAddress: "203.0.113.7"})
			if err != nil || v.Kind != want.kind || v.Reason != want.reason || v.RetryAfter != want.after || !v.Answered || v.CheckID == "" {
				t.Errorf("%d: %+v, %v, want %+v", i, v, err, want)
			}
		}
		v, err := c.Check(t.Context(), client.Send{Number: "65812345671234567890"})
		if status.Code(err) != codes.InvalidArgument || v.Allowed() || strings.Contains(err.Error(), "8123456") {
			t.Errorf("a wrong number: %+v, %v", v, err)
		}
		results, err := c.CheckBatch(t.Context(), []client.Send{{Number: "+6591234567"}, {Number: "+6591234567"}, {Number: "x"}})
		if err != nil || !results[0].Verdict.Allowed() || results[1].Verdict.Kind != client.Deny || status.Code(results[2].Err) != codes.InvalidArgument {
			t.Errorf("%+v, %v", results, err)
		}
		results, err = c.CheckAll(t.Context(), []client.Send{{Number: "+6591234568"}, {Number: "+6591234567"}})
		if err != nil || results[0].Verdict.Reason != "batch:all_or_nothing" || results[1].Verdict.Reason != "limit:number-minute" {
			t.Errorf("%+v, %v", results, err)
		}
	}
}

func TestServer_restarts(t *testing.T) {
	addr := "unix:" + filepath.Join(t.TempDir(), "s")
	_, stop, err := serve(addr)
	if err != nil {
		t.Fatal(err)
	}
	var unanswered atomic.Int32
	c := connect(t, addr, client.Options{OnUnanswered: func(error) { unanswered.Add(1) }})
	check := func() client.Verdict {
		v, err := c.Check(t.Context(), client.Send{Number: "+6581234567"})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := check(); !v.Allowed() || !v.Answered {
		t.Errorf("%+v", v)
	}
	stop()
	for range 20 {
		if v := check(); !v.Allowed() || v.Answered || v.Reason != "gate:unreachable" {
			t.Errorf("while it is down: %+v", v)
		}
	}
	if unanswered.Load() != 20 {
		t.Errorf("told of %d, want 20", unanswered.Load())
	}
	_, stop, err = serve(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := c.Ping(t.Context()); err != nil { // waits for the connection
		t.Fatal(err)
	}
	if v := check(); !v.Allowed() || !v.Answered {
		t.Errorf("after the restart: %+v", v)
	}
}

// answering allows everything over any transport.
type answering struct {
	sendgatev1.UnimplementedSendGateServiceServer
	auth atomic.Value
}

func (a *answering) CheckSend(ctx context.Context, _ *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	a.auth.Store(strings.Join(md.Get("authorization"), ","))
	return &sendgatev1.CheckSendResponse{Verdict: client.Allow}, nil
}

func TestTLS(t *testing.T) {
	borrowed := httptest.NewTLSServer(nil) // for its certificate
	defer borrowed.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &answering{}
	s := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&borrowed.TLS.Certificates[0])))
	sendgatev1.RegisterSendGateServiceServer(s, a)
	go s.Serve(listener)
	defer s.Stop()
	pool := x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	c := connect(t, listener.Addr().String(), client.Options{APIKey: "k", TLS: &tls.Config{RootCAs: pool}})
	if v, err := c.Check(t.Context(), client.Send{Number: "+6581234567"}); err != nil || !v.Answered || a.auth.Load() != "Bearer k" {
		t.Errorf("%+v, %v, authorization %v", v, err, a.auth.Load())
	}
	a.auth.Store("")
	c = connect(t, listener.Addr().String(), client.Options{APIKey: "k", FailMode: client.FailClosed, TLS: &tls.Config{}})
	if v, err := c.Check(t.Context(), client.Send{Number: "+6581234567"}); err != nil || v.Answered || v.Allowed() || a.auth.Load() != "" {
		t.Errorf("a stranger's certificate: %+v, %v", v, err)
	}
}
