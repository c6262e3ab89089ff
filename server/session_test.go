package server

import (
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/internal/identity"
)

// Where nobody is asked, only this machine gets in, unless the operator said otherwise.
func TestSession_strangersOfOtherMachines(t *testing.T) {
	for _, tt := range []struct {
		peer          string
		openToAll     bool
		code          codes.Code
		trustedOfWord bool
	}{
		{"", false, codes.OK, true}, // a unix socket
		{"127.0.0.1", false, codes.OK, true},
		{"::1", false, codes.OK, true},
		{"203.0.113.7", false, codes.Unauthenticated, false},
		{"203.0.113.7", true, codes.OK, false},
	} {
		s := &session{doorman: &doorman{book: identity.New(identity.Options{}), openToAll: tt.openToAll, now: time.Now}}
		if tt.peer != "" {
			s.peer = netip.MustParseAddr(tt.peer)
		}
		k, f := s.who()
		if f == nil {
			f = &failure{code: codes.OK}
		}
		if f.code != tt.code || f.code == codes.OK && k.caller.Trusted != tt.trustedOfWord {
			t.Errorf("%q, open %v: %v, caller %+v", tt.peer, tt.openToAll, f, k)
		}
		s = &session{doorman: s.doorman, peer: s.peer, need: needAdmin}
		if _, f := s.who(); f == nil || f.code != codes.Unauthenticated {
			t.Errorf("%q is an operator", tt.peer)
		}
	}
}

func TestNeedOf(t *testing.T) {
	for path, want := range map[string]need{
		"/sendgate.v1.SendGateService/CheckSend": needAccount, "/sendgate.v1.AdminService/Status": needAdmin, "/v1/check": needAccount,
		"/grpc.health.v1.Health/Check": needNothing, "/grpc.health.v1.Health/Watch": needNothing, "/healthz": needNothing, "/metrics": needNothing,
		"/metrics/x": needAccount, "/envoy.service.auth.v3.Authorization/Check": needAccount, "": needAccount,
		"/": needNothing, "/console/events": needNothing, "/consoles": needAccount, "/sendgate.v1.BoardService/WatchBoard": needAdmin,
	} {
		if got := needOf(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}
