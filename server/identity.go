package server

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

// need is what a method asks of its caller.
type need uint8

const (
	needAccount need = iota // an account, where callers are asked at all. What nobody thought of needs it too
	needNothing
	needAdmin
)

// needOf is what a gRPC method, or the path of an HTTP request, asks for.
func needOf(path string) need {
	switch {
	case strings.HasPrefix(path, "/"+sendgatev1connect.AdminServiceName+"/"),
		strings.HasPrefix(path, "/"+sendgatev1connect.ConsentAdminServiceName+"/"),
		strings.HasPrefix(path, "/"+sendgatev1connect.DetectionServiceName+"/"),
		strings.HasPrefix(path, "/"+sendgatev1connect.ReportServiceName+"/"),
		strings.HasPrefix(path, "/"+sendgatev1connect.BoardServiceName+"/"):
		return needAdmin
	case strings.HasPrefix(path, webhookPath), // they are known by what is signed
		path == "/healthz", path == "/readyz", path == "/metrics",
		path == "/", strings.HasPrefix(path, consolePath), // the console asks for itself
		strings.HasPrefix(path, "/grpc.health."), strings.HasPrefix(path, "/grpc.reflection."):
		return needNothing
	}
	return needAccount
}

// doorman finds out who calls.
type doorman struct {
	book *identity.Book
	tls  *TLS // nil without
	// openToAll lets strangers in from other machines where nobody is asked who he is.
	openToAll bool
	now       func() time.Time
}

// session is one call, or one stream of them, and what it showed of its caller. It is in the context of every handler.
type session struct {
	doorman       *doorman
	need          need
	peer          netip.Addr // the zero Addr for a unix socket
	authorization []string
	chain         []*x509.Certificate // what the caller showed, its own first

	known atomic.Pointer[knownCaller]
}

// knownCaller is what was found out, and from what it followed.
type knownCaller struct {
	book, tls any
	caller    gate.Caller
	owner     identity.Owner
}

type sessionKey struct{}

// callerOf is who asks. It is cheap to ask again, and a stream does so for each question: a key that was removed stops there.
func callerOf(ctx context.Context) (gate.Caller, *failure) {
	s, ok := ctx.Value(sessionKey{}).(*session)
	if !ok {
		return gate.Caller{}, &failure{code: codes.Internal, reason: "INTERNAL", message: "internal error"}
	}
	k, f := s.who()
	if f != nil {
		return gate.Caller{}, f
	}
	return k.caller, nil
}

// enter lets a call in, or says why not.
func (s *session) enter(ctx context.Context) (context.Context, *failure) {
	if s.need != needNothing {
		if _, f := s.who(); f != nil {
			return nil, f
		}
	}
	return context.WithValue(ctx, sessionKey{}, s), nil
}

// who finds the caller, or remembers him while nothing changed.
func (s *session) who() (*knownCaller, *failure) {
	d := s.doorman
	book, trust := d.book.Version(), d.tls.version()
	if k := s.known.Load(); k != nil && k.book == book && k.tls == trust && !s.expired() {
		return k, nil
	}
	owner, f := s.owner()
	if f != nil {
		return nil, f
	}
	k := &knownCaller{book: book, tls: trust, owner: owner, caller: gate.Caller{Account: owner.Account, Peer: s.peer}}
	k.caller.Trusted = owner.Account != "" || !d.book.Asked() && s.local()
	s.known.Store(k)
	return k, nil
}

// local says that the caller is on this machine: on a unix socket or by loopback.
func (s *session) local() bool { return !s.peer.IsValid() || s.peer.IsLoopback() }

func (s *session) expired() bool {
	return len(s.chain) > 0 && s.doorman.now().After(s.chain[0].NotAfter)
}

// owner weighs what the caller showed. A certificate stands for itself: beside one that is known, an Authorization header may be
// anything, such as that of the end user whose request a proxy asks about.
func (s *session) owner() (identity.Owner, *failure) {
	d := s.doorman
	var shown []identity.Owner
	key, noKey := identity.ParseAuthorization(s.authorization)
	if noKey == nil {
		if o, ok := d.book.Key(key); ok {
			shown = append(shown, o)
		}
	}
	certified := d.tls.trusts(s.chain, d.now())
	if certified {
		if o, ok := d.book.Certificate(s.chain[0]); ok {
			shown = append(shown, o)
		}
	}
	for _, o := range shown {
		if o.Admin == (s.need == needAdmin) {
			return o, nil
		}
	}
	switch {
	case s.need == needNothing, s.need == needAccount && !d.book.Asked() && (certified || !d.tls.wants() && (d.openToAll || s.local())):
		return identity.Owner{}, nil
	case len(shown) > 0 && s.need == needAdmin:
		return identity.Owner{}, &failure{code: codes.PermissionDenied, reason: "ADMIN_ONLY", message: "this call is for operators: use an admin key"}
	case len(shown) > 0:
		return identity.Owner{}, &failure{code: codes.PermissionDenied, reason: "NO_ACCOUNT", message: "an admin key pays for no sends: use the key of an account"}
	case errors.Is(noKey, identity.ErrMalformed):
		return identity.Owner{}, &failure{code: codes.Unauthenticated, reason: "KEY_MALFORMED", message: noKey.Error()}
	case noKey == nil:
		return identity.Owner{}, &failure{code: codes.Unauthenticated, reason: "KEY_UNKNOWN", message: "the API key is not known, or not any more"}
	case len(s.chain) > 0:
		return identity.Owner{}, &failure{code: codes.Unauthenticated, reason: "CERTIFICATE_UNKNOWN", message: "the client certificate is of no account, or not trusted any more"}
	}
	return identity.Owner{}, &failure{code: codes.Unauthenticated, reason: "KEY_MISSING", message: identity.ErrNoKey.Error()}
}

// grpcSession is the session of a gRPC call.
func (d *doorman) grpcSession(ctx context.Context, method string) *session {
	s := &session{doorman: d, need: needOf(method), authorization: metadata.ValueFromIncomingContext(ctx, "authorization")}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return s
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		s.peer = tcp.AddrPort().Addr().Unmap()
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		s.chain = info.State.PeerCertificates
	}
	return s
}

// identifyHTTP lets requests in.
func (s *service) identifyHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &session{doorman: s.doorman, need: needOf(r.URL.Path), authorization: r.Header.Values("Authorization")}
		if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			c.peer = addr.Addr().Unmap()
		}
		if r.TLS != nil {
			c.chain = r.TLS.PeerCertificates
		}
		ctx, f := c.enter(r.Context())
		if f != nil {
			s.metrics.failed(f)
			writeFailure(w, f)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
