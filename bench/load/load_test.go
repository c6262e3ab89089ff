package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/bench"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args, want string // want "" means that it is fine
	}{
		{"", ""},
		{"-mode closed -callers 64 -transport unix", ""},
		{"-addr 127.0.0.1:7070", ""},
		{"-addr [::1]:7070", ""},
		{"-addr localhost:7070", ""},
		{"-addr unix:/run/sendgate.sock", ""},
		{"-addr 192.0.2.1:7070", "this machine only"},
		{"-addr example.com:7070", "this machine only"},
		{"-addr 0.0.0.0:7070", "this machine only"},
		{"-addr dns:///example.com:7070", "write 127.0.0.1:PORT"},
		{"-addr 7070", "write 127.0.0.1:PORT"},
		{"-addr 127.0.0.1:7070 -policy p.yaml", "leave -addr or -policy away"},
		{"-mode both", "write open or closed"},
		{"-transport udp", "write tcp or unix"},
		{"-rate 0", "-rate 0: write 1 to 1000000"},
		{"-duration 0s", "-duration 0s: write 100ms to 24h"},
		{"-timeout 0s", "-timeout 0s"},
		{"-callers 0", "-callers"},
		{"-numbers 0", "-numbers 0: write 1 to 50000000"},
		{"-numbers 50000001", "-numbers 50000001"},
		{"-clients 262145", "-clients 262145: write 1 to 262144"},
		{"3000", "write flags only"},
	} {
		_, err := parse(strings.Fields(tt.args))
		if got := ""; tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			if err != nil {
				got = err.Error()
			}
			t.Errorf("parse %q: %q, want %q", tt.args, got, tt.want)
		}
	}
}

// An open loop sends on whether or not it is answered: here nobody is answered until everybody has asked.
func TestOpen_doesNotWaitForAnswers(t *testing.T) {
	const sends = 100
	var asked sync.WaitGroup
	asked.Add(sends)
	addr := serve(t, func(ctx context.Context) error {
		asked.Done()
		asked.Wait()
		return nil
	})
	out, err := load(t, "-addr", addr, "-rate", "1000", "-duration", "100ms")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"sent       100 in", "answered   100\n             100  ALLOW\n", "errors     0\n", "p99.9"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestOpen_failuresAreCountedAndReported(t *testing.T) {
	addr := serve(t, func(context.Context) error { return status.Error(codes.Unavailable, "the store is gone") })
	out, err := load(t, "-addr", addr, "-rate", "1000", "-duration", "100ms")
	if err == nil || !strings.Contains(err.Error(), "100 of 100 sends failed") {
		t.Errorf("error %v, want 100 of 100 sends failed", err)
	}
	if want := "errors     100\n             100  Unavailable: the store is gone\n"; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
}

func TestOpen_silenceIsAnError(t *testing.T) {
	addr := serve(t, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	out, err := load(t, "-addr", addr, "-rate", "100", "-duration", "100ms", "-timeout", "50ms")
	if err == nil || !strings.Contains(out, "DeadlineExceeded") {
		t.Errorf("error %v, want DeadlineExceeded in\n%s", err, out)
	}
}

func TestClosed_comparesWithTheFloor(t *testing.T) {
	out, err := load(t, "-addr", serve(t, func(context.Context) error { return nil }), "-mode", "closed", "-duration", "200ms", "-rounds", "2", "-callers", "4")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"  floor ", "  sendgate ", "errors     0\n", "of the floor (median of 2 rounds"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A child that cannot start says why.
func TestStart_childThatEndsIsNoWait(t *testing.T) {
	dir := socketDir(t)
	v, err := start(t.Context(), dir, "floor", modulePath+"/bench/floor", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	err = v.dial(t.Context(), settings{conns: 1})
	if err == nil || !strings.Contains(err.Error(), "write floor ADDR") {
		t.Errorf("error %v, want what the child printed", err)
	}
}

// load runs the command in this process.
func load(t *testing.T, args ...string) (string, error) {
	t.Helper()
	s, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = run(t.Context(), &out, s)
	return out.String(), err
}

// answering is the floor after something else.
type answering struct {
	bench.Floor
	before func(context.Context) error
}

func (a answering) CheckSend(ctx context.Context, r *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	if err := a.before(ctx); err != nil {
		return nil, err
	}
	return a.Floor.CheckSend(ctx, r)
}

func serve(t *testing.T, before func(context.Context) error) (addr string) {
	t.Helper()
	path := filepath.Join(socketDir(t), "s.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	sendgatev1.RegisterSendGateServiceServer(server, answering{before: before})
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return "unix:" + path
}

// socketDir is short: a socket's path may have 108 bytes, and t.TempDir carries the test's name.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTally_failuresTakeTimeToo(t *testing.T) {
	c := newTally()
	c.add(time.Millisecond, &sendgatev1.CheckSendResponse{Verdict: sendgatev1.Verdict_VERDICT_DENY, Reason: "limit:number-minute"}, nil)
	c.add(5*time.Second, nil, status.Error(codes.DeadlineExceeded, "late"))
	if c.answered != 1 || c.failed != 1 || c.verdicts["DENY limit:number-minute"] != 1 || c.errors["DeadlineExceeded: late"] != 1 {
		t.Errorf("%+v", c)
	}
	if got := time.Duration(c.latency.Max()); got < 5*time.Second {
		t.Errorf("slowest %v, want the failed one's 5s", got)
	}
}
