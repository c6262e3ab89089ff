package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// agreed is a server with consent, templates and an operator's key.
func agreed(t *testing.T, policy string) (*running, sendgatev1.ConsentServiceClient, sendgatev1.ConsentAdminServiceClient, *lockedBuffer) {
	t.Helper()
	dir, audit := t.TempDir(), new(lockedBuffer)
	write(t, dir, "admin", keyAdmin)
	book1, err := template.Open(t.Context(), new(consent.Memory), template.Pacing{})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, setup{policy: policy, consent: consentLedger(t), templates: book1,
		options: func(o *server.Options) { o.Identity, o.Audit = book(t, o, dir), audit }})
	return r, sendgatev1.NewConsentServiceClient(r.conn), sendgatev1.NewConsentAdminServiceClient(r.conn), audit
}

func said(text string) *sendgatev1.Said {
	return &sendgatev1.Said{Number: "+6581234567", Account: "acme", Source: "web-form", Text: text, ClientAddress: "203.0.113.7"}
}

func TestConsentService(t *testing.T) {
	r, service, admin, audit := agreed(t, "limits: []\nconsent: {require: [{purpose: marketing, double_opt_in: true}]}")
	ctx, operator := t.Context(), with(t.Context(), keyAdmin)
	marketing := func() string {
		return r.check(t, &sendgatev1.CheckSendRequest{Number: "+6581234567", Account: "acme", Purpose: sendgatev1.Purpose_PURPOSE_MARKETING}).GetReason()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	form := &sendgatev1.AgreeRequest{Said: said("I agree to marketing texts."), Purposes: []string{"marketing"}, Channels: []string{"sms"}}
	asked, err := service.Agree(ctx, form)
	must(err)
	if asked.ConfirmBy == nil || marketing() != "consent:missing" {
		t.Errorf("asked: %v, %q", asked, marketing())
	}
	confirmed, err := service.Confirm(ctx, &sendgatev1.ConfirmRequest{Said: said("")})
	must(err)
	if fmt.Sprint(confirmed.Purposes, confirmed.Channels) != "[marketing] [sms]" || marketing() != "" {
		t.Errorf("confirmed: %v, %q", confirmed, marketing())
	}
	if _, err := service.Confirm(ctx, &sendgatev1.ConfirmRequest{Said: said("")}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("confirmed twice: %v", err)
	}
	_, err = service.Reconfirm(ctx, &sendgatev1.ReconfirmRequest{Said: said("")})
	must(err)
	res := r.post(t, "/sendgate.v1.ConsentService/Withdraw", `{"said":{"number":"+6581234567","account":"acme","source":"preferences"}}`, "Content-Type", "application/json")
	if body := read(t, res); res.StatusCode != http.StatusOK || !strings.Contains(body, `"changed":true`) || marketing() != "consent:opted_out" {
		t.Errorf("withdrawn as JSON: %d %s", res.StatusCode, body)
	}
	back, err := service.Resume(ctx, &sendgatev1.ResumeRequest{Said: said("")})
	must(err)
	if !back.Changed || back.OptedOut || marketing() != "" {
		t.Errorf("resumed: %v", back)
	}
	// By hand, and the other way round only by hand.
	_, err = admin.OptOut(operator, &sendgatev1.OptOutRequest{Number: "+65 8123 4567", Account: "acme", Reason: "complaint", Author: "bob"})
	must(err)
	if back, err = service.Resume(ctx, &sendgatev1.ResumeRequest{Said: said("")}); err != nil || !back.OptedOut || marketing() != "consent:opted_out" {
		t.Errorf("what an operator put out: %v, %v", back, err)
	}
	in, err := admin.OptIn(operator, &sendgatev1.OptInRequest{Number: "+6581234567", Account: "acme", Reason: "settled", Author: "bob"})
	must(err)
	if !in.Changed || marketing() != "" {
		t.Errorf("brought back by hand: %v", in)
	}
	history, err := admin.History(operator, &sendgatev1.HistoryRequest{Number: "+6581234567"})
	must(err)
	events := ""
	for _, e := range history.Records {
		events += " " + e.Event
	}
	if events != " asked confirmed reconfirmed withdrawn resumed withdrawn resumed" || history.Records[0].Text != "I agree to marketing texts." || history.Records[0].Client == "" ||
		!strings.Contains(string(history.Evidence), `"text_shown": "I agree to marketing texts."`) || strings.Contains(history.String(), "81234567") {
		t.Errorf("history:%s\n%s", events, history.Evidence)
	}
	ended, err := admin.Recycle(operator, &sendgatev1.RecycleRequest{Number: "+6581234567", Reason: "published by the carrier", Author: "bob"})
	must(err)
	if ended.Ended != 1 || marketing() != "consent:missing" {
		t.Errorf("recycled: %v", ended)
	}
	forgotten, err := admin.Forget(operator, &sendgatev1.ForgetRequest{Number: "+6581234567", Reason: "asked by mail", Author: "bob"})
	must(err)
	if forgotten.Removed["proof"] != 8 || len(forgotten.Kept) == 0 {
		t.Errorf("forgotten: %v", forgotten)
	}
	report, err := admin.PrivacyReport(operator, &sendgatev1.PrivacyReportRequest{})
	must(err)
	for _, s := range report.Stores {
		if s.Holds == "" || s.Kept == "" || s.Store == "consent" && s.Kind == "proof" && s.GetRecords() != 0 {
			t.Errorf("report: %v", s)
		}
	}
	for _, line := range []string{audit.String(), r.log.String()} {
		if strings.Contains(line, "81234567") {
			t.Error("a log has the number")
		}
	}
	for _, change := range []string{"opt_out", "opt_in", "recycle", "forget"} {
		if !strings.Contains(audit.String(), `"change":"`+change+`"`) {
			t.Errorf("%s is not audited", change)
		}
	}
}

// Nobody but operators sees or changes what is about all accounts.
func TestConsentAdmin_isForOperators(t *testing.T) {
	_, _, admin, _ := agreed(t, "limits: []\naccounts: {acme: {}}")
	for name, call := range map[string]func(context.Context) error{
		"Forget": func(ctx context.Context) error {
			_, err := admin.Forget(ctx, &sendgatev1.ForgetRequest{Number: "+6581234567", Reason: "x", Author: "x"})
			return err
		},
		"History": func(ctx context.Context) error {
			_, err := admin.History(ctx, &sendgatev1.HistoryRequest{Number: "+6581234567"})
			return err
		},
		"Export": func(ctx context.Context) error {
			s, err := admin.ExportSuppressions(ctx, &sendgatev1.ExportSuppressionsRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"Import": func(ctx context.Context) error { _, err := importCSV(ctx, admin, "number\n+6581234567\n"); return err },
		"Templates": func(ctx context.Context) error {
			_, err := admin.Templates(ctx, &sendgatev1.TemplatesRequest{})
			return err
		},
	} {
		if err := call(t.Context()); status.Code(err) != codes.Unauthenticated && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s without a key: %v", name, err)
		}
	}
}

// importCSV sends a file in pieces and returns the last answer.
func importCSV(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient, file string) (last *sendgatev1.ImportSuppressionsResponse, err error) {
	stream, err := admin.ImportSuppressions(ctx)
	if err != nil {
		return nil, err
	}
	for first := true; len(file) > 0; first = false {
		n := min(len(file), 100_000)
		in := &sendgatev1.ImportSuppressionsRequest{Chunk: []byte(file[:n])}
		if first {
			in.Reason, in.Author = "moving", "bob"
		}
		if err := stream.Send(in); err != nil {
			break // Recv says why
		}
		file = file[n:]
	}
	_ = stream.CloseSend()
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last = answer
	}
}

func TestSuppressions_csv(t *testing.T) {
	r, _, admin, audit := agreed(t, "limits: []")
	ctx := with(t.Context(), keyAdmin)
	var file strings.Builder
	file.WriteString("number,account\n")
	for i := range 30_000 {
		fmt.Fprintf(&file, "+65812%05d,acme\n", i)
	}
	last, err := importCSV(ctx, admin, file.String())
	if err != nil || last.Added != 30_000 || !last.Done {
		t.Fatalf("%v, %v", last, err)
	}
	if got := r.check(t, &sendgatev1.CheckSendRequest{Number: "+6581200077", Account: "acme", Purpose: sendgatev1.Purpose_PURPOSE_MARKETING}).GetReason(); got != "consent:opted_out" {
		t.Errorf("an imported number: %q", got)
	}
	stream, err := admin.ExportSuppressions(ctx, &sendgatev1.ExportSuppressionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	exported := collect(t, stream)
	if n := strings.Count(exported, "\n"); n != 30_001 || strings.Contains(exported, "81200077") {
		t.Errorf("%d lines exported", n)
	}
	if last, err = importCSV(ctx, admin, exported); err != nil || last.Known != 30_000 || last.Added != 0 {
		t.Errorf("what was exported, imported: %v, %v", last, err)
	}
	_, err = importCSV(ctx, admin, "number\n+6581234567\nrubbish\n+1\n")
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), "2 lines are wrong, the first is line 3") || !strings.Contains(fmt.Sprint(s.Details()), "line 4") || strings.Contains(fmt.Sprint(s), "rubbish") {
		t.Errorf("wrong lines: %v %v", s, s.Details())
	}
	if _, err = importCSV(ctx, admin, ""); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nothing: %v", err)
	}
	if !strings.Contains(audit.String(), `"change":"import_suppressions","author":"bob"`) {
		t.Error("the import is not audited")
	}
	reseal, err := admin.Reseal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := reseal.Send(&sendgatev1.ResealRequest{Reason: "rotated", Author: "bob", Chunk: []byte("name,number\nx,+6581200077\n")}); err != nil {
		t.Fatal(err)
	}
	if out, err := reseal.CloseAndRecv(); err != nil || out.Read != 1 || out.Left != 0 {
		t.Errorf("reseal: %v, %v", out, err)
	}
}

