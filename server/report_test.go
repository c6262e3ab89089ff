package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sendgate/sendgate/internal/prices"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// What a candidate would have stopped is told by the call, over HTTP and in metrics, with what it cost and who was a person.
func TestShadowReport(t *testing.T) {
	table, err := prices.Parse("prices", []byte("prefix,price,currency\n65,0.04,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "admin", keyAdmin)
	r := start(t, setup{policy: "limits: [{name: number, by: [number], limit: 3, window: 1h, candidates: [{limit: 1}]}]", prices: table,
		options: func(o *server.Options) { o.Identity = book(t, o, dir) }})
	var last *sendgatev1.CheckSendResponse
	for i := range 4 {
		last = r.check(t, send("+6581234567", fmt.Sprint("203.0.113.", i)))
		if i == 1 {
			if _, err := sendgatev1.NewSendGateServiceClient(r.conn).ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: last.CheckId, Outcome: sendgatev1.Outcome_OUTCOME_VERIFIED}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if last.Reason != "limit:number" {
		t.Fatalf("the fourth: %v %s", last.Verdict, last.Reason)
	}
	reports := sendgatev1.NewReportServiceClient(r.conn)
	ctx := with(t.Context(), keyAdmin)
	out, err := reports.ShadowReport(ctx, &sendgatev1.ShadowReportRequest{Rule: "number", Since: durationpb.New(time.Hour)})
	if err != nil || len(out.Rules) != 2 || out.Currency != "USD" || out.Feedback != "reporting" {
		t.Fatalf("%v, %v", out, err)
	}
	live, candidate := out.Rules[0], out.Rules[1]
	if live.Rule != "number" || live.Mode != "enforce" || live.Total.Judged != 4 || live.Total.Denied != 1 {
		t.Errorf("the live rule: %v", live)
	}
	if candidate.Rule != "number~1" || candidate.Mode != "candidate" || candidate.CandidateOf != "number" || candidate.Limit != 1 || candidate.Window.AsDuration() != time.Hour {
		t.Errorf("the candidate: %v", candidate)
	}
	if n := candidate.Total; n.Denied != 2 || n.Money != 80_000 || n.Verified != 1 || n.VerifiedMoney != 40_000 || len(candidate.Hours) == 0 || candidate.Countries[0].Name != "SG" {
		t.Errorf("what it would have done: %v", candidate)
	}

	if _, err := reports.ShadowReport(t.Context(), &sendgatev1.ShadowReportRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a key: %v", err)
	}
	for _, bad := range []*sendgatev1.ShadowReportRequest{{Rule: "nobody"}, {Since: durationpb.New(-time.Hour)}} {
		if _, err := reports.ShadowReport(ctx, bad); err == nil {
			t.Errorf("%v is answered", bad)
		}
	}

	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/sendgate.v1.ReportService/ShadowReport", strings.NewReader("{}"))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+keyAdmin)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var page struct {
		Rules []struct{ Rule string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil || len(page.Rules) != 2 {
		t.Errorf("over HTTP: %+v, %v", page, err)
	}

	scrape, err := http.Get(r.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer scrape.Body.Close()
	text, _ := io.ReadAll(scrape.Body)
	for _, line := range []string{`sendgate_shadow_stops_total{rule="number~1",verdict="deny"} 2`, `sendgate_shadow_outcomes_total{outcome="verified",rule="number~1"} 1`,
		`sendgate_shadow_stops_money_total{currency="USD",rule="number~1"} 0.08`} {
		if !strings.Contains(string(text), line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}
