package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

var population = Traffic{Numbers: 1_000_000, Clients: 200_000, Accounts: 64}

// BenchmarkCheckSend asks over gRPC for the embedded default policy, and asks the floor the same way. Client and server share
// the process, so allocations are of both: `benchstat -col /server` shows what the gate adds.
func BenchmarkCheckSend(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, callers := range []int{1, 16} {
			for _, answers := range []string{"floor", "gate"} {
				b.Run(fmt.Sprintf("net=%s/callers=%d/server=%s", network, callers, answers), func(b *testing.B) {
					client := dial(b, listen(b, network), map[string]func(testing.TB, net.Listener){"floor": serveFloor, "gate": serveGate}[answers])
					ask(b, callers, client)
				})
			}
		}
	}
}

// ask has a number of callers ask as fast as they are answered.
func ask(b *testing.B, callers int, client sendgatev1.SendGateServiceClient) {
	ctx := context.Background()
	if _, err := client.CheckSend(ctx, population.Request(0)); err != nil { // connects
		b.Fatal(err)
	}
	var next atomic.Uint64
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, callers)
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		go func() {
			for left.Add(-1) >= 0 {
				if _, err := client.CheckSend(ctx, population.Request(next.Add(1))); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checks/s")
}

func serveFloor(tb testing.TB, l net.Listener) {
	s := grpc.NewServer()
	sendgatev1.RegisterSendGateServiceServer(s, Floor{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

// serveGate serves what the sidecar does on its built-in policy.
func serveGate(tb testing.TB, l net.Listener) {
	store, err := limiter.Open(limiter.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	g, err := gate.New(tb.Context(), gate.Options{Store: store, Clock: server.NewClock(store.Newest()).Now})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := server.New(server.Options{Gate: g, Store: store, GRPC: l})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		g.Close()
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
}

func listen(tb testing.TB, network string) net.Listener {
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "bench") // a socket's path may have 108 bytes: too few for tb.TempDir
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { os.RemoveAll(dir) })
		address = filepath.Join(dir, "s.sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// dial serves on a listener and connects to it.
func dial(tb testing.TB, l net.Listener, serve func(testing.TB, net.Listener)) sendgatev1.SendGateServiceClient {
	serve(tb, l)
	target := "passthrough:///" + l.Addr().String()
	if l.Addr().Network() == "unix" {
		target = "unix:" + l.Addr().String()
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return sendgatev1.NewSendGateServiceClient(conn)
}

// What the benchmarks measure is the real thing: both ways lead to an answer, and only the gate knows more than ALLOW.
func TestCheckSend_floorAllowsGateJudges(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		floor, gate := dial(t, listen(t, network), serveFloor), dial(t, listen(t, network), serveGate)
		for i, want := range []sendgatev1.Verdict{sendgatev1.Verdict_VERDICT_ALLOW, sendgatev1.Verdict_VERDICT_DENY} {
			r, err := gate.CheckSend(t.Context(), population.Request(7))
			if err != nil {
				t.Fatal(err)
			}
			if r.GetVerdict() != want || r.GetRule() != "number-minute" {
				t.Errorf("%s: check %d of a number within a minute: %v by %q, want %v by number-minute", network, i+1, r.GetVerdict(), r.GetRule(), want)
			}
			if r, err := floor.CheckSend(t.Context(), population.Request(7)); err != nil || r.GetVerdict() != sendgatev1.Verdict_VERDICT_ALLOW {
				t.Errorf("%s: the floor: %v, %v, want ALLOW", network, r, err)
			}
		}
	}
}
