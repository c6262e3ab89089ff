package redisstore_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/traffic"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/shared"
)

// fleet is gates with a detection of their own each, on the same clock, that tell each other what they see, or not.
type fleet struct {
	now     time.Time
	gates   []*gate.Gate
	engines []*detect.Engine
	tell    []*shared.Evidence // nil where they do not
	last    time.Time          // of the exchange before
}

func newFleet(t testing.TB, n int, addr string) *fleet {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte("version: 1\nlimits: [{name: account-second, by: [account], limit: 1800, window: 1s}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	prefix := fmt.Sprintf("fleet%d:", prefixes.Add(1))
	for i := range n {
		table, err := limiter.Open(limiter.Options{Size: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { table.Close() })
		engine, err := detect.New(detect.Options{Size: 32 << 20, Seed: uint64(i) + 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engine.Close() })
		o := gate.Options{Policy: p, Store: table, Detect: engine, Clock: func() time.Time { return f.now }, Secret: secret()}
		if addr != "" {
			store := open(t, redisstore.Options{Addrs: []string{addr}, Prefix: prefix, Timeout: 5 * time.Second})
			e, err := shared.NewEvidence(store.Log("evidence", shared.KeepBatches), secret(), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			f.tell = append(f.tell, e)
			o.Peers = e
		}
		g, err := gate.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		f.gates, f.engines = append(f.gates, g), append(f.engines, engine)
	}
	f.exchange(t)
	return f
}

// exchange lets every sidecar tell and hear, in the worst order: what one tells the next hears a period later.
func (f *fleet) exchange(t testing.TB) {
	t.Helper()
	for i, e := range f.tell {
		if err := e.Exchange(t.Context(), f.gates[i]); err != nil {
			t.Fatal(err)
		}
	}
	f.last = f.now
}

// until lets time pass to a moment, with the exchanges in between: those that could matter.
func (f *fleet) until(t testing.TB, at time.Time) {
	t.Helper()
	for range 3 { // told, heard, and what had to wait for it
		if next := f.last.Add(shared.Period); len(f.tell) > 0 && !at.Before(next) {
			f.now = next
			f.exchange(t)
		}
	}
	f.now = at
}

// caught is what became of a day.
type caught struct{ attack, stopped, honest, hurt int }

func (c caught) recall() float64 { return 100 * float64(c.stopped) / float64(c.attack) }
func (c caught) wrong() float64  { return 100 * float64(c.hurt) / float64(c.honest) }

// day lets a day of traffic come to any of the sidecars, and what became of it to any.
func (f *fleet) day(t testing.TB, o traffic.Options) (c caught) {
	t.Helper()
	s, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	draw := rand.New(rand.NewPCG(1, 2))
	outcomes := map[string]gate.Outcome{"verified": gate.Verified, "failed": gate.Failed, "expired": gate.Expired, "delivered": gate.Delivered, "undelivered": gate.Undelivered}
	type sent struct{ id, account string }
	checks := map[string]sent{}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		f.until(t, e.At)
		g := f.gates[draw.IntN(len(f.gates))]
		if e.Outcome != "" {
			if check, out := checks[e.ID]; out {
				if _, err := g.Report(t.Context(), &gate.Report{CheckID: check.id, Account: check.account, Outcome: outcomes[e.Outcome], Caller: gate.Caller{Trusted: true}}); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		v, err := g.Check(t.Context(), &gate.Request{Number: e.Number, ClientAddress: e.Client, Account: e.Account, Endpoint: e.Endpoint, Purpose: e.Purpose, Cost: 1, Caller: gate.Caller{Trusted: true}})
		if err != nil {
			t.Fatal(err)
		}
		if v.Kind == gate.Allow {
			checks[e.ID] = sent{v.CheckID, e.Account}
		}
		stopped := v.Kind != gate.Allow && v.ByDetection()
		switch {
		case e.Label != traffic.Benign:
			if c.attack++; stopped {
				c.stopped++
			}
		default:
			if c.honest++; stopped {
				c.hurt++
			}
		}
	}
	return c
}

// TestEvidence_threeAsOne: attacks on traffic that is spread over three sidecars are detected as if one had seen them, and worse
// where the three know nothing of each other.
func TestEvidence_threeAsOne(t *testing.T) {
	r := startServer(t)
	length, kinds := 5*time.Hour, []string{"ait_range", "ip_fanout"}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := traffic.Options{Seed: 9, Start: time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC), Length: length, Sessions: 6000,
				Attacks: []traffic.Attack{{Kind: kind, At: 4 * time.Hour, For: 40 * time.Minute}}}
			one, three, apart := newFleet(t, 1, "").day(t, o), newFleet(t, 3, r.addr).day(t, o), newFleet(t, 3, "").day(t, o)
			t.Logf("recall %.2f %% by one, %.2f %% by three, %.2f %% by three apart; honest stopped %.3f %%, %.3f %%, %.3f %% (%d sends of the attack, %d honest)",
				one.recall(), three.recall(), apart.recall(), one.wrong(), three.wrong(), apart.wrong(), one.attack, one.honest)
			if three.recall() < one.recall()-2 || three.wrong() > one.wrong()+.1 {
				t.Errorf("three sidecars do not see what one does")
			}
			if apart.recall() >= three.recall() {
				t.Error("it makes no difference whether they tell each other")
			}
		})
	}
}
