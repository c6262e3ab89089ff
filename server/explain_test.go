package server_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// watched is a server with an operator and recent decisions.
func watched(t *testing.T, policy string) (*running, sendgatev1.AdminServiceClient) {
	t.Helper()
	recent, dir := server.NewRecent(), t.TempDir()
	write(t, dir, "admin", keyAdmin)
	r := start(t, setup{policy: policy, observers: []gate.Observer{recent}, options: func(o *server.Options) { o.Identity, o.Recent = book(t, o, dir), recent }})
	return r, sendgatev1.NewAdminServiceClient(r.conn)
}

func TestExplain(t *testing.T) {
	r, admin := watched(t, `limits:
  - {name: number, by: [number], limit: 2, window: 1h}
  - {name: abroad, by: [country], limit: 5, window: 1h, match: {country: [ID]}}
lists: {block: [TH]}`)
	ctx := with(t.Context(), keyAdmin)
	explain := func(number string) *sendgatev1.ExplainSendResponse {
		t.Helper()
		out, err := admin.ExplainSend(ctx, &sendgatev1.ExplainSendRequest{Check: send(number, "203.0.113.7")})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for range 2 {
		r.check(t, send("+6581234567", "203.0.113.7"))
	}
	out := explain("+65 8123 4567")
	rule := out.Rules[0]
	if a := out.Answer; a.Verdict != sendgatev1.Verdict_VERDICT_DENY || a.Reason != "limit:number" || a.CheckId != "" || a.RetryAfter == nil {
		t.Errorf("%v", a)
	}
	if !rule.Applies || !rule.Decides || rule.Held != 2 || rule.Remaining != 0 || rule.Limit != 2 || rule.Key != "number=+65****67" || rule.RetryAfter.AsDuration() < 59*time.Minute {
		t.Errorf("%v", rule)
	}
	if other := out.Rules[1]; other.Applies || other.Why != "it is for country ID, and here country SG" {
		t.Errorf("%v", other)
	}
	if s := out.Send; s.Number != "+65****67" || s.Country != "SG" || s.ClientAddress != "203.0.113.7" || s.Purpose != "otp" || !s.Valid {
		t.Errorf("%v", s)
	}
	if text := protojson.Format(out); strings.Contains(text, "1234567") || strings.Contains(text, "+6581") {
		t.Errorf("the number is told: %s", text)
	}
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Reason != "limit:number" {
		t.Errorf("%v", v)
	}
	blocked := explain("+66812345678")
	if len(blocked.Lists) != 1 || blocked.Lists[0].Value != "TH" || blocked.Lists[0].Source != "policy" || blocked.Answer.Reason != "list:block" || blocked.Steps[1].Result != "decides" {
		t.Errorf("%v", blocked)
	}
	if _, err := admin.ExplainSend(ctx, &sendgatev1.ExplainSendRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func TestRecentDecisions(t *testing.T) {
	r, admin := watched(t, `limits:
  - {name: number, by: [number], limit: 1, window: 1h}
  - {name: quiet, by: [client], limit: 1, window: 1h, mode: shadow}`)
	ctx := with(t.Context(), keyAdmin)
	r.check(t, send("+6581234567", "203.0.113.7"))
	r.check(t, send("+6581234568", "203.0.113.7"))
	r.check(t, send("+6581234567", "203.0.113.7"))
	recent := func(in *sendgatev1.RecentDecisionsRequest) (*sendgatev1.RecentDecisionsResponse, string) {
		t.Helper()
		var text string
		out, err := admin.RecentDecisions(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range out.Decisions {
			text += strings.TrimPrefix(d.Verdict.String(), "VERDICT_") + " " + d.Number + " " + d.Reason + "; "
		}
		return out, text
	}
	for n := uint64(0); n < 3; { // observers are told a moment later
		out, _ := recent(&sendgatev1.RecentDecisionsRequest{})
		n = out.LastSequence
	}
	for _, tt := range []struct {
		in   *sendgatev1.RecentDecisionsRequest
		want string
	}{
		{&sendgatev1.RecentDecisionsRequest{}, "DENY +65****67 limit:number; ALLOW +65****68 ; ALLOW +65****67 ; "},
		{&sendgatev1.RecentDecisionsRequest{PageSize: 1}, "DENY +65****67 limit:number; "},
		{&sendgatev1.RecentDecisionsRequest{After: 2}, "DENY +65****67 limit:number; "},
		{&sendgatev1.RecentDecisionsRequest{Number: "+65 8123 4568"}, "ALLOW +65****68 ; "},
		{&sendgatev1.RecentDecisionsRequest{Verdict: sendgatev1.Verdict_VERDICT_DENY}, "DENY +65****67 limit:number; "},
		{&sendgatev1.RecentDecisionsRequest{ReasonPrefix: "delay"}, ""},
		{&sendgatev1.RecentDecisionsRequest{Account: "acme"}, ""},
		{&sendgatev1.RecentDecisionsRequest{Shadowed: true}, "ALLOW +65****68 ; "},
	} {
		if out, text := recent(tt.in); text != tt.want || out.LastSequence != 3 {
			t.Errorf("%v: %q, want %q", tt.in, text, tt.want)
		}
	}
	if out, _ := recent(&sendgatev1.RecentDecisionsRequest{}); out.Decisions[0].ClientNetwork != "203.0.113.0/24" {
		t.Errorf("%v", out.Decisions[0])
	}
	for _, in := range []*sendgatev1.RecentDecisionsRequest{{PageSize: 1001}, {Number: "x"}} {
		if _, err := admin.RecentDecisions(ctx, in); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", in, err)
		}
	}
}
