package consent_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/keyword"
	"github.com/sendgate/sendgate/internal/phone"
)

var (
	ctx    = context.Background()
	noon   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	secret = []byte("a secret of 24 bytes ...")
	device = netip.MustParseAddr("203.0.113.77")
	shop   = consent.Scope{Account: "acme", Sender: "12345"}
)

func number(t testing.TB, e164 string) phone.Number {
	t.Helper()
	n, err := phone.Parse(e164, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ledger(t testing.TB, s consent.Store, r consent.Rules, old ...[]byte) *consent.Ledger {
	t.Helper()
	l, err := consent.Open(ctx, consent.Options{Store: s, Secret: secret, Old: old, Rules: r})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func voice(t testing.TB, o keyword.Options) consent.Voice {
	t.Helper()
	b, err := keyword.NewBook(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyword.NewReplies(keyword.Texts{Brand: "Acme", Support: "help@acme.example"})
	if err != nil {
		t.Fatal(err)
	}
	return consent.Voice{Book: b, Replies: r}
}

func hear(t testing.TB, l *consent.Ledger, n phone.Number, at time.Time, to consent.Scope, text string) consent.Heard {
	t.Helper()
	h, err := l.Hear(ctx, consent.Inbound{At: at, Number: n, Scope: to, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func judge(l *consent.Ledger, n phone.Number, at time.Time, from consent.Scope, purpose string) string {
	r := l.Judge(at, &consent.Ask{Number: n, Scope: from, Purpose: purpose, Channel: "sms"})
	if r.Challenge {
		return r.Reason + "?"
	}
	return r.Reason
}

func agreed(at time.Time) consent.Record {
	return consent.Record{At: at, Account: "acme", Purposes: []string{"marketing"}, Channels: []string{"sms"}, Source: "web-form", Text: "I agree to offers."}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The whole life of one person, on disk, and then nothing of it is left.
func TestStory(t *testing.T) {
	dir := t.TempDir()
	file := openFile(t, dir)
	rules := consent.Rules{Voice: voice(t, keyword.Options{}), Require: []consent.Requirement{{Purpose: "marketing", Double: true}}, ReconfirmAfter: 6}
	l := ledger(t, file, rules)
	ann, other := number(t, "+14155550123"), number(t, "+14155550124")
	at := noon
	step := func(what, want string) {
		t.Helper()
		at = at.Add(time.Minute)
		if got := judge(l, ann, at, shop, "marketing"); got != want {
			t.Fatalf("after %s: marketing is %q, want %q", what, got, want)
		}
	}
	step("nothing", "consent:missing")
	pending, err := l.Agree(ctx, ann, agreed(at), device)
	if err != nil || !pending {
		t.Fatalf("agree: pending %v, %v", pending, err)
	}
	step("asking", "consent:missing")
	if h := hear(t, l, ann, at, shop, "Yes please"); !h.Changed || !strings.Contains(h.Reply, "STOP to cancel") {
		t.Fatalf("YES: %+v", h)
	}
	step("confirming", "")
	if got := judge(l, other, at, shop, "marketing"); got != "consent:missing" {
		t.Fatalf("a stranger: %q", got)
	}
	if h := hear(t, l, ann, at, shop, "please stop by tomorrow"); h.Action != keyword.None || h.Reply != "" {
		t.Fatalf("a near miss: %+v", h)
	}
	step("a near miss", "")
	if h := hear(t, l, ann, at, shop, "Stop."); !h.Changed || !h.Out || !strings.Contains(h.Reply, "no further messages") {
		t.Fatalf("STOP: %+v", h)
	}
	step("STOP", "consent:opted_out")
	for purpose, want := range map[string]string{"transactional": "consent:opted_out", "otp": ""} {
		if got := judge(l, ann, at, shop, purpose); got != want {
			t.Errorf("after STOP %s is %q, want %q", purpose, got, want)
		}
	}
	if h := hear(t, l, ann, at, shop, "STOP"); h.Changed || h.Reply != "" {
		t.Errorf("a second STOP is answered again: %+v", h)
	}

	// All of it survives.
	must(t, file.Close())
	file = openFile(t, dir)
	l = ledger(t, file, rules)
	step("a restart", "consent:opted_out")
	if h := hear(t, l, ann, at, shop, "START"); !h.Changed || h.Out || !strings.Contains(h.Reply, "You are subscribed") {
		t.Fatalf("START: %+v", h)
	}
	step("START", "")

	history, err := l.History(ctx, ann)
	must(t, err)
	var events []consent.Event
	for _, r := range history {
		events = append(events, r.Event)
	}
	if want := []consent.Event{consent.Asked, consent.Confirmed, consent.Withdrawn, consent.Resumed}; !slices.Equal(events, want) {
		t.Errorf("history: %v, want %v", events, want)
	}
	if history[0].Text != "I agree to offers." || history[0].Client == "" || strings.Contains(history[0].Client, device.String()) {
		t.Errorf("proof: %+v", history[0])
	}
	var evidence bytes.Buffer
	must(t, l.Evidence(ctx, at, ann, &evidence))
	if strings.Contains(evidence.String(), "4155550123") || !strings.Contains(evidence.String(), "I agree to offers.") {
		t.Errorf("evidence: %s", evidence.String())
	}

	f, err := l.Forget(ctx, at, ann)
	if err != nil || f.Removed["proof"] != 4 || f.Removed["grant"] != 1 || len(f.Kept) != 0 {
		t.Errorf("forget: %+v, %v", f, err)
	}
	step("forgetting", "consent:missing")
	must(t, file.Close())
	nothingOf(t, dir, ann)
}

// nothingOf searches every file for a number, its address, and plain hashes of the number in the spellings that a rainbow table has.
func nothingOf(t *testing.T, dir string, n phone.Number) {
	t.Helper()
	e164 := n.E164()
	var forms []string
	for _, text := range []string{e164, e164[1:], e164[2:]} {
		a, b, c := md5.Sum([]byte(text)), sha1.Sum([]byte(text)), sha256.Sum256([]byte(text))
		forms = append(forms, text)
		for _, sum := range [][]byte{a[:], b[:], c[:]} {
			forms = append(forms, string(sum), hex.EncodeToString(sum), base64.StdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum))
		}
	}
	forms = append(forms, fmt.Sprintf("%x", n.Digits()), device.String())
	read := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read += len(content)
		for i, form := range forms {
			if bytes.Contains(content, []byte(form)) {
				t.Errorf("%s holds form %d of the number", d.Name(), i)
			}
		}
		return nil
	}))
	if read == 0 {
		t.Error("there was nothing to search")
	}
}

func TestForget_keepsTheOptOut(t *testing.T) {
	store := new(consent.Memory)
	l := ledger(t, store, consent.Rules{Voice: voice(t, keyword.Options{})})
	n := number(t, "+14155550123")
	hear(t, l, n, noon, shop, "stop")
	later := noon.Add(50 * time.Hour)
	f, err := l.Forget(ctx, later, n)
	must(t, err)
	if len(f.Kept) != 1 || f.Kept[0].Basis == "" || !f.Kept[0].Until.After(later) || f.Removed["proof"] != 1 {
		t.Fatalf("forget: %+v", f)
	}
	if got := judge(l, n, later, shop, "marketing"); got != "consent:opted_out" {
		t.Errorf("the opt-out of somebody forgotten: %q", got)
	}
	if h, err := l.History(ctx, n); err != nil || len(h) != 0 {
		t.Errorf("history: %v, %v", h, err)
	}
	for _, c := range []struct {
		at  time.Time
		out bool
	}{{f.Kept[0].Until.Add(-2 * day), true}, {f.Kept[0].Until.Add(day), false}} {
		_, err := l.Sweep(ctx, c.at)
		must(t, err)
		if _, out := l.OptedOut(n, shop); out != c.out {
			t.Errorf("swept at %v: out %v", c.at, out)
		}
	}
}

const day = 24 * time.Hour

func TestScopes(t *testing.T) {
	other := consent.Scope{Account: "acme", Sender: "99999"}
	stranger := consent.Scope{Account: "zeta", Sender: "12345"}
	for _, c := range []struct {
		name                string
		bySender            bool
		texts               []string
		shop, other, nobody string // transactional to each; nobody: a send that names no sender
	}{
		{"STOP for the account", false, []string{"STOP"}, "consent:opted_out", "consent:opted_out", "consent:opted_out"},
		{"STOP for the sender", true, []string{"STOP"}, "consent:opted_out", "", "consent:opted_out"},
		{"STOPALL", true, []string{"STOP ALL"}, "consent:opted_out", "consent:opted_out", "consent:opted_out"},
		{"STOP then STOPALL then START", true, []string{"STOP", "STOPALL", "START"}, "", "", ""},
		{"STOP START", false, []string{"STOP", "START"}, "", "", ""},
		{"START", false, []string{"START"}, "", "", ""},
		{"YES is not START", false, []string{"STOP", "YES"}, "consent:opted_out", "consent:opted_out", "consent:opted_out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := ledger(t, new(consent.Memory), consent.Rules{BySender: c.bySender})
			n := number(t, "+14155550123")
			for i, text := range c.texts {
				hear(t, l, n, noon.Add(time.Duration(i)*time.Minute), shop, text)
			}
			for from, want := range map[consent.Scope]string{shop: c.shop, other: c.other, stranger: "", {Account: "acme"}: c.nobody} {
				if got := judge(l, n, noon.Add(time.Hour), from, "transactional"); got != want {
					t.Errorf("%+v: %q, want %q", from, got, want)
				}
			}
		})
	}
}

// Where nobody uses accounts, STOP and START work all the same; START to one account lifts nothing that holds for all.
func TestScopes_withoutAccounts(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{})
	n := number(t, "+14155550123")
	for _, c := range []struct {
		to   consent.Scope
		text string
		want string
	}{{consent.Scope{}, "STOP", "consent:opted_out"}, {shop, "START", "consent:opted_out"}, {consent.Scope{}, "START", ""}} {
		hear(t, l, n, noon, c.to, c.text)
		if got := judge(l, n, noon, shop, "marketing"); got != c.want {
			t.Errorf("%s to %+v: %q, want %q", c.text, c.to, got, c.want)
		}
	}
}

// Platforms do not keep the order of messages.
func TestOptIn_overtakenByStop(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{Voice: voice(t, keyword.Options{})})
	n := number(t, "+14155550123")
	hear(t, l, n, noon.Add(time.Second), shop, "STOP")
	if h := hear(t, l, n, noon, shop, "START"); h.Changed || !h.Out || h.Reply != "" {
		t.Errorf("an older START lifted a newer STOP: %+v", h)
	}
	if h := hear(t, l, n, noon.Add(time.Second), shop, "START"); !h.Changed || h.Out {
		t.Errorf("START in the same second: %+v", h)
	}
}

func TestOptOut_byHandStaysUntilAHandLiftsIt(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{Voice: voice(t, keyword.Options{})})
	n := number(t, "+14155550123")
	r := consent.Record{At: noon, Account: "acme", Source: consent.SourceHand}
	if _, err := l.OptOut(ctx, n, r); err == nil {
		t.Error("no author was asked for")
	}
	r.Author = "kim"
	if changed, err := l.OptOut(ctx, n, r); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if h := hear(t, l, n, noon, shop, "START"); h.Changed || !h.Out || h.Reply != "" {
		t.Errorf("START lifted what was put there by hand: %+v", h)
	}
	if changed, out, err := l.OptIn(ctx, n, r); err != nil || !changed || out {
		t.Errorf("by hand: %v %v %v", changed, out, err)
	}
	if got := judge(l, n, noon, shop, "marketing"); got != "" {
		t.Errorf("still %q", got)
	}
}

