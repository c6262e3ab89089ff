package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sendgate/sendgate/internal/extract"
)

// extAuthz is Envoy's external authorization (envoy.service.auth.v3): Envoy asks about each request, with its body, before it
// passes it on.
type extAuthz struct {
	authv3.UnimplementedAuthorizationServer
	*service
}

// profileExtension is the key of a route's context_extensions that names the profile.
const profileExtension = "profile"

// Check answers for one request. It returns an error only when nobody waits for the answer; what is wrong on our side is an
// error_response, so that Envoy's failure_mode_allow decides and, where it is false, the client is told when to come back.
func (e *extAuthz) Check(ctx context.Context, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	attributes := in.GetAttributes()
	request := fromAttributes(ctx, attributes)
	by := e.gate.Snapshot()
	p := &proxied{by: by, policy: by.Policy().Proxies, profile: attributes.GetContextExtensions()[profileExtension], reading: extract.Read(request)}
	if p.policy != nil {
		p.client = p.policy.ClientAddress
	}
	r := e.rule(ctx, p, e.metrics.extAuthz)
	switch f := r.failure; {
	case f == nil && r.pass:
		return r.allowed()
	case f == nil:
		return r.denied(isGRPC(request))
	case f.code == codes.Canceled, f.code == codes.DeadlineExceeded:
		return nil, f
	default:
		return r.errored(isGRPC(request))
	}
}

// fromAttributes reads what Envoy tells of a request.
func fromAttributes(ctx context.Context, a *authv3.AttributeContext) *extract.Request {
	http := a.GetRequest().GetHttp()
	r := &extract.Request{
		Method: http.GetMethod(), Target: http.GetPath(), Body: http.GetRawBody(), Size: http.GetSize(),
		Context:  a.GetContextExtensions(),
		Metadata: trees(a.GetMetadataContext()), RouteMetadata: trees(a.GetRouteMetadataContext()),
		GRPC:          func(name string) []string { return metadata.ValueFromIncomingContext(ctx, name) },
		PeerAddress:   a.GetSource().GetAddress().GetSocketAddress().GetAddress(),
		PeerPrincipal: a.GetSource().GetPrincipal(),
	}
	if r.Body == nil {
		r.Body = []byte(http.GetBody())
	}
	r.Header = func(name string) []string {
		if v, ok := http.GetHeaders()[name]; ok {
			return []string{v}
		}
		var lines []string
		for _, h := range http.GetHeaderMap().GetHeaders() { // encode_raw_headers
			if h.Key == name {
				lines = append(lines, h.Value+string(h.RawValue))
			}
		}
		return lines
	}
	markPartial(r)
	return r
}

// markPartial believes Envoy's own word that it cut the body off. A client who writes it only harms himself.
func markPartial(r *extract.Request) {
	if slices.Contains(r.Header("x-envoy-auth-partial-body"), "true") {
		r.Size = max(r.Size, int64(len(r.Body))+1)
	}
}

func trees(m *corev3.Metadata) map[string]any {
	out := make(map[string]any, len(m.GetFilterMetadata()))
	for namespace, tree := range m.GetFilterMetadata() {
		out[namespace] = tree.AsMap()
	}
	return out
}

// isGRPC says that the client speaks gRPC: Envoy turns a denial's body into its grpc-message.
func isGRPC(r *extract.Request) bool {
	types := r.Header("content-type")
	return len(types) == 1 && (types[0] == "application/grpc" || strings.HasPrefix(types[0], "application/grpc+"))
}

func (r *ruling) allowed() (*authv3.CheckResponse, error) {
	ok := &authv3.OkHttpResponse{Headers: headerOptions(r.upstream)}
	if r.upstream.Get(checkIDHeader) == "" {
		ok.HeadersToRemove = []string{strings.ToLower(checkIDHeader)}
	}
	return r.response(codes.OK, func(out *authv3.CheckResponse) { out.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: ok} })
}

// denied always names the status: Envoy makes 403 of every gRPC code that comes without.
func (r *ruling) denied(grpc bool) (*authv3.CheckResponse, error) {
	return r.response(codes.PermissionDenied, func(out *authv3.CheckResponse) {
		out.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: r.refusal(grpc)}
	})
}

// errored says that there is no answer.
func (r *ruling) errored(grpc bool) (*authv3.CheckResponse, error) {
	f := r.failure
	r.status, r.grpc, r.detail = httpStatus(f), f.code, "the request could not be checked: try again"
	if f.retryAfter > 0 {
		r.header = http.Header{"Retry-After": {strconv.FormatInt(wholeSeconds(f.retryAfter), 10)}}
	}
	return r.response(f.code, func(out *authv3.CheckResponse) {
		out.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: r.refusal(grpc)}
	})
}

// refusal is what the client gets. A gRPC client gets a status of gRPC: without it Envoy makes UNAVAILABLE of 429, which clients
// ask again at once; and text, because Envoy makes it the message.
func (r *ruling) refusal(grpc bool) *authv3.DeniedHttpResponse {
	out := &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(r.status)}, Headers: headerOptions(r.header)}
	if grpc {
		out.Headers = append(out.Headers, headerOption("grpc-status", strconv.Itoa(int(r.grpc))))
		out.Body = r.detail
		return out
	}
	out.Headers = append(out.Headers, headerOption("content-type", "application/problem+json"))
	out.Body = string(r.body())
	return out
}

// response adds what Envoy's access log can show.
func (r *ruling) response(code codes.Code, set func(*authv3.CheckResponse)) (*authv3.CheckResponse, error) {
	facts, err := structpb.NewStruct(r.facts)
	if err != nil {
		return nil, err
	}
	out := &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(code)}, DynamicMetadata: facts}
	set(out)
	return out, nil
}

func headerOptions(h http.Header) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	for name, lines := range h {
		out = append(out, headerOption(strings.ToLower(name), lines[0]))
	}
	slices.SortFunc(out, func(a, b *corev3.HeaderValueOption) int { return strings.Compare(a.Header.Key, b.Header.Key) })
	return out
}

// headerOption takes the place of what was there: a client must not be able to add to it.
func headerOption(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}
}
