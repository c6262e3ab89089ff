package client

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// What the client adds to a bare call of the generated code, over loopback to a server that only says ALLOW.
func BenchmarkCheck(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	sendgatev1.RegisterSendGateServiceServer(server, allowing{})
	go server.Serve(listener)
	defer server.Stop()
	c, err := New(listener.Addr().String(), Options{Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.gate.CheckSend(b.Context(), otp.message()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := c.Check(b.Context(), otp); err != nil || !v.Answered {
				b.Fatal(v, err)
			}
		}
	})
}

// allowing keeps nothing, unlike wire.
type allowing struct {
	sendgatev1.UnimplementedSendGateServiceServer
}

func (allowing) CheckSend(_ context.Context, _ *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	return allow(), nil
}