func TestOTP_isTheOperatorsChoice(t *testing.T) {
	for deny, want := range map[bool]string{false: "", true: "consent:opted_out"} {
		l := ledger(t, new(consent.Memory), consent.Rules{DenyOTP: deny})
		n := number(t, "+14155550123")
		hear(t, l, n, noon, shop, "STOP")
		if got := judge(l, n, noon, shop, "otp"); got != want {
			t.Errorf("DenyOTP %v: %q", deny, got)
		}
	}
}

func TestConfirm_expires(t *testing.T) {
	rules := consent.Rules{Require: []consent.Requirement{{Purpose: "marketing", Double: true}}, ConfirmWithin: time.Hour}
	for _, c := range []struct {
		after time.Duration
		first string
		want  string
	}{{59 * time.Minute, "", ""}, {time.Hour, "", "consent:missing"}, {time.Minute, "STOP", "consent:opted_out"}} {
		l := ledger(t, new(consent.Memory), rules)
		n := number(t, "+14155550123")
		_, err := l.Agree(ctx, n, agreed(noon), device)
		must(t, err)
		if c.first != "" {
			hear(t, l, n, noon, shop, c.first)
		}
		hear(t, l, n, noon.Add(c.after), shop, "YES")
		if got := judge(l, n, noon.Add(c.after), shop, "marketing"); got != c.want {
			t.Errorf("YES after %v: %q, want %q", c.after, got, c.want)
		}
	}
	l := ledger(t, new(consent.Memory), rules)
	if _, err := l.Confirm(ctx, number(t, "+14155550123"), agreed(noon)); !errors.Is(err, consent.ErrNothingAsked) {
		t.Errorf("confirming what was never asked: %v", err)
	}
}

