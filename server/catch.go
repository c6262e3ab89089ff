package server

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// catch is deferred where a panic would otherwise end the process. The caller is told nothing of it; the log gets the stack
// and the kind of the panic, but of its value only what the runtime wrote: anything else could hold a number.
func (s *service) catch(report func(error)) {
	p := recover()
	if p == nil {
		return
	}
	s.metrics.panics.Inc()
	what := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	s.log.Error("panic in a handler: please report it", "panic", what, "stack", string(debug.Stack()))
	report(&failure{code: codes.Internal, reason: "INTERNAL", message: "internal error"})
}

func (g *grpcServer) catchUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (out any, err error) {
	defer g.catch(func(caught error) { out, err = nil, caught })
	if err := stale(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	ctx, f := g.doorman.grpcSession(ctx, info.FullMethod).enter(ctx)
	if f != nil {
		g.metrics.failed(f)
		return nil, f
	}
	return handler(ctx, req)
}

func (g *grpcServer) catchStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer g.catch(func(caught error) { err = caught })
	if !g.streams.enter() {
		g.metrics.shed.Inc()
		return errBusy
	}
	defer g.streams.leave()
	ctx, f := g.doorman.grpcSession(stream.Context(), info.FullMethod).enter(stream.Context())
	if f != nil {
		g.metrics.failed(f)
		return f
	}
	stream = &streamIn{stream, ctx}
	if info.FullMethod == healthgrpc.Health_Watch_FullMethodName {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		go g.endWatch(ctx, cancel)
		stream = &streamIn{stream, ctx}
	}
	return handler(srv, stream)
}

// endWatch ends a health watch in the drain, once it had time to say why: it would go on for ever and hold the drain up.
func (g *grpcServer) endWatch(ctx context.Context, end context.CancelFunc) {
	select {
	case <-ctx.Done():
		return
	case <-g.draining:
	}
	select {
	case <-ctx.Done():
	case <-time.After(lastWord):
		end()
	}
}

// lastWord is how long a health watch has to hear that this server goes.
const lastWord = 100 * time.Millisecond

// streamIn is a stream with a context of our own.
type streamIn struct {
	grpc.ServerStream
	ctx context.Context // in a struct because grpc asks for it so
}

func (s *streamIn) Context() context.Context { return s.ctx }

func (s *service) catchHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.catch(func(err error) { writeFailure(w, err.(*failure)) })
		next.ServeHTTP(w, r)
	})
}
