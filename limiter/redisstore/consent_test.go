package redisstore_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/consenttest"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/shared"
)

// TestConsentStore: what sidecars share is a store as the file is, on each kind of server.
func TestConsentStore(t *testing.T) {
	for name, addrs := range map[string]func(t *testing.T) []string{
		"redis":   func(t *testing.T) []string { return []string{startServer(t).addr} },
		"valkey":  func(t *testing.T) []string { return []string{startProgram(t, "valkey-server").addr} },
		"cluster": func(t *testing.T) []string { return startCluster(t, 3).addrs() },
	} {
		t.Run(name, func(t *testing.T) {
			at := addrs(t)
			prefixOf := map[string]string{}
			consenttest.Run(t, func(t *testing.T, place string) consent.Store {
				if prefixOf[place] == "" {
					prefixOf[place] = fmt.Sprintf("c%d:", prefixes.Add(1))
				}
				return open(t, redisstore.Options{Addrs: at, Prefix: prefixOf[place], Timeout: 5 * time.Second}).Consent()
			}, true)
		})
	}
}

// sidecars are the consent of several on one server.
type sidecars struct {
	t    testing.TB
	addr string
	copy []consent.Store
	tell []*shared.Consent
	all  []shared.Knowing
	now  time.Time

	forgotten [][]phone.Number // that each was told to forget
}

func newSidecars(t testing.TB, addr string, n int) *sidecars {
	l := &sidecars{t: t, addr: addr, tell: make([]*shared.Consent, n), all: make([]shared.Knowing, n), now: time.Now().Truncate(time.Second), forgotten: make([][]phone.Number, n)}
	for i := range n {
		l.copy = append(l.copy, new(consent.Memory))
		l.start(i)
	}
	return l
}