func TestReconfirm(t *testing.T) {
	rules := consent.Rules{Require: []consent.Requirement{{Purpose: "marketing"}}, ReconfirmAfter: 3}
	l := ledger(t, new(consent.Memory), rules)
	n := number(t, "+14155550123")
	_, err := l.Agree(ctx, n, agreed(noon), device)
	must(t, err)
	due := noon.AddDate(0, 3, 0)
	list := func(at time.Time) (out []consent.Due) {
		must(t, l.Due(ctx, at, func(d consent.Due) error { out = append(out, d); return nil }))
		return out
	}
	if got := judge(l, n, due.Add(-time.Second), shop, "marketing"); got != "" || len(list(due.Add(-time.Second))) != 0 {
		t.Errorf("before it is due: %q", got)
	}
	if got := judge(l, n, due, shop, "marketing"); got != "consent:reconfirm?" {
		t.Errorf("when it is due: %q", got)
	}
	if d := list(due); len(d) != 1 || d[0].Subject != l.Subject(n) || !d[0].At.Equal(due) || d[0].Purpose != "marketing" {
		t.Errorf("due: %+v", d)
	}
	rules.DenyDue = true
	must(t, l.SetRules(rules))
	if got := judge(l, n, due, shop, "marketing"); got != "consent:reconfirm" {
		t.Errorf("denied: %q", got)
	}
	must(t, l.Reconfirm(ctx, n, consent.Record{At: due, Account: "acme", Source: "api"}))
	if got := judge(l, n, due, shop, "marketing"); got != "" {
		t.Errorf("after it was given again: %q", got)
	}
	// The number is given to somebody else, who has agreed to nothing.
	ended, err := l.Recycle(ctx, n, consent.Record{At: due.Add(day), Source: "carrier"})
	if err != nil || ended != 1 {
		t.Fatal(ended, err)
	}
	if got := judge(l, n, due.Add(day), shop, "marketing"); got != "consent:missing" {
		t.Errorf("after it was recycled: %q", got)
	}
}

