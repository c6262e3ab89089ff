package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/extract"
	"github.com/sendgate/sendgate/policy"
)

// proxyPrefix is where proxies ask by HTTP: what follows is the name of a check in the policy. It stands in the proxy's own
// configuration, so that a client has no say in it.
const proxyPrefix = "/v1/proxy/"

// maxProxied is the largest body that is read for a proxy, in bytes.
const maxProxied = 1 << 20

// statusHeader has the true status, for proxies that know only some.
const statusHeader = "X-RL-Status"

// routeProxied takes the checks of proxies out before anything looks at their path or origin: both are those of somebody
// else's request.
func (s *service) routeProxied(next http.Handler) http.Handler {
	proxied := s.identifyHTTP(http.HandlerFunc(s.serveProxied))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, proxyPrefix) {
			proxied.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *service) serveProxied(w http.ResponseWriter, r *http.Request) {
	name, rest := strings.TrimPrefix(r.RequestURI, proxyPrefix), ""
	if end := strings.IndexAny(name, "/?"); end >= 0 {
		name, rest = name[:end], name[end:]
	}
	by := s.gate.Snapshot()
	p := &proxied{by: by, policy: by.Policy().Proxies}
	var check *policy.ProxyCheck
	if p.policy != nil {
		if check = p.policy.Checks[name]; check == nil {
			f := &failure{code: codes.NotFound, reason: "NO_SUCH_CHECK", message: "the policy's proxies.checks does not have it: write envoy, nginx, njs, haproxy, caddy, traefik, or one that it has"}
			s.metrics.failed(f)
			writeFailure(w, f)
			return
		}
		p.profile, p.client = check.Profile, check.ClientAddress
	} else {
		check = &policy.ProxyCheck{}
	}
	request := &extract.Request{Header: func(name string) []string { return r.Header.Values(name) }}
	switch check.Original {
	case policy.AsPath:
		request.Method, request.Target = r.Method, rest
	default:
		prefix := string(check.Original)
		request.Method, request.Target = r.Header.Get(prefix+"-method"), r.Header.Get(prefix+"-uri")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxProxied))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		request.TooLarge = true
	case err != nil:
		return // nobody waits
	default:
		request.Body = body
	}
	markPartial(request)
	p.reading = extract.Read(request)
	p.own = func(_ context.Context, header string) *gate.Forwarded {
		return httpCall(r.RemoteAddr, r.Header, header)
	}
	s.rule(r.Context(), p, s.metrics.forwardAuth).write(w, check.DenyStatus)
}

// write answers a proxy that asked by HTTP.
func (r *ruling) write(w http.ResponseWriter, denyStatus int) {
	h := w.Header()
	if f := r.failure; f != nil {
		h.Set(statusHeader, strconv.Itoa(httpStatus(f)))
		writeFailure(w, f)
		return
	}
	if verdict, ok := r.facts["verdict"].(string); ok { // not the reason: some proxies show every header to the client
		h.Set(verdictHeader, verdict)
	}
	if r.pass {
		h.Set(statusHeader, "200")
		h.Set(checkIDHeader, r.upstream.Get(checkIDHeader))
		w.WriteHeader(http.StatusOK)
		return
	}
	for name, lines := range r.header {
		h[name] = lines
	}
	h.Set(statusHeader, strconv.Itoa(r.status))
	status := r.status
	if denyStatus != 0 {
		status = denyStatus
	}
	writeJSON(w, status, "application/problem+json", r.body())
}