func (l *sidecars) start(i int) {
	l.t.Helper()
	ctx := l.t.Context()
	store := open(l.t, redisstore.Options{Addrs: []string{l.addr}, Timeout: 5 * time.Second}).Consent()
	var err error
	if l.tell[i], err = shared.NewConsent(ctx, store, l.copy[i], slog.New(slog.DiscardHandler)); err != nil {
		l.t.Fatal(err)
	}
	ledger, err := consent.Open(ctx, consent.Options{Store: l.tell[i], Copy: l.copy[i], Secret: secret(), Bulk: 256})
	if err != nil {
		l.t.Fatal(err)
	}
	book, err := template.OpenCopy(ctx, l.tell[i], l.copy[i], template.Pacing{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.all[i] = shared.Knowing{Ledger: ledger, Templates: book, Forget: func(n phone.Number) { l.forgotten[i] = append(l.forgotten[i], n) }}
}

func (l *sidecars) number(i int) phone.Number {
	n, err := phone.Parse(fmt.Sprintf("+65812%05d", i), "")
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *sidecars) stop(i, number int) {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	if _, err := l.all[i].Ledger.OptOut(l.t.Context(), l.number(number), consent.Record{At: l.now, Account: "acme", Source: consent.SourceKeyword, Text: "STOP"}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *sidecars) resume(i, number int) {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	if _, _, err := l.all[i].Ledger.OptIn(l.t.Context(), l.number(number), consent.Record{At: l.now, Account: "acme", Source: consent.SourceKeyword, Text: "START"}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *sidecars) sync(order ...int) {
	l.t.Helper()
	for _, i := range order {
		if err := l.tell[i].Sync(l.t.Context(), l.all[i]); err != nil {
			l.t.Fatal(err)
		}
	}
}

// out says who is out, at all of them.
func (l *sidecars) out(want ...int) {
	l.t.Helper()
	for i, a := range l.all {
		var got []int
		for n := range 10 {
			if _, out := a.Ledger.OptedOut(l.number(n), consent.Scope{Account: "acme"}); out {
				got = append(got, n)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			l.t.Errorf("sidecar %d has %v out, want %v", i, got, want)
		}
	}
}

// events are what happened with a number, as a sidecar knows it.
func (l *sidecars) events(i, number int) string {
	l.t.Helper()
	history, err := l.all[i].Ledger.History(l.t.Context(), l.number(number))
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, r := range history {
		out = append(out, string(r.Event))
	}
	return strings.Join(out, " ")
}

// TestConsent: a STOP that one sidecar hears is known to all, and the START after it, whatever becomes of the server.
func TestConsent(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 3)
	if said := l.all[0].Ledger.Judge(l.now, &consent.Ask{Number: l.number(1), Purpose: consent.Marketing}); said.Reason != consent.ReasonUnavailable {
		t.Errorf("before the store was read: %+v", said)
	}
	l.sync(0, 1, 2)
	l.stop(0, 1)
	l.stop(1, 2)
	l.sync(0, 1, 2)
	l.out(1, 2)
	// A sidecar that was not told yet knows what it needs where it changes something.
	l.stop(0, 4)
	l.resume(2, 4)
	l.resume(2, 1)
	l.stop(1, 1)
	l.resume(0, 1)
	l.sync(1, 0, 2)
	l.out(2)
	for i := range 3 {
		if got := l.events(i, 1); got != "withdrawn resumed withdrawn resumed" {
			t.Errorf("sidecar %d knows of %s", i, got)
		}
	}
	if all, _ := r.do("HGETALL", "sg1{consent}records").AsStrMap(); strings.Contains(fmt.Sprint(all), "81200001") || len(all) < 5 {
		t.Errorf("on the server: %q", all)
	}

	// The server has lost it all, and one sidecar was not there meanwhile.
	r.do("FLUSHALL")
	l.sync(0)
	l.stop(0, 3)
	l.sync(1, 0)
	l.start(2)
	l.sync(2, 0, 1)
	l.out(2, 3)

	// It was restarted, with what it had.
	r.do("SAVE")
	r.kill()
	r.args = []string{"--dbfilename", "dump.rdb"}
	r.start()
	l.sync(0, 1, 2)
	l.out(2, 3)

	// A sidecar that is new knows all, and one that was away for long what is no more.
	l.resume(0, 3)
	if err := r.do("DEL", "sg1{consent}changed").Error(); err != nil {
		t.Fatal(err)
	}
	l.copy[1] = new(consent.Memory)
	l.start(1)
	l.sync(1, 2)
	l.start(2)
	l.sync(0)
	l.out(2)

	// Without the server a sidecar goes on with what it knows, and changes nothing.
	r.kill()
	l.start(2)
	l.out(2)
	_, err := l.all[2].Ledger.OptOut(t.Context(), l.number(5), consent.Record{At: l.now, Account: "acme", Source: "api"})
	if away := new(redisstore.UnavailableError); !errors.As(err, &away) {
		t.Errorf("an opt-out without the server: %v", err)
	}
	l.out(2)
}

// TestConsent_lost: what a crash or a failover took from the server comes back, and only that.
func TestConsent_lost(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 3)
	l.sync(0, 1, 2)
	for n := range 5 {
		l.stop(0, n)
	}
	l.sync(1, 2)
	if err := r.do("SAVE").Error(); err != nil {
		t.Fatal(err)
	}
	l.stop(0, 5) // nobody was told
	l.stop(1, 6)
	l.resume(1, 4)
	l.sync(2)
	r.kill()
	r.start()
	// Sidecar 2 is the first to be there again, and people go on. What it does not know is not there yet.
	l.sync(2)
	l.resume(2, 6)
	l.resume(2, 0)
	l.start(0) // was restarted as well
	l.sync(0, 1, 2, 0)
	// 4 came back, and that was lost: out is the safe side.
	l.out(1, 2, 3, 4, 5)
}

// TestConsent_forget: whoever is asked to forget somebody, all do.
func TestConsent_forget(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 3)
	l.sync(0, 1, 2)
	l.stop(0, 1)
	l.resume(1, 1)
	l.stop(1, 2)
	l.sync(0, 1)
	done, err := l.all[0].Ledger.Forget(t.Context(), l.now, l.number(1))
	if err != nil || done.Removed["proof"] != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	l.start(2) // was away
	l.sync(0, 1, 2)
	for i, told := range l.forgotten {
		if len(told) == 0 || slices.ContainsFunc(told, func(n phone.Number) bool { return n != l.number(1) }) {
			t.Errorf("sidecar %d was told to forget %v", i, told)
		}
		if got := l.events(i, 1); got != "" {
			t.Errorf("sidecar %d knows of %s", i, got)
		}
	}
	subject := l.all[0].Ledger.Subject(l.number(1))
	left := func() (n int) {
		fields, err := r.do("HKEYS", "sg1{consent}records").AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			if f[0] != 'f' && strings.Contains(f, rawOf(t, subject)) {
				n++
			}
		}
		return n
	}
	if n := left(); n != 0 {
		t.Errorf("%d records are left", n)
	}
	orders := func() int {
		report, err := l.all[1].Ledger.Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return report.Records["forget"]
	}
	if n := orders(); n != 1 {
		t.Errorf("%d orders to forget", n)
	}
	swept, err := l.all[1].Ledger.Sweep(t.Context(), l.now.Add(25*time.Hour))
	if err != nil || swept["forget"] != 1 || orders() != 0 {
		t.Errorf("a day later: %v %v", swept, err)
	}
}

// rawOf is the seal that a subject is written with.
func rawOf(t *testing.T, subject string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(subject[strings.LastIndex(subject, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestConsent_templates: what a platform tells one sidecar of a template holds at all, and two that are told at once lose nothing.
func TestConsent_templates(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 2)
	l.sync(0, 1)
	id := template.ID{Account: "acme", Business: "1", Name: "offer", Language: "en"}
	tell := func(i int, e template.Event) {
		t.Helper()
		l.now = l.now.Add(time.Second)
		e.ID, e.At = id, l.now
		if err := l.all[i].Templates.Apply(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	tell(0, template.Event{What: template.StatusUpdate, Event: "APPROVED", Category: template.Marketing})
	tell(1, template.Event{What: template.QualityUpdate, Quality: template.Red})
	tell(0, template.Event{What: template.StatusUpdate, Event: "PAUSED", Title: "FIRST_PAUSE"})
	l.sync(1, 0)
	for i, k := range l.all {
		if s, _ := k.Templates.State(id); s.Status != template.Paused || s.Quality != template.Red {
			t.Errorf("sidecar %d: %+v", i, s)
		}
	}
	l.copy[1] = new(consent.Memory)
	l.start(1)
	l.sync(1)
	if s, _ := l.all[1].Templates.State(id); s.Status != template.Paused {
		t.Errorf("a new sidecar: %+v", s)
	}
}

// TestConsent_atOnce: sidecars that hear one person at the same time do so one after another.
func TestConsent_atOnce(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 3)
	l.sync(0, 1, 2)
	const rounds = 20
	var all sync.WaitGroup
	for i, k := range l.all {
		for g := range 2 {
			all.Go(func() {
				for n := range rounds {
					at := l.now.Add(time.Duration(n) * time.Second)
					var err error
					if (n+i+g)%2 == 0 {
						_, err = k.Ledger.OptOut(t.Context(), l.number(1), consent.Record{At: at, Account: "acme", Source: "api"})
					} else {
						_, _, err = k.Ledger.OptIn(t.Context(), l.number(1), consent.Record{At: at, Account: "acme", Source: "api"})
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	// Each event was a change: in the order in which they were made they alternate, whatever the times of their proofs.
	events := strings.Fields(l.events(0, 1))
	out, back := 0, 0
	for _, e := range events {
		if e == "withdrawn" {
			out++
		} else {
			back++
		}
	}
	l.sync(0, 1, 2)
	if want := out - back; want != 0 && want != 1 {
		t.Errorf("%d times out and %d times back", out, back)
	} else if l.out(slices.Repeat([]int{1}, want)...); out == 0 {
		t.Error("nobody went out")
	}
}

// TestConsent_killed: what was acknowledged outlives the server, which writes it down before.
func TestConsent_killed(t *testing.T) {
	r := startProgram(t, "valkey-server", "--appendonly", "yes", "--appendfsync", "always")
	l := newSidecars(t, r.addr, 2)
	l.sync(0, 1)
	var mu sync.Mutex
	told, began := []int{}, make(chan bool)
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := g; ; i += 16 {
				_, err := l.all[g%2].Ledger.OptOut(t.Context(), l.number(i), consent.Record{At: l.now, Account: "acme", Source: "api"})
				if err != nil {
					return // the server is no more
				}
				mu.Lock()
				if told = append(told, i); len(told) == 64 {
					close(began)
				}
				mu.Unlock()
			}
		})
	}
	<-began
	r.kill()
	all.Wait()
	r.start()
	fresh := newSidecars(t, r.addr, 1)
	fresh.sync(0)
	for _, i := range told {
		if _, out := fresh.all[0].Ledger.OptedOut(l.number(i), consent.Scope{Account: "acme"}); !out {
			t.Fatalf("of %d acknowledged opt-outs one is lost", len(told))
		}
	}
	t.Logf("%d acknowledged opt-outs, none lost", len(told))
}

// TestConsent_move: a gate that had a file brings what is in it, and what others have stays as it is.
func TestConsent_move(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 2)
	l.sync(0, 1)
	file, err := consent.OpenFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	alone, err := consent.Open(t.Context(), consent.Options{Store: file, Secret: secret()})
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	list.WriteString("number,account\n")
	for i := 10; i < 1010; i++ {
		fmt.Fprintf(&list, "%s,acme\n", l.number(i).E164())
	}
	if _, err := alone.Import(t.Context(), l.now, strings.NewReader(list.String()), consent.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 2} {
		if _, err := alone.OptOut(t.Context(), l.number(i), consent.Record{At: l.now, Account: "acme", Source: "api", Text: "stop it"}); err != nil {
			t.Fatal(err)
		}
	}
	l.stop(1, 2)
	for _, want := range []int{1001, 0} {
		moved, err := consent.Move(t.Context(), file, l.tell[0], 256)
		if err != nil || moved["opt_out"] != want {
			t.Fatalf("%v %v, want %d", moved, err, want)
		}
	}
	l.sync(0, 1)
	l.out(1, 2)
	if got := l.events(1, 1); got != "withdrawn" {
		t.Errorf("proofs that were moved: %s", got)
	}
	if _, out := l.all[1].Ledger.OptedOut(l.number(1009), consent.Scope{Account: "acme"}); !out {
		t.Error("an imported one was not moved")
	}
	// An import at one sidecar while another starts is left alone, and is known to all.
	if _, err := l.all[0].Ledger.Import(t.Context(), l.now, strings.NewReader(strings.ReplaceAll(list.String(), ",acme", ",other")), consent.ImportOptions{Told: func(i consent.Imported) {
		if i.Added == 512 {
			l.start(1)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	l.sync(1)
	n := 0
	for i := 10; i < 1010; i++ {
		if _, out := l.all[1].Ledger.OptedOut(l.number(i), consent.Scope{Account: "other"}); out {
			n++
		}
	}
	if n != 1000 {
		t.Errorf("%d of 1000 are known", n)
	}
}

// TestConsent_rotation: a new secret with the old beside it, at all sidecars, and numbers that are moved to it.
func TestConsent_rotation(t *testing.T) {
	r := startServer(t)
	l := newSidecars(t, r.addr, 2)
	l.sync(0, 1)
	l.stop(0, 1)
	l.stop(0, 2)
	l.sync(1)
	newest := append([]byte("newer"), secret()...)
	for i := range l.all {
		ledger, err := consent.Open(t.Context(), consent.Options{Store: l.tell[i], Copy: l.copy[i], Secret: newest, Old: [][]byte{secret()}})
		if err != nil {
			t.Fatal(err)
		}
		l.all[i].Ledger = ledger
	}
	l.out(1, 2)
	if err := l.all[0].Ledger.Reseal(t.Context(), l.number(1)); err != nil {
		t.Fatal(err)
	}
	l.resume(1, 2)
	l.sync(0, 1)
	l.out(1)
	if got := l.events(0, 2); got != "withdrawn resumed" {
		t.Errorf("after another secret: %s", got)
	}
	report, err := l.all[1].Ledger.Report(t.Context())
	if err != nil || len(report.Secrets) != 2 || report.Secrets[1].Records != 0 || report.Secrets[0].Records == 0 {
		t.Errorf("%+v %v", report.Secrets, err)
	}
}