func TestAgree_reachesNoFurtherThanItWasGiven(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{Require: []consent.Requirement{{Purpose: "marketing"}, {Purpose: "transactional", Channel: "sms"}}})
	n := number(t, "+14155550123")
	r := agreed(noon)
	r.Sender = "12345"
	_, err := l.Agree(ctx, n, r, device)
	must(t, err)
	for _, c := range []struct {
		scope            consent.Scope
		purpose, channel string
		want             string
	}{
		{shop, "marketing", "sms", ""}, {shop, "marketing", "whatsapp", "consent:missing"}, {shop, "transactional", "sms", "consent:missing"},
		{shop, "transactional", "whatsapp", ""}, {shop, "otp", "sms", ""}, {consent.Scope{Account: "acme"}, "marketing", "sms", "consent:missing"},
		{consent.Scope{Account: "zeta", Sender: "12345"}, "marketing", "sms", "consent:missing"},
	} {
		if got := l.Judge(noon, &consent.Ask{Number: n, Scope: c.scope, Purpose: c.purpose, Channel: c.channel}).Reason; got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestRecords_refuseWhatIsNoProof(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{})
	n := number(t, "+14155550123")
	for want, change := range map[string]func(*consent.Record){
		"purposes: write what": func(r *consent.Record) { r.Purposes = nil },
		"purposes: write otp":  func(r *consent.Record) { r.Purposes = []string{"spam"} },
		"channels":             func(r *consent.Record) { r.Channels = nil },
		"text: write":          func(r *consent.Record) { r.Text = "" },
		"source":               func(r *consent.Record) { r.Source = "" },
		"at: write":            func(r *consent.Record) { r.At = time.Time{} },
		"holds the person's":   func(r *consent.Record) { r.Text = "texts to (415) 555-0123" },
		"reference: holds":     func(r *consent.Record) { r.Reference = "+14155550123" },
		"account":              func(r *consent.Record) { r.Account = strings.Repeat("x", 300) },
		"not valid UTF-8":      func(r *consent.Record) { r.Reason = "\xff" },
	} {
		r := agreed(noon)
		change(&r)
		if _, err := l.Agree(ctx, n, r, device); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "555") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	store := new(consent.Memory)
	a, b := number(t, "+14155550123"), number(t, "+14155550124")
	rules := consent.Rules{Require: []consent.Requirement{{Purpose: "marketing"}}}
	first := ledger(t, store, rules)
	hear(t, first, a, noon, shop, "STOP")
	_, err := first.Agree(ctx, b, agreed(noon), device)
	must(t, err)

	newer := []byte("another secret of 26 bytes")
	if _, err := consent.Open(ctx, consent.Options{Store: store, Secret: newer}); err == nil || !strings.Contains(err.Error(), "another secret") {
		t.Fatalf("without the old secret: %v", err)
	}
	l, err := consent.Open(ctx, consent.Options{Store: store, Secret: newer, Old: [][]byte{secret}, Rules: rules})
	must(t, err)
	check := func() {
		t.Helper()
		if got := judge(l, a, noon, shop, "transactional"); got != "consent:opted_out" {
			t.Errorf("a: %q", got)
		}
		if got := judge(l, b, noon, shop, "marketing"); got != "" {
			t.Errorf("b: %q", got)
		}
	}
	left := func() int {
		r, err := l.Report(ctx)
		must(t, err)
		return r.Secrets[1].Records
	}
	check()
	if n := left(); n != 4 {
		t.Errorf("the old secret holds %d records, want 4", n)
	}
	must(t, l.Reseal(ctx, a))
	check()
	must(t, l.Reconfirm(ctx, b, consent.Record{At: noon, Account: "acme", Source: "api"}))
	check()
	if n := left(); n != 0 {
		t.Errorf("the old secret still holds %d", n)
	}
	l, err = consent.Open(ctx, consent.Options{Store: store, Secret: newer, Rules: rules})
	must(t, err)
	check()
}

