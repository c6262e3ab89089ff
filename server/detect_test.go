package server_test

import (
	"strings"
	"testing"

	"github.com/sendgate/sendgate/detect"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
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
