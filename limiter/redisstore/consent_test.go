package redisstore_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/consenttest"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/shared"
)

// ledgers are the consent of several sidecars on one server.
type ledgers struct {
	t    testing.TB
	addr string
	file []consent.Store
	tell []*shared.Consent
	all  []*consent.Ledger
	now  time.Time
}

func newLedgers(t testing.TB, addr string, n int) *ledgers {
	l := &ledgers{t: t, addr: addr, tell: make([]*shared.Consent, n), all: make([]*consent.Ledger, n), now: time.Now().Truncate(time.Second)}
	for i := range n {
		l.file = append(l.file, new(consent.Memory))
		l.start(i)
	}
	return l
}

func (l *ledgers) start(i int) {
	l.t.Helper()
	m := open(l.t, redisstore.Options{Addrs: []string{l.addr}, Timeout: 5 * time.Second}).Map("consent")
	l.tell[i] = shared.NewConsent(m, l.file[i], slog.New(slog.DiscardHandler))
	var err error
	if l.all[i], err = consent.Open(l.t.Context(), consent.Options{Store: l.tell[i], Secret: secret()}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledgers) number(i int) phone.Number {
	n, err := phone.Parse(fmt.Sprintf("+65812%05d", i), "")
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *ledgers) stop(i, number int) {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	if _, err := l.all[i].OptOut(l.t.Context(), l.number(number), consent.Record{At: l.now, Account: "acme", Source: consent.SourceKeyword, Text: "STOP"}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledgers) resume(i, number int) {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	if _, _, err := l.all[i].OptIn(l.t.Context(), l.number(number), consent.Record{At: l.now, Account: "acme", Source: consent.SourceKeyword, Text: "START"}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledgers) sync(order ...int) {
	l.t.Helper()
	for _, i := range order {
		if err := l.tell[i].Sync(l.t.Context(), l.all[i]); err != nil {
			l.t.Fatal(err)
		}
	}
}

// out says who is out, at all of them.
func (l *ledgers) out(want ...int) {
	l.t.Helper()
	for i, a := range l.all {
		var got []int
		for n := range 10 {
			if _, out := a.OptedOut(l.number(n), consent.Scope{Account: "acme"}); out {
				got = append(got, n)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			l.t.Errorf("sidecar %d has %v out, want %v", i, got, want)
		}
	}
}

// TestConsent: a STOP that one sidecar hears is known to all, and the START after it, whatever becomes of the server.
func TestConsent(t *testing.T) {
	r := startServer(t)
	l := newLedgers(t, r.addr, 3)
	l.stop(0, 1)
	l.stop(1, 2)
	l.sync(0, 1, 2, 0)
	l.out(1, 2)
	if all, _ := r.do("HGETALL", "sg1{consent}map").AsStrMap(); strings.Contains(fmt.Sprint(all), "81200001") || len(all) != 3 {
		t.Errorf("on the server: %q", all)
	}
	l.resume(2, 1)
	l.sync(2, 1, 0)
	l.out(2)

	// The server has lost it all, and one sidecar was not there meanwhile.
	r.do("FLUSHALL")
	l.stop(0, 3)
	l.sync(0, 1)
	l.start(2)
	l.sync(2, 0, 1)
	l.out(2, 3)

	// A sidecar that is new knows all.
	l.file[1] = new(consent.Memory)
	l.start(1)
	l.sync(1)
	l.out(2, 3)
}

// TestConsent_store: the store that is told of is a store as others are.
func TestConsent_store(t *testing.T) {
	r := startServer(t)
	consenttest.Run(t, func(t *testing.T, _ string) consent.Store {
		m := open(t, redisstore.Options{Addrs: []string{r.addr}, Prefix: fmt.Sprintf("c%d:", prefixes.Add(1)), Timeout: 5 * time.Second}).Map("consent")
		return shared.NewConsent(m, new(consent.Memory), slog.New(slog.DiscardHandler))
	}, false)
}