func TestSweep(t *testing.T) {
	store := new(consent.Memory)
	rules := consent.Rules{Require: []consent.Requirement{{Purpose: "marketing", Double: true}}}
	l := ledger(t, store, rules)
	never, left, stays := number(t, "+14155550123"), number(t, "+14155550124"), number(t, "+14155550125")
	for i, n := range []phone.Number{never, left, stays} {
		r := agreed(noon)
		r.Text = fmt.Sprintf("I agree to text %d.", i)
		_, err := l.Agree(ctx, n, r, device)
		must(t, err)
	}
	hear(t, l, left, noon, shop, "YES")
	hear(t, l, stays, noon, shop, "YES")
	hear(t, l, left, noon.Add(time.Hour), shop, "STOP")
	keep := consent.DefaultRetention()
	for _, c := range []struct {
		at   time.Time
		want consent.Swept
	}{
		{noon.Add(keep.Unconfirmed), consent.Swept{}},
		{noon.Add(keep.Unconfirmed + 2*day), consent.Swept{"proof": 1, "text": 1}},
		{noon.Add(keep.Proof), consent.Swept{}},
		{noon.Add(keep.Proof + day), consent.Swept{"proof": 3, "grant": 1, "text": 2}}, // "STOP" and what was shown; YES is still named
	} {
		got, err := l.Sweep(ctx, c.at)
		must(t, err)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("sweep at %v: %v, want %v", c.at, got, c.want)
		}
	}
	if got := judge(l, left, noon, shop, "transactional"); got != "consent:opted_out" {
		t.Errorf("the opt-out itself was swept: %q", got)
	}
	if got := judge(l, stays, noon, shop, "marketing"); got != "" {
		t.Errorf("consent in force was swept: %q", got)
	}
	r, err := l.Report(ctx)
	must(t, err)
	if want := map[string]int{"opt_out": 1, "grant": 1, "proof": 2, "text": 2}; fmt.Sprint(r.Records) != fmt.Sprint(want) {
		t.Errorf("report: %v, want %v", r.Records, want)
	}
}