func collect(t *testing.T, stream grpc.ServerStreamingClient[sendgatev1.ExportSuppressionsResponse]) string {
	t.Helper()
	var out strings.Builder
	for {
		piece, err := stream.Recv()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		out.Write(piece.Chunk)
	}
}

func TestTemplates(t *testing.T) {
	r, service, admin, _ := agreed(t, "limits: []\nconsent: {templates: {watch: [{name: raffles, why: needs a licence, words: [raffle]}]}}")
	ctx := with(t.Context(), keyAdmin)
	ref := &sendgatev1.TemplateRef{Account: "acme", BusinessAccount: "1022", Name: "offer", Language: "en"}
	told, err := admin.ReportTemplate(ctx, &sendgatev1.ReportTemplateRequest{Template: ref, Status: "PAUSED", Title: "FIRST_PAUSE", Category: "MARKETING"})
	if err != nil || told.State.Status != "paused" || told.RetryAfter.AsDuration() < 2*time.Hour {
		t.Fatalf("%v, %v", told, err)
	}
	with := &sendgatev1.CheckSendRequest{Number: "+6581234567", Account: "acme", Channel: "whatsapp", Template: &sendgatev1.MessageTemplate{Name: "offer", Language: "en"}}
	if v := r.check(t, with); v.Reason != "template:paused" || v.Verdict != sendgatev1.Verdict_VERDICT_DENY || v.RetryAfter.AsDuration() < 2*time.Hour {
		t.Errorf("a send with it: %v", v)
	}
	res := r.post(t, "/v1/check", `{"number":"+6581234567","account":"acme","channel":"whatsapp","template":{"name":"offer","language":"en","businessAccount":"1022"}}`)
	if body := read(t, res); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "template:paused") {
		t.Errorf("as JSON: %d %s", res.StatusCode, body)
	}
	if _, err := admin.ReportTemplate(ctx, &sendgatev1.ReportTemplateRequest{Template: ref, Status: "PAUSED", Title: "RATE_LIMITING_PAUSE", OccurredAt: timestamppb.New(time.Now().Add(time.Minute))}); err != nil {
		t.Fatal(err)
	}
	released, err := admin.ReleaseTemplate(ctx, &sendgatev1.ReleaseTemplateRequest{Template: ref, Reason: "quality is fine", Author: "bob"})
	if err != nil || !released.Released || r.check(t, with).Reason != "" {
		t.Errorf("released: %v, %v", released, err)
	}
	list, err := admin.Templates(ctx, &sendgatev1.TemplatesRequest{})
	if err != nil || len(list.Templates) != 1 || list.Templates[0].Status != "approved" || list.Templates[0].Pauses != 1 {
		t.Errorf("%v, %v", list, err)
	}
	for want, in := range map[string]*sendgatev1.ReportTemplateRequest{
		"nothing is told": {Template: ref}, "status: write": {Template: ref, Status: "SLEEPING"}, "quality: write": {Template: ref, Quality: "BLUE"},
	} {
		if _, err := admin.ReportTemplate(ctx, in); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := admin.ReleaseTemplate(ctx, &sendgatev1.ReleaseTemplateRequest{Template: &sendgatev1.TemplateRef{Name: "x"}, Reason: "x", Author: "bob"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown one: %v", err)
	}
	checked, err := service.CheckTemplate(t.Context(), &sendgatev1.CheckTemplateRequest{Category: "AUTHENTICATION", Body: "Win our raffle, {{1}} is your code.", Parameters: []string{"1234567890123456"}})
	if err != nil || len(checked.Problems) != 2 || checked.Problems[0].Field != "params" || !checked.Problems[1].Warning || !strings.Contains(checked.Problems[1].Message, "needs a licence") {
		t.Errorf("%v, %v", checked, err)
	}
	cta, err := service.CheckCallToAction(t.Context(), &sendgatev1.CheckCallToActionRequest{Brand: "Acme", Purpose: "marketing", Text: "Sign up for Acme offers!"})
	if err != nil || len(cta.Missing) < 4 {
		t.Errorf("%v, %v", cta, err)
	}
}
