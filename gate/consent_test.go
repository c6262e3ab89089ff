package gate_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/keyword"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
)

func TestCheck_consent(t *testing.T) {
	clock := &now{t: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	table, err := limiter.Open(limiter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	ledger, err := consent.Open(t.Context(), consent.Options{Store: new(consent.Memory), Secret: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(t.Context(), gate.Options{Store: table, Clock: clock.read, Consent: ledger,
		Policy: parse(t, oneAnHour+`
lists: {allow: ["+6591*"], test_numbers: ["+6599999*"]}
consent: {scope: sender, reconfirm: {after: 3mo}, require: [{purpose: marketing, channel: whatsapp}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	numberOf := func(e164 string) phone.Number {
		n, err := phone.Parse(e164, "")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	hear := func(e164, text string) {
		t.Helper()
		h, err := ledger.Hear(t.Context(), consent.Inbound{At: clock.read(), Number: numberOf(e164), Scope: consent.Scope{Account: "acme", Sender: "12345"}, Text: text})
		if err != nil || h.Action == keyword.None {
			t.Fatal(h, err)
		}
	}
	try := func(number, sender, purpose, channel string, kind gate.Kind, reason string) {
		t.Helper()
		req := ask(number, "203.0.113.7")
		req.Account, req.Sender, req.Purpose, req.Channel = "acme", sender, purpose, channel
		v, err := g.Check(t.Context(), &req)
		if err != nil {
			t.Fatal(err)
		}
		want(t, v, kind, reason)
	}
	const ann, listed, test = "+6581234567", "+6591234567", "+6599999123"
	for _, n := range []string{ann, listed, test} {
		hear(n, "Stop!")
	}
	for range 3 { // charges nothing
		try(ann, "12345", "transactional", "", gate.Deny, "consent:opted_out")
		try(ann, "", "marketing", "", gate.Deny, "consent:opted_out")
		try(listed, "12345", "transactional", "", gate.Deny, "consent:opted_out") // above the allow list
		try(test, "12345", "transactional", "", gate.Allow, "list:test")
	}
	try(ann, "99999", "transactional", "", gate.Allow, "") // another sender
	clock.add(2 * time.Hour)
	try(ann, "12345", "otp", "", gate.Allow, "")
	clock.add(2 * time.Hour)
	hear(ann, "START")
	try(ann, "12345", "transactional", "", gate.Allow, "")
	clock.add(2 * time.Hour)
	try(ann, "12345", "marketing", "whatsapp", gate.Deny, "consent:missing")
	if _, err := ledger.Agree(t.Context(), numberOf(ann), consent.Record{At: clock.read(), Account: "acme", Source: "web-form", Text: "I agree.",
		Purposes: []string{"marketing"}, Channels: []string{"whatsapp"}}, netip.MustParseAddr("203.0.113.7")); err != nil {
		t.Fatal(err)
	}
	try(ann, "12345", "marketing", "whatsapp", gate.Allow, "")
	clock.add(100 * 24 * time.Hour)
	try(ann, "12345", "marketing", "whatsapp", gate.Challenge, "consent:reconfirm")
}
