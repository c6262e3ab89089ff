package server_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/consent"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

func consentLedger(t *testing.T) *consent.Ledger {
	t.Helper()
	store, err := consent.OpenFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	l, err := consent.Open(t.Context(), consent.Options{Store: store, Secret: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// answering is a policy that answers keywords, for each sender.
const answering = "limits: []\nconsent: {scope: sender, replies: {brand: Acme, support: help@acme.example}}"

func TestReportInbound(t *testing.T) {
	r := start(t, setup{policy: answering, consent: consentLedger(t)})
	send := func(sender string) string {
		t.Helper()
		return r.check(t, &sendgatev1.CheckSendRequest{Number: "+6581234567", Account: "acme", Sender: sender, Purpose: sendgatev1.Purpose_PURPOSE_MARKETING}).GetReason()
	}
	say := func(text string) *sendgatev1.ReportInboundResponse {
		t.Helper()
		out, err := r.ReportInbound(t.Context(), &sendgatev1.ReportInboundRequest{Number: "+65 8123 4567", Account: "acme", Sender: "12345", Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := say("please stop by tomorrow"); out.GetAction() != sendgatev1.InboundAction_INBOUND_ACTION_UNSPECIFIED || out.GetReply() != "" || send("12345") != "" {
		t.Errorf("a near miss: %v", out)
	}
	out := say("Stop.")
	if out.GetAction() != sendgatev1.InboundAction_INBOUND_ACTION_OPT_OUT || out.GetKeyword() != "STOP" || !out.GetChanged() || !out.GetOptedOut() || !strings.Contains(out.GetReply(), "no further messages") {
		t.Errorf("STOP: %v", out)
	}
	for sender, want := range map[string]string{"12345": "consent:opted_out", "": "consent:opted_out", "99999": ""} {
		if got := send(sender); got != want {
			t.Errorf("marketing from %q: %q, want %q", sender, got, want)
		}
	}
	res := r.post(t, "/sendgate.v1.SendGateService/ReportInbound", `{"number":"+6581234567","account":"acme","sender":"12345","text":"START"}`, "Content-Type", "application/json")
	if body := read(t, res); res.StatusCode != http.StatusOK || !strings.Contains(body, "INBOUND_ACTION_OPT_IN") {
		t.Errorf("START as JSON: %d %s", res.StatusCode, body)
	}
	if got := send("12345"); got != "" {
		t.Errorf("after START: %q", got)
	}
	if log := r.log.String(); strings.Contains(log, "81234567") {
		t.Error("the log holds the number")
	}
}

func TestReportInbound_refuses(t *testing.T) {
	r := start(t, setup{consent: consentLedger(t)})
	for want, in := range map[string]*sendgatev1.ReportInboundRequest{
		"number": {Number: "12", Text: "STOP"},
		"text":   {Number: "+6581234567", Text: strings.Repeat("x", 20000)},
		"sender": {Number: "+6581234567", Text: "STOP", Sender: strings.Repeat("x", 200)},
	} {
		_, err := r.ReportInbound(t.Context(), in)
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), want) || strings.Contains(s.Message(), "1234567") {
			t.Errorf("%s: %v", want, err)
		}
	}
	off := start(t, setup{})
	if _, err := off.ReportInbound(t.Context(), &sendgatev1.ReportInboundRequest{Number: "+6581234567", Text: "STOP"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("without consent: %v", err)
	}
}
