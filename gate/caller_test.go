package gate_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/sendgate/sendgate/gate"
)

func TestCheck_callerSpendsOnlyHisOwn(t *testing.T) {
	f := open(t, `limits: [{name: spent, by: [account], limit: 1, window: 1h}]
accounts:
  a: {}
  b: {allow_addresses: [203.0.113.0/24, "::1/128"]}
  c: {allow_addresses: [127.0.0.0/8]}`)
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		caller gate.Caller
		named  string
		reason string // of a ForbiddenError, or of the verdict
	}{
		{gate.Caller{Account: "a"}, "b", "ACCOUNT_OTHER"},
		{gate.Caller{Account: "a"}, "nobody", "ACCOUNT_OTHER"},
		{gate.Caller{Account: "b", Peer: addr("198.51.100.1")}, "", "ADDRESS_NOT_ALLOWED"},
		{gate.Caller{Peer: addr("198.51.100.1")}, "b", "ADDRESS_NOT_ALLOWED"},
		{gate.Caller{Account: "c", Peer: addr("::1")}, "c", "ADDRESS_NOT_ALLOWED"},
		{gate.Caller{Account: "b", Peer: addr("::ffff:203.0.113.9")}, "", ""}, // IPv4 as an IPv6 socket tells it
		{gate.Caller{Account: "b"}, "", "limit:spent"},                        // a unix socket is this machine, as ::1 is
		{gate.Caller{Account: "c"}, "c", ""},
		{gate.Caller{Account: "a"}, "", ""},
		{gate.Caller{Account: "a"}, "a", "limit:spent"},
		{gate.Caller{}, "a", "limit:spent"},
	} {
		req := ask("+6581234567", "203.0.113.7")
		req.Caller, req.Account = tt.caller, tt.named
		v, err := f.Check(t.Context(), &req)
		got := v.Reason
		if forbidden := (*gate.ForbiddenError)(nil); errors.As(err, &forbidden) {
			got = forbidden.Reason
		} else if err != nil {
			t.Error(err)
		}
		if got != tt.reason {
			t.Errorf("%+v for %q: %q, want %q", tt.caller, tt.named, got, tt.reason)
		}
	}
}