func TestCSV(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{})
	file := "number,account,sender,since,note\n+14155550123,acme,,2026-01-02T03:04:05Z,x\n +44 7400 123456 ,acme,12345,,\n+14155550123,acme,,,twice\n"
	done, err := l.Import(ctx, noon, strings.NewReader(file), consent.ImportOptions{})
	if err != nil || done.Read != 3 {
		t.Fatal(done, err)
	}
	since, out := l.OptedOut(number(t, "+14155550123"), shop)
	if !out || since.IsZero() {
		t.Errorf("imported: %v %v", since, out)
	}
	again, err := l.Import(ctx, noon, strings.NewReader(file), consent.ImportOptions{})
	if err != nil || again.Added != 0 || again.Known != 3 {
		t.Errorf("again: %+v, %v", again, err)
	}
	var exported bytes.Buffer
	must(t, l.Export(ctx, &exported))
	if strings.Contains(exported.String(), "415555") || strings.Count(exported.String(), "\n") != 3 {
		t.Errorf("export: %s", exported.String())
	}
	twin := ledger(t, new(consent.Memory), consent.Rules{})
	if done, err := twin.Import(ctx, noon, &exported, consent.ImportOptions{}); err != nil || done.Added != 2 {
		t.Errorf("import of an export: %+v, %v", done, err)
	}
	var own bytes.Buffer
	must(t, twin.ExportOf(strings.NewReader("number,account\n+447400123456,acme\n+14155550199,acme\n"), &own))
	if !strings.Contains(own.String(), "+447400123456,acme,,") || strings.Contains(own.String(), "0199") {
		t.Errorf("export of own numbers: %s", own.String())
	}
	for file, want := range map[string]string{
		"":                               "line 1: no columns are named",
		"name\nx\n":                      "line 1: name one column",
		"number,subject\n+1,x\n":         "line 1: name one column",
		"number\n+14155550123\nrub\n":    "line 3",
		"number,since\n+14155550123,1\n": "since: write",
		"subject\np:1:2\n":               "not a subject",
		"subject\np:00000000:AAAAAAAAAAAAAAAAAAAAAA\n": "another secret",
		"number\n+14155550123,extra\n":                 "wrong number of fields",
	} {
		l := ledger(t, new(consent.Memory), consent.Rules{})
		done, err := l.Import(ctx, noon, strings.NewReader(file), consent.ImportOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || done.Added != 0 || strings.Contains(err.Error(), "rub") {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add("number,account\n+14155550123,acme\n")
	f.Add("subject,sender,since\np:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA,1,2026-01-02T03:04:05Z\n")
	f.Add("\ufeffnumber;account\n\"+1\n")
	f.Fuzz(func(t *testing.T, file string) {
		l := ledger(t, new(consent.Memory), consent.Rules{})
		done, err := l.Import(ctx, noon, strings.NewReader(file), consent.ImportOptions{})
		if err != nil && done.Added > 0 {
			t.Errorf("%d rows of a wrong file were taken", done.Added)
		}
	})
}

func TestCheckCTA(t *testing.T) {
	const good = "By signing up you agree to receive marketing texts with offers from Acme, up to 4 messages a month. Consent is not a condition of purchase. " +
		"Msg & data rates may apply. Reply HELP for help, STOP to cancel. Terms: acme.example/t. Privacy: acme.example/p."
	if p := consent.CheckCTA("Acme", "marketing", good); len(p) != 0 {
		t.Fatalf("a good one: %v", p)
	}
	for cut, want := range map[string]string{
		"Acme": "the brand", "up to 4 messages a month": "how often", "Consent is not a condition of purchase.": "not a condition", "Msg & data rates may apply.": "data rates",
		"HELP": "HELP", "STOP": "STOP", "Terms": "terms", "Privacy": "privacy", "marketing texts with offers": "what messages",
	} {
		text := strings.ReplaceAll(good, cut, "")
		if cut == "Acme" {
			text = strings.ReplaceAll(text, "acme", "")
		}
		if p := consent.CheckCTA("Acme", "marketing", text); len(p) != 1 || !strings.Contains(p[0], want) {
			t.Errorf("without %q: %v", cut, p)
		}
	}
	if p := consent.CheckCTA("Acme", "transactional", strings.ReplaceAll(good, "Consent is not a condition of purchase.", "")); len(p) != 0 {
		t.Errorf("transactional: %v", p)
	}
}
