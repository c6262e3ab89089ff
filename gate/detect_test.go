package gate_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/traffic"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// guarded is a gate with detection and a clock of its own.
type guarded struct {
	*gate.Gate
	engine *detect.Engine
	store  limiter.Store
	now    time.Time
}

func newGuarded(t testing.TB, src string) *guarded {
	t.Helper()
	store, err := limiter.Open(limiter.Options{Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := detect.New(detect.Options{Size: 16 << 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{engine: engine, store: store, now: time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)}
	t.Cleanup(func() { g.Close(); engine.Close(); store.Close() })
	g.Gate = g.restart(t, src)
	return g
}

// restart is a new gate on the same store and engine.
func (g *guarded) restart(t testing.TB, src string) *gate.Gate {
	t.Helper()
	p := policy.Default()
	if src != "" {
		var err error
		if p, err = policy.Parse("test.yaml", []byte("version: 1\n"+src)); err != nil {
			t.Fatal(err)
		}
	}
	made, err := gate.New(t.Context(), gate.Options{Policy: p, Store: g.store, Detect: g.engine, Clock: func() time.Time { return g.now }, Secret: make([]byte, gate.SecretSize)})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (g *guarded) ask(t testing.TB, r gate.Request) gate.Verdict {
	t.Helper()
	r.Cost, r.Caller.Trusted = 1, true
	v, err := g.Check(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// report says that codes are entered, so that detection is in force for the account.
func (g *guarded) report(t testing.TB, account string) {
	t.Helper()
	v := g.ask(t, gate.Request{Number: "+6598765432", ClientAddress: "192.0.2.1", Account: account})
	if _, err := g.Report(t.Context(), &gate.Report{CheckID: v.CheckID, Account: account, Outcome: gate.Verified}); err != nil {
		t.Fatal(err)
	}
	g.now = g.now.Add(time.Minute)
}

// flooded asks for one number from ever other networks and returns the last answer.
func (g *guarded) flooded(t testing.TB, r gate.Request, times int) (v gate.Verdict) {
	t.Helper()
	if r.Number == "" {
		r.Number = "+6581234567"
	}
	for i := range times {
		g.now = g.now.Add(10 * time.Minute)
		r.ClientAddress = netip.AddrFrom4([4]byte{20, byte(i), 1, 1}).String()
		v = g.ask(t, r)
	}
	return v
}

const noLimits = "limits: [{name: account-second, by: [account], limit: 1800, window: 1s}]\n"

func TestDetect_stopsAndSaysWhy(t *testing.T) {
	g := newGuarded(t, noLimits)
	g.report(t, "")
	v := g.flooded(t, gate.Request{}, 12)
	if v.Kind != gate.Deny || v.Reason != "block:victim_flood:number" || !v.ByDetection() || v.RetryAfter <= 0 || v.Rule != "" {
		t.Errorf("got %+v", v)
	}
	if len(v.Signals) == 0 || v.Signals[0].Kind != detect.VictimFlood || v.Signals[0].Subject.String() != "+65****67" {
		t.Errorf("signals %v", v.Signals)
	}
}

func TestDetect_withoutOutcomesItOnlyTells(t *testing.T) {
	g := newGuarded(t, noLimits)
	v := g.flooded(t, gate.Request{}, 12)
	if v.Kind != gate.Allow || v.Reason != "detect:victim_flood:number" || len(v.Shadow) != 1 || v.Shadow[0].Kind != gate.Deny {
		t.Errorf("got %+v", v)
	}
	// One account reports, another does not.
	g.report(t, "acme")
	if v := g.flooded(t, gate.Request{Account: "globex", Number: "+6581234568"}, 12); v.Kind != gate.Allow {
		t.Errorf("an account that reports nothing: %s %s", v.Kind, v.Reason)
	}
	if v := g.flooded(t, gate.Request{Account: "acme", Number: "+6581234569"}, 12); v.Kind != gate.Deny {
		t.Errorf("an account that reports: %s %s", v.Kind, v.Reason)
	}
	// A restart does not forget who reports; a week without a word does.
	g.Gate = g.restart(t, noLimits)
	if v := g.flooded(t, gate.Request{Account: "acme", Number: "+6581234560"}, 12); v.Kind != gate.Deny {
		t.Errorf("after a restart: %s %s", v.Kind, v.Reason)
	}
	g.now = g.now.Add(8 * 24 * time.Hour)
	if v := g.flooded(t, gate.Request{Account: "acme", Number: "+6581234561"}, 12); v.Kind != gate.Allow {
		t.Errorf("after a week without a word: %s %s", v.Kind, v.Reason)
	}
}

func TestDetect_policy(t *testing.T) {
	for name, c := range map[string]struct{ detect, want string }{
		"off":             {"detect: {level: off}", "allow "},
		"observe":         {"detect: {level: observe}", "allow detect:victim_flood:number"},
		"shadow":          {"detect: {victim_flood: {mode: shadow}}", "allow "},
		"detector off":    {"detect: {victim_flood: {mode: off}}", "allow "},
		"challenge":       {"detect: {victim_flood: {on_signal: challenge}}", "challenge block:victim_flood:number"},
		"account off":     {"accounts: {acme: {detect: {level: off}}}", "allow "},
		"account shadow":  {"accounts: {acme: {detect: {victim_flood: {mode: shadow}}}}", "allow "},
		"account enforce": {"detect: {victim_flood: {mode: shadow}}\naccounts: {acme: {detect: {victim_flood: {mode: enforce}}}}", "deny block:victim_flood:number"},
		"allow list":      {"lists: {allow: [+6581234567]}", "allow list:allow"},
		"test number":     {"lists: {test_numbers: [+6581234567]}", "allow list:test"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, noLimits+c.detect)
			g.report(t, "acme")
			v := g.flooded(t, gate.Request{Account: "acme"}, 12)
			if got := v.Kind.String() + " " + v.Reason; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if name == "test number" && g.engine.Stats().Numbers.Used > 1 {
				t.Error("a number for tests was shown to detection")
			}
		})
	}
}

// The stricter answers; between equals the attack is named; a fault is told the limit's wait.
func TestDetect_besideLimits(t *testing.T) {
	limits := "limits: [{name: one, by: [number], limit: 1, window: 24h}, {name: soft, by: [client], limit: 1, window: 24h, on_limit: challenge}]\n"
	g := newGuarded(t, limits)
	g.report(t, "")
	if v := g.flooded(t, gate.Request{}, 3); v.Reason != "limit:one" || v.RetryAfter <= 0 {
		t.Errorf("a flood that only a limit stops: %s %s", v.Kind, v.Reason)
	}
	if v := g.flooded(t, gate.Request{}, 12); v.Reason != "block:victim_flood:number" {
		t.Errorf("a flood that both stop: %s %s", v.Kind, v.Reason)
	}

	g = newGuarded(t, "limits: [{name: few, by: [number], limit: 6, window: 1h}]\n")
	g.report(t, "")
	var reasons []string
	for range 9 {
		v := g.ask(t, gate.Request{Number: "+6581234567", ClientAddress: "203.0.113.7"})
		reasons = append(reasons, v.Kind.String()+" "+v.Reason)
		g.now = g.now.Add(time.Second)
	}
	if reasons[2] != "allow " || reasons[5] != "deny detect:retry_storm:number" || reasons[8] != "deny detect:retry_storm:number" {
		t.Errorf("a broken client: %q", reasons)
	}
	// The storm was charged nothing: three of six are left.
	g.now = g.now.Add(2 * time.Minute)
	left := 0
	for range 6 {
		if g.ask(t, gate.Request{Number: "+6581234567", ClientAddress: "203.0.113.7"}).Kind == gate.Allow {
			left++
		}
		g.now = g.now.Add(30 * time.Second)
	}
	if left != 3 {
		t.Errorf("%d are left of 6, want 3", left)
	}
}

func TestDetect_passedChallengesAndBatches(t *testing.T) {
	g := newGuarded(t, noLimits)
	g.report(t, "")
	// More strangers than an address may ask for.
	last := gate.Verdict{}
	for i := range 14 {
		last = g.ask(t, gate.Request{Number: fmt.Sprintf("+658%07d", 1234567+i*104729), ClientAddress: "203.0.113.7"})
		g.now = g.now.Add(time.Second)
	}
	if last.Kind != gate.Challenge || last.Reason != "detect:ip_fanout:address" {
		t.Fatalf("got %s %s", last.Kind, last.Reason)
	}
	if v := g.ask(t, gate.Request{Number: "+6587777777", ClientAddress: "203.0.113.7", ChallengePassed: true}); v.Kind != gate.Allow {
		t.Errorf("after the challenge: %s %s", v.Kind, v.Reason)
	}
	answers := g.CheckAll(context.Background(), []*gate.Request{
		{Number: "+6586666666", ClientAddress: "198.51.100.1", Cost: 1}, {Number: "+6585555555", ClientAddress: "203.0.113.7", Cost: 1}})
	if answers[0].Verdict.Reason != "batch:all_or_nothing" || answers[1].Verdict.Kind != gate.Challenge {
		t.Errorf("batch: %s, %s", answers[0].Verdict.Reason, answers[1].Verdict.Reason)
	}
}

// A made-up morning with a pumping attack through the gate.
func TestDetect_morning(t *testing.T) {
	s, err := traffic.New(traffic.Options{Seed: 9, Length: 12 * time.Hour, Sessions: 8000, Attacks: []traffic.Attack{{Kind: "ait_range", At: 9 * time.Hour, For: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	g := newGuarded(t, "")
	checks := map[string]gate.Report{}
	var sent, stopped, honest, hurt int
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		g.now = e.At
		if e.Outcome != "" {
			rep, out := checks[e.ID]
			if !out {
				continue
			}
			rep.Outcome = map[string]gate.Outcome{"verified": gate.Verified, "failed": gate.Failed, "expired": gate.Expired, "delivered": gate.Delivered, "undelivered": gate.Undelivered}[e.Outcome]
			if _, err := g.Report(t.Context(), &rep); err != nil {
				t.Fatal(err)
			}
			continue
		}
		v := g.ask(t, gate.Request{Number: e.Number, ClientAddress: e.Client, Account: e.Account, Endpoint: e.Endpoint, Purpose: e.Purpose})
		if v.Kind == gate.Allow {
			checks[e.ID] = gate.Report{CheckID: v.CheckID, Account: e.Account}
		}
		switch {
		case e.Label != traffic.Benign:
			if sent++; v.ByDetection() && v.Kind != gate.Allow {
				stopped++
			}
		default:
			if honest++; v.ByDetection() && v.Kind != gate.Allow {
				hurt++
			}
		}
	}
	if float64(stopped) < .95*float64(sent) || float64(hurt) > .001*float64(honest) || sent < 3000 || honest < 3000 {
		t.Errorf("%d of %d sends of the attack stopped, %d of %d honest", stopped, sent, hurt, honest)
	}
}
