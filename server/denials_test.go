package server_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/server"
)

func TestDenialLog_isBoundedAndShowsNoNumber(t *testing.T) {
	var out bytes.Buffer
	log := server.NewDenialLog(slog.New(slog.NewTextHandler(&out, nil)))
	number, err := phone.Parse("+6581234567", "")
	if err != nil {
		t.Fatal(err)
	}
	e := &gate.Event{Verdict: gate.Verdict{Kind: gate.Deny, Reason: "limit:number-minute", At: time.Unix(1_800_000_000, 0)}}
	e.Send.Number = number
	for range 100 {
		log.Checked(e)
	}
	if n := strings.Count(out.String(), "\n"); n != 10 {
		t.Errorf("%d lines in one second, want 10", n)
	}
	e.Verdict.At = e.Verdict.At.Add(time.Second)
	log.Checked(e)
	if !strings.Contains(out.String(), "more_not_logged=90") {
		t.Errorf("the rest is not counted: %s", out.String())
	}
	e.Verdict.Kind = gate.Allow
	before := out.Len()
	log.Checked(e)
	if out.Len() != before {
		t.Error("an ALLOW is logged")
	}
	if strings.Contains(out.String(), "81234567") {
		t.Errorf("the number is in the log: %s", out.String())
	}
}
