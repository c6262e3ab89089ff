package server

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	// maxMessage is the largest gRPC message that is read, in bytes: a batch of 10,000 ordinary sends takes about one.
	maxMessage = 4 << 20
	// maxStreams is how many calls one connection may have open.
	maxStreams = 10_000
)

// grpcServer is the gRPC surface.
type grpcServer struct {
	sendgatev1.UnimplementedSendGateServiceServer
	*service
	server   *grpc.Server
	health   *health.Server
	streams  bound
	overload *overload
	draining chan struct{}
}

func newGRPC(s *service, maxInFlight int64, transport credentials.TransportCredentials) *grpcServer {
	g := &grpcServer{service: s, health: health.NewServer(), draining: make(chan struct{}), overload: newOverload(s.metrics.shed, runtime.GOMAXPROCS(0))}
	g.streams.max = maxInFlight
	g.server = grpc.NewServer(append(TransportOptions(),
		grpc.Creds(guard{transport, g.overload}),
		grpc.ReadBufferSize(0), // guarded connections have one
		grpc.UnaryInterceptor(s.tracing.around(g.catchUnary)),
		grpc.StreamInterceptor(g.catchStream),
	)...)
	sendgatev1.RegisterSendGateServiceServer(g.server, g)
	authv3.RegisterAuthorizationServer(g.server, &extAuthz{service: s})
	healthgrpc.RegisterHealthServer(g.server, g.health)
	g.health.SetServingStatus(sendgatev1.SendGateService_ServiceDesc.ServiceName, healthgrpc.HealthCheckResponse_SERVING)
	reflection.Register(g.server)
	return g
}

// CheckSend answers one check.
func (g *grpcServer) CheckSend(ctx context.Context, in *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	v, f := g.check(ctx, in, grpcCall, g.metrics.grpc)
	if f != nil {
		return nil, f
	}
	return toCheck(&v), nil
}

// CheckSendBatch answers many.
func (g *grpcServer) CheckSendBatch(ctx context.Context, in *sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
	return g.batch(ctx, in, grpcCall)
}

// CheckSendStream answers for as long as the caller asks.
func (g *grpcServer) CheckSendStream(stream grpc.BidiStreamingServer[sendgatev1.CheckSendStreamRequest, sendgatev1.CheckSendStreamResponse]) error {
	return converse(g, stream, g.answer)
}

func (g *grpcServer) answer(ctx context.Context, in *sendgatev1.CheckSendStreamRequest) *sendgatev1.CheckSendStreamResponse {
	out := &sendgatev1.CheckSendStreamResponse{Sequence: in.Sequence}
	if in.Check == nil {
		out.Error = invalid("check", "the question is empty: write the send to judge").item()
		return out
	}
	v, f := g.check(ctx, in.Check, grpcCall, g.metrics.stream)
	if f != nil {
		out.Error = f.item()
		return out
	}
	out.Response = toCheck(&v)
	return out
}

// grpcCall tells what a gRPC call's own connection says about the client.
func grpcCall(ctx context.Context, header string) *gate.Forwarded {
	f := &gate.Forwarded{OwnCall: true}
	if p, ok := peer.FromContext(ctx); ok {
		if tcp, ok := p.Addr.(*net.TCPAddr); ok {
			f.Peer = tcp.AddrPort().Addr().String()
		}
	}
	setLines(f, header, metadata.ValueFromIncomingContext(ctx, header))
	return f
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
