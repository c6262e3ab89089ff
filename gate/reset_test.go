package gate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/gate"
)

func TestReset_forgetsOneKey(t *testing.T) {
	const yaml = `limits:
  - {name: number, by: [number], limit: 1, window: 1h}
  - {name: pair, by: [client, number], limit: 5, window: 1h}
  - {name: client, by: [client], limit: 5, window: 1h}
  - {name: country, by: [country], limit: 5, window: 1h}
  - {name: account, by: [account], limit: 100, window: 1h}
accounts: {a: {limits: [{name: number, limit: 2}]}, b: {}}`
	for _, tt := range []struct {
		req   gate.ResetRequest
		names string // or part of the error
	}{
		{gate.ResetRequest{Number: "+6581234567"}, "number verify-number"},
		{gate.ResetRequest{Number: "65 8123 4567", ClientAddress: "::ffff:203.0.113.7"}, "client number pair verify-client verify-number"},
		{gate.ResetRequest{Account: "a", Number: "+6581234567"}, "account number verify-number"},
		{gate.ResetRequest{Rule: "country", Number: "+6581234567"}, "country"},
		{gate.ResetRequest{Rule: "account"}, "account"},
		{gate.ResetRequest{}, "number needs number"},
		{gate.ResetRequest{Rule: "pair", Number: "+6581234567"}, "pair needs client"},
		{gate.ResetRequest{Rule: "nothing", Number: "+6581234567"}, "no such rule"},
		{gate.ResetRequest{Number: "12"}, "number: "},
		{gate.ResetRequest{ClientAddress: "nowhere"}, "client_address: "},
		{gate.ResetRequest{Account: "\xff", Number: "+6581234567"}, "account: "},
	} {
		f := open(t, yaml)
		names, err := f.Reset(t.Context(), &tt.req)
		slices.Sort(names)
		if invalid := (*gate.InvalidError)(nil); err != nil && !errors.As(err, &invalid) {
			t.Error(err)
		} else if got := strings.Join(names, " "); err == nil && got != tt.names || err != nil && !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%+v: %s, %v, want %s", tt.req, got, err, tt.names)
		}
	}

	f := open(t, yaml)
	req := ask("+6581234567", "203.0.113.7")
	req.Account = "b"
	want(t, f.check(t, req), gate.Allow, "")
	want(t, f.check(t, req), gate.Deny, "limit:number")
	if _, err := f.Reset(t.Context(), &gate.ResetRequest{Rule: "number", Account: "a", Number: "+6581234567"}); err != nil {
		t.Error(err)
	}
	if _, err := f.Reset(t.Context(), &gate.ResetRequest{Number: "+6581234568"}); err != nil { // another
		t.Error(err)
	}
	want(t, f.check(t, ask("+6581234567", "203.0.113.8")), gate.Allow, "")
	want(t, f.check(t, req), gate.Deny, "limit:number")
	if _, err := f.Reset(t.Context(), &gate.ResetRequest{Number: "+65 8123 4567"}); err != nil {
		t.Error(err)
	}
	want(t, f.check(t, req), gate.Allow, "")
}
