package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/gate"
)

// tracing makes a span of a call. It is decided before anything is made: a call that is not sampled costs one look at its headers.
//
// No span holds a number or an address: none of client.address, network.peer.address and url.full, no text of errors, and not the
// tracestate of the caller, which may hold anything. Streams have no spans: they last for days.
type tracing struct {
	tracer trace.Tracer
	share  float64 // of calls without a trace
}

const traceparent = "traceparent"

// sampled says whether a call gets a span, and in which trace.
func (t *tracing) sampled(ctx context.Context, parent string) (context.Context, bool) {
	if parent == "" {
		return ctx, t.share > 0 && (t.share >= 1 || rand.Float64() < t.share)
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: parent})
	if of := trace.SpanContextFromContext(ctx); of.IsValid() {
		return ctx, of.IsSampled()
	}
	return t.sampled(ctx, "")
}

// around puts a span around each call. A nil tracing does nothing.
func (t *tracing) around(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if t == nil {
		return next
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		parent := ""
		if v := metadata.ValueFromIncomingContext(ctx, traceparent); len(v) == 1 {
			parent = v[0]
		}
		ctx, sampled := t.sampled(ctx, parent)
		if !sampled {
			return next(ctx, req, info, handler)
		}
		method := strings.TrimPrefix(info.FullMethod, "/")
		ctx, span := t.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(semconv.RPCSystemNameGRPC, semconv.RPCMethod(method)))
		defer span.End()
		out, err := next(ctx, req, info, handler)
		endRPC(span, status.Code(err))
		return out, err
	}
}

// endRPC says how a call ended. Of a server's span only what is the server's fault is an error, as the conventions have it.
func endRPC(span trace.Span, code codes.Code) {
	name := "OK"
	if code != codes.OK {
		name = strings.ToUpper(snake(code.String()))
	}
	span.SetAttributes(semconv.RPCResponseStatusCode(name))
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		span.SetAttributes(semconv.ErrorTypeKey.String(name))
		span.SetStatus(otelcodes.Error, "")
	}
}

// aroundHTTP puts a span around the calls of the contract. Probes, metrics and the console have none.
func (t *tracing) aroundHTTP(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := routeOf(r.URL.Path)
		if route == "" {
			next.ServeHTTP(w, r)
			return
		}
		ctx, sampled := t.sampled(r.Context(), r.Header.Get(traceparent))
		if !sampled {
			next.ServeHTTP(w, r)
			return
		}
		method := r.Method
		switch method {
		case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		default:
			method = "_OTHER"
		}
		ctx, span := t.tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(semconv.HTTPRequestMethodKey.String(method), semconv.HTTPRoute(route)))
		defer span.End()
		seen := &statusSeen{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(seen, r.WithContext(ctx))
		span.SetAttributes(semconv.HTTPResponseStatusCode(seen.code))
		if seen.code >= 500 {
			span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(seen.code)))
			span.SetStatus(otelcodes.Error, "")
		}
	})
}

// routeOf is the route of a path that gets spans. A path itself could hold anything.
func routeOf(path string) string {
	switch path {
	case "/v1/check", "/v1/outcomes", "/v1/verify":
		return path
	}
	for _, prefix := range []string{"/v1/proxy/", "/sendgate.v1."} {
		if strings.HasPrefix(path, prefix) {
			return prefix + "*"
		}
	}
	return ""
}

// statusSeen remembers the status of an answer.
type statusSeen struct {
	http.ResponseWriter
	code int
}

func (s *statusSeen) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (s *statusSeen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// verdict notes the answer of a check in the span of its call, if there is one. What it notes are words of the policy and the
// opaque check id.
func (t *tracing) verdict(ctx context.Context, v *gate.Verdict) {
	if t == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("sendgate.verdict", v.Kind.String()), attribute.String("sendgate.check_id", v.CheckID))
	if v.Reason != "" {
		span.SetAttributes(attribute.String("sendgate.reason", v.Reason))
	}
	if v.Rule != "" {
		span.SetAttributes(attribute.String("sendgate.rule", v.Rule))
	}
}
