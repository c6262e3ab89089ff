package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/detect"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

func TestCheckSend_tellsWhatDetectionSaw(t *testing.T) {
	engine, err := detect.New(detect.Options{Size: detect.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	s := start(t, setup{detect: engine, policy: "limits: [{name: hour, by: [number], limit: 60, window: 1h}]"})
	var last *sendgatev1.CheckSendResponse
	for range 8 {
		if last, err = s.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: "+6581234567", ClientAddress: "203.0.113.7"}); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody reports outcomes: what is seen is told and stops nothing.
	if last.Verdict != sendgatev1.Verdict_VERDICT_ALLOW || last.Reason != "detect:retry_storm:number" || len(last.Signals) != 1 {
		t.Fatalf("got %v", last)
	}
	sig := last.Signals[0]
	if sig.Kind != "retry_storm" || sig.Scope != "number" || sig.Statistic < sig.Threshold || sig.Verdict != sendgatev1.Verdict_VERDICT_DENY {
		t.Errorf("got %v", sig)
	}
	if strings.Contains(last.String(), "81234567") || !strings.HasSuffix(sig.Subject, "67") {
		t.Errorf("the subject is not masked: %v", sig)
	}
}

// A block is seen by an operator, released with a reason, and both are on record. Nobody else sees anything.
func TestDetectionService(t *testing.T) {
	engine, err := detect.New(detect.Options{Size: detect.MinSize, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	dir, audit := t.TempDir(), new(lockedBuffer)
	write(t, dir, "admin", keyAdmin)
	s := start(t, setup{detect: engine, policy: "limits: [{name: hour, by: [number], limit: 60, window: 1h}]\ndetect: {load_test: {mode: shadow}}",
		options: func(o *server.Options) { o.Identity, o.Audit, o.Detect = book(t, o, dir), audit, engine }})
	service := sendgatev1.NewDetectionServiceClient(s.conn)
	for name, try := range map[string]func() error{
		"DetectionStatus": func() error {
			_, err := service.DetectionStatus(t.Context(), &sendgatev1.DetectionStatusRequest{})
			return err
		},
		"ListBlocks": func() error {
			_, err := service.ListBlocks(t.Context(), &sendgatev1.ListBlocksRequest{})
			return err
		},
		"ReleaseBlock": func() error {
			_, err := service.ReleaseBlock(t.Context(), &sendgatev1.ReleaseBlockRequest{Id: 1, Reason: "x", Author: "x"})
			return err
		},
		"WatchAlerts": func() error {
			w, err := service.WatchAlerts(t.Context(), &sendgatev1.WatchAlertsRequest{})
			if err == nil {
				_, err = w.Recv()
			}
			return err
		},
	} {
		if err := try(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: a stranger gets %v", name, err)
		}
	}
	ctx := with(t.Context(), keyAdmin)
	watch, err := service.WatchAlerts(ctx, &sendgatev1.WatchAlertsRequest{})
	if err != nil {
		t.Fatal(err)
	}

	ask := func(number, client string) *sendgatev1.CheckSendResponse {
		v, err := s.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: number, ClientAddress: client})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if _, err := s.ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: ask("+6598765432", "192.0.2.1").CheckId, Outcome: sendgatev1.Outcome_OUTCOME_VERIFIED}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		ask("+6581234567", fmt.Sprintf("20.%d.1.1", i))
	}
	blocks, err := service.ListBlocks(ctx, &sendgatev1.ListBlocksRequest{})
	if err != nil || len(blocks.Blocks) != 1 {
		t.Fatalf("blocks %v, %v", blocks, err)
	}
	b := blocks.Blocks[0]
	if b.Signal.Kind != "victim_flood" || b.Signal.Subject != "+65****67" || b.Stopped == 0 || !b.Until.AsTime().After(b.Since.AsTime()) {
		t.Errorf("got %v", b)
	}
	alert, err := watch.Recv()
	if err != nil || alert.Sequence != 1 || alert.Signal.Kind != "victim_flood" || strings.Contains(alert.Text, "81234567") {
		t.Errorf("alert %v, %v", alert, err)
	}
	st, err := service.DetectionStatus(ctx, &sendgatev1.DetectionStatusRequest{})
	if err != nil || st.Level != "standard" || st.Feedback != "reporting" || st.Blocks != 1 || len(st.Detectors) != len(detect.Kinds()) || len(st.Countries) != 1 || st.Countries[0].Country != "SG" || st.Bytes == 0 {
		t.Errorf("status %v, %v", st, err)
	}
	for _, d := range st.GetDetectors() {
		if want := map[bool]string{true: "shadow", false: "enforce"}[d.Kind == "load_test"]; d.Mode != want {
			t.Errorf("%s is %s, want %s", d.Kind, d.Mode, want)
		}
	}

	res, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), `sendgate_detect_blocks{kind="victim_flood"} 1`) {
		t.Errorf("metrics do not tell the block: %v", err)
	}

	for name, req := range map[string]*sendgatev1.ReleaseBlockRequest{
		"no reason": {Id: b.Id, Author: "alice"}, "a number in clear": {Id: b.Id, Author: "alice", Reason: "+6581234567 called"}, "no such block": {Id: 99, Author: "alice", Reason: "x"},
	} {
		if _, err := service.ReleaseBlock(ctx, req); err == nil {
			t.Errorf("%s: released", name)
		}
	}
	if _, err := service.ReleaseBlock(ctx, &sendgatev1.ReleaseBlockRequest{Id: b.Id, Author: "alice", Reason: "the owner called"}); err != nil {
		t.Fatal(err)
	}
	if v := ask("+6581234567", "20.1.1.1"); v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("after the release: %v", v)
	}
	if got := audit.String(); !strings.Contains(got, `"change":"release_block","author":"alice","reason":"the owner called"`) || !strings.Contains(got, "victim_flood +65****67") {
		t.Errorf("audit %s", got)
	}
	if _, err := service.ReleaseBlock(ctx, &sendgatev1.ReleaseBlockRequest{Id: b.Id, Author: "alice", Reason: "again"}); status.Code(err) != codes.NotFound {
		t.Errorf("a second release: %v", err)
	}
}
