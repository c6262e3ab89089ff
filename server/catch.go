package server

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
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

func (g *grpcServer) catchUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (out any, err error) {
	defer g.catch(func(caught error) { out, err = nil, caught })
	return handler(ctx, req)
}

func (g *grpcServer) catchStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer g.catch(func(caught error) { err = caught })
	if !g.streams.enter() {
		g.metrics.shed.Inc()
		return errBusy
	}
	defer g.streams.leave()
	return handler(srv, stream)
}

func (s *service) catchHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.catch(func(err error) { writeFailure(w, err.(*failure)) })
		next.ServeHTTP(w, r)
	})
}
