package gate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter"
)

// withConsent is a gate in a region with all that may know a number.
func withConsent(t *testing.T, region, yaml string) (*fixture, *template.Book, *lists.Store) {
	t.Helper()
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	kept := new(consent.Memory)
	ledger, err := consent.Open(t.Context(), consent.Options{Store: kept, Secret: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	book, err := template.Open(t.Context(), kept, template.Pacing{})
	if err != nil {
		t.Fatal(err)
	}
	live, err := lists.Open(t.TempDir(), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	engine, err := detect.New(detect.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	f := &fixture{clock: &now{t: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, store: store}
	f.Gate, err = gate.New(t.Context(), gate.Options{Policy: parse(t, yaml), Store: store, Clock: f.clock.read, Consent: ledger, Templates: book, Lists: live,
		Detect: engine, Region: region})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, book, live
}

func reasonOf(t *testing.T, f *fixture, change func(*gate.Request)) string {
	t.Helper()
	req := ask("+6581234567", "203.0.113.7")
	req.Account, req.Purpose, req.Sender = "acme", "marketing", "12345"
	change(&req)
	v := f.check(t, req)
	if v.RetryAfter > 0 {
		return fmt.Sprintf("%s %v", v.Reason, v.RetryAfter)
	}
	return v.Reason
}

func same(*gate.Request) {}

// A new policy changes who may be written to with the next check, and what is heard.
func TestSetPolicy_consent(t *testing.T) {
	f, _, _ := withConsent(t, "", "limits: []")
	say := func(text string) consent.Heard {
		t.Helper()
		h, err := f.Hear(t.Context(), &gate.Inbound{Number: "+6581234567", Account: "acme", Sender: "12345", Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := say("ACHA"); h.Changed || reasonOf(t, f, same) != "" {
		t.Errorf("a word that nobody set up: %+v", h)
	}
	if err := f.SetPolicy(t.Context(), parse(t, `limits: []
consent:
  keywords: {words: {sw: {opt_out: [ACHA]}}}
  replies: {brand: Acme, support: help@acme.example}
  require: [{purpose: marketing}]
  otp: deny`)); err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(t, f, same); got != "consent:missing" {
		t.Errorf("marketing after the reload: %q", got)
	}
	if h := say("ACHA"); !h.Changed || !strings.Contains(h.Reply, "Acme") {
		t.Errorf("the word after the reload: %+v", h)
	}
	if got := reasonOf(t, f, func(r *gate.Request) { r.Purpose = "otp" }); got != "consent:opted_out" {
		t.Errorf("otp: %q", got)
	}
}

func TestAgree(t *testing.T) {
	f, _, _ := withConsent(t, "", "limits: []\nconsent: {require: [{purpose: marketing, double_opt_in: true}], confirm_within: 1h, reconfirm: {after: 3mo, past_due: deny}}")
	form := gate.Agreement{Number: "+65 8123 4567", Account: "acme", Purposes: []string{"marketing"}, Channels: []string{"sms"}, Source: "web-form", Text: "I agree.", ClientAddress: "203.0.113.7"}
	by, err := f.Agree(t.Context(), &form)
	if err != nil || !by.Equal(f.clock.read().Add(time.Hour)) || reasonOf(t, f, same) != "consent:missing" {
		t.Fatalf("asked: %v, %v", by, err)
	}
	f.clock.add(time.Hour)
	code := gate.Agreement{Number: "+6581234567", Account: "acme", Source: "code"}
	var refused *gate.RefusedError
	if _, err := f.Confirm(t.Context(), &code); !errors.As(err, &refused) || refused.Reason != "NOTHING_ASKED" {
		t.Errorf("too late: %v", err)
	}
	if _, err := f.Agree(t.Context(), &form); err != nil {
		t.Fatal(err)
	}
	if r, err := f.Confirm(t.Context(), &code); err != nil || !slices.Equal(r.Purposes, []string{"marketing"}) || reasonOf(t, f, same) != "" {
		t.Errorf("confirmed: %+v, %v", r, err)
	}
	f.clock.add(100 * 24 * time.Hour)
	if got := reasonOf(t, f, same); got != "consent:reconfirm" {
		t.Errorf("grown old: %q", got)
	}
	if err := f.Reconfirm(t.Context(), &code); err != nil || reasonOf(t, f, same) != "" {
		t.Errorf("reconfirmed: %v", err)
	}
	page := gate.Agreement{Number: "+6581234567", Account: "acme", Source: "preferences"}
	if changed, err := f.Withdraw(t.Context(), &page); err != nil || !changed || reasonOf(t, f, same) != "consent:opted_out" {
		t.Errorf("withdrawn: %v", err)
	}
	if changed, out, err := f.Resume(t.Context(), &page); err != nil || !changed || out || reasonOf(t, f, same) != "" {
		t.Errorf("resumed: %v %v %v", changed, out, err)
	}
	for field, change := range map[string]func(*gate.Agreement){
		"text": func(a *gate.Agreement) { a.Text = "" }, "purposes": func(a *gate.Agreement) { a.Purposes = []string{"ads"} }, "source": func(a *gate.Agreement) { a.Source = "hand" },
		"channels": func(a *gate.Agreement) { a.Channels = nil }, "client_address": func(a *gate.Agreement) { a.ClientAddress = "here" }, "number": func(a *gate.Agreement) { a.Number = "7" },
		"occurred_at": func(a *gate.Agreement) { a.OccurredAt = f.clock.read().Add(time.Hour) }, "reference": func(a *gate.Agreement) { a.Reference = "order-81234567" },
	} {
		bad := form
		change(&bad)
		var invalid *gate.InvalidError
		if _, err := f.Agree(t.Context(), &bad); !errors.As(err, &invalid) || invalid.Violations[0].Field != field || strings.Contains(err.Error(), "81234567") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestCheck_template(t *testing.T) {
	f, book, _ := withConsent(t, "", "limits: [{name: one, by: [number], limit: 2, window: 1h}]\nconsent: {templates: {pacing: {first: 2, wait: 1h}}}")
	id := template.ID{Account: "acme", Business: "1022", Name: "offer", Language: "en"}
	tell := func(event, title string) {
		t.Helper()
		if err := book.Apply(t.Context(), template.Event{ID: id, What: template.StatusUpdate, At: f.clock.read(), Event: event, Title: title, Category: template.Marketing}); err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Second)
	}
	with := func(number string) func(*gate.Request) {
		return func(r *gate.Request) {
			r.Number, r.Channel, r.Template = number, "whatsapp", gate.Template{Name: "offer", Language: "en"}
			r.ClientAddress = ""
		}
	}
	tell("APPROVED", "")
	// The second number's third send is denied by the limit, and so does not use up the template's first sends.
	for i, want := range []string{"", "template:pacing 1h0m0s"} {
		if i == 1 {
			req := ask("+6581234567", "")
			req.Account = "acme"
			f.check(t, req) // uses up the limit
			if got := reasonOf(t, f, with("+6581234567")); !strings.HasPrefix(got, "limit:one") {
				t.Errorf("denied by the limit: %q", got)
			}
			if got := reasonOf(t, f, with("+6581234569")); got != "" {
				t.Errorf("the second send: %q", got)
			}
		}
		if got := reasonOf(t, f, with("+6581234567")); got != want {
			t.Errorf("send %d: %q, want %q", i, got, want)
		}
	}
	tell("PAUSED", "FIRST_PAUSE")
	if got := reasonOf(t, f, with("+6581234568")); got != "template:paused 2h59m59s" {
		t.Errorf("paused: %q", got)
	}
	if got := reasonOf(t, f, func(r *gate.Request) { with("+6581234568")(r); r.Account = "globex" }); got != "" {
		t.Errorf("another account's template of that name: %q", got)
	}
	if got := reasonOf(t, f, func(r *gate.Request) { r.Number, r.Channel, r.Sender = "+6581234560", "rcs", "agent" }); got != "" {
		t.Errorf("an agent that nobody told about: %q", got)
	}
	id = template.ID{Account: "acme", Business: "agent", Name: template.AgentName, Language: "sg"}
	tell("REJECTED", "")
	if got := reasonOf(t, f, func(r *gate.Request) { r.Number, r.Channel, r.Sender = "+6581234560", "rcs", "agent" }); got != "template:agent_rejected" {
		t.Errorf("an agent that is rejected: %q", got)
	}
}

// An account of another region gets nothing here and leaves nothing here.
func TestRegion(t *testing.T) {
	const policy = "limits: []\naccounts: {eu-shop: {region: eu}, anywhere: {}}"
	for region, refused := range map[string]bool{"eu": false, "us": true, "": true} {
		f, _, _ := withConsent(t, region, policy)
		calls := map[string]func(account string) error{
			"check": func(account string) error {
				req := ask("+6581234567", "203.0.113.7")
				req.Account = account
				_, err := f.Check(t.Context(), &req)
				return err
			},
			"accepts": f.Accepts,
			"hear": func(account string) error {
				_, err := f.Hear(t.Context(), &gate.Inbound{Number: "+6581234567", Account: account, Text: "STOP"})
				return err
			},
			"agree": func(account string) error {
				_, err := f.Agree(t.Context(), &gate.Agreement{Number: "+6581234567", Account: account, Purposes: []string{"marketing"}, Channels: []string{"sms"}, Source: "web-form", Text: "x"})
				return err
			},
			"verify": func(account string) error {
				_, err := f.CheckVerify(t.Context(), &gate.VerifyRequest{Request: gate.Request{Number: "+6581234567", Account: account}})
				return err
			},
			"batch": func(account string) error {
				req := ask("+6581234567", "203.0.113.7")
				req.Account = account
				return f.CheckAll(t.Context(), []*gate.Request{&req})[0].Err
			},
		}
		for name, call := range calls {
			var forbidden *gate.ForbiddenError
			err := call("eu-shop")
			if got := errors.As(err, &forbidden) && forbidden.Reason == "ACCOUNT_OTHER_REGION"; got != refused {
				t.Errorf("a gate in %q, %s: %v", region, name, err)
			}
		}
		if refused {
			if n := f.store.Stats().Occupied; n != 0 {
				t.Errorf("a gate in %q keeps %d keys of an account that was refused", region, n)
			}
		}
		for name, call := range calls {
			if err := call("anywhere"); err != nil {
				t.Errorf("a gate in %q, %s for an account without a region: %v", region, name, err)
			}
		}
	}
}

func TestForget(t *testing.T) {
	f, _, live := withConsent(t, "", `limits: [{name: day, by: [number], limit: 1, window: 1d}, {name: both, by: [number, client], limit: 5, window: 7d}]
accounts: {acme: {}}
lists: {test_numbers: ["+6599999123"]}`)
	const n = "+6581234567"
	say := func(text string) {
		t.Helper()
		if _, err := f.Hear(t.Context(), &gate.Inbound{Number: n, Account: "acme", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	target, err := lists.ParseTarget(n)
	if err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(t, f, func(r *gate.Request) { r.Purpose = "otp" }); got != "" { // detection looks at codes
		t.Fatal(got)
	}
	for _, list := range []lists.List{lists.Test, lists.Block} {
		if _, err := live.Add(f.clock.read(), lists.Entry{List: list, Target: target, Author: "ann", Reason: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	say("STOP")
	got, err := f.Forget(t.Context(), "+65 8123 4567", "ann")
	if err != nil {
		t.Fatal(err)
	}
	if got.Removed["proof"] != 1 || got.Removed["counters"] != 1+2*3 || got.Removed["list"] != 1 || got.Removed["detection"] < 2 {
		t.Errorf("removed: %v", got.Removed)
	}
	kinds := ""
	for _, k := range got.Kept {
		if k.Basis == "" || k.Until.IsZero() && k.Kind != "list" {
			t.Errorf("kept without a basis or an end: %+v", k)
		}
		kinds += " " + k.Kind
	}
	if kinds != " opt_out counters list detection" {
		t.Errorf("kept:%s", kinds)
	}
	if _, _, err := live.Remove(f.clock.read(), lists.Block, target, "x", "ann"); err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(t, f, same); got != "consent:opted_out" {
		t.Errorf("who opted out is written to after being forgotten: %q", got)
	}
	if got := reasonOf(t, f, func(r *gate.Request) { r.Purpose = "otp" }); got != "" {
		t.Errorf("the counter of the number is not forgotten: %q", got)
	}
	again, err := f.Forget(t.Context(), "+6599999123", "ann")
	if err != nil || len(again.Kept) == 0 || !slices.ContainsFunc(again.Kept, func(k consent.Kept) bool { return k.Kind == "policy_list" && k.Until.IsZero() }) {
		t.Errorf("a number of the policy file: %+v, %v", again, err)
	}
	var invalid *gate.InvalidError
	if _, err := f.Forget(t.Context(), "0", "ann"); !errors.As(err, &invalid) {
		t.Errorf("no number: %v", err)
	}
}
