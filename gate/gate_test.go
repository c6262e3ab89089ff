package gate_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// now is a clock that a test sets.
type now struct {
	mu sync.Mutex
	t  time.Time
}

func (n *now) read() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.t
}

func (n *now) add(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.t = n.t.Add(d)
}

type fixture struct {
	*gate.Gate
	clock   *now
	store   *limiter.Table
	replies *replies.Table
}

func open(t testing.TB, yaml string, observers ...gate.Observer) *fixture {
	t.Helper()
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	f := &fixture{clock: &now{t: time.Unix(1_800_000_000, 0)}, store: store}
	f.Gate, err = gate.New(t.Context(), gate.Options{Policy: parse(t, yaml), Store: store, Clock: f.clock.read, Observers: observers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func parse(t testing.TB, yaml string) *policy.Policy {
	t.Helper()
	if yaml == "" {
		return policy.Default()
	}
	p, err := policy.Parse("test.yaml", []byte("version: 1\n"+yaml))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fixture) check(t testing.TB, req gate.Request) gate.Verdict {
	t.Helper()
	v, err := f.Check(t.Context(), &req)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return v
}

func ask(number, client string) gate.Request {
	return gate.Request{Number: number, ClientAddress: client, Cost: 1}
}

func want(t testing.TB, v gate.Verdict, kind gate.Kind, reason string) {
	t.Helper()
	if v.Kind != kind || v.Reason != reason {
		t.Fatalf("verdict %v %q (rule %q, retry after %v), want %v %q", v.Kind, v.Reason, v.Rule, v.RetryAfter, kind, reason)
	}
}

func TestCheck_secondAtOnceIsDeniedByTheMinute(t *testing.T) {
	f := open(t, "")
	first := f.check(t, ask("+6581234567", "203.0.113.7"))
	want(t, first, gate.Allow, "")
	if first.CheckID == "" || first.PolicyVersion != policy.Default().Version || first.Rule == "" {
		t.Errorf("an ALLOW without its particulars: %+v", first)
	}
	f.clock.add(200 * time.Millisecond)
	second := f.check(t, ask("+65 8123-4567", "203.0.113.8"))
	want(t, second, gate.Deny, "limit:number-minute")
	if second.RetryAfter != 59800*time.Millisecond || second.Limit != 1 || second.Window != time.Minute || second.Remaining != 0 {
		t.Errorf("retry after %v of %d in %v, %d left; want 59.8s of 1 in 1m0s, 0 left", second.RetryAfter, second.Limit, second.Window, second.Remaining)
	}
	f.clock.add(second.RetryAfter)
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Allow, "")
}

func TestCheck_withoutTheMinuteTenOfTwelvePass(t *testing.T) {
	f := open(t, `limits: [{name: number-30m, by: [number], limit: 10, window: 30m}]`)
	for i := range 12 {
		v := f.check(t, ask("+6581234567", "203.0.113.7"))
		if i < 10 {
			want(t, v, gate.Allow, "")
			if v.Remaining != int64(9-i) {
				t.Errorf("check %d: %d left, want %d", i+1, v.Remaining, 9-i)
			}
		} else {
			want(t, v, gate.Deny, "limit:number-30m")
			// The first was i seconds ago, and frees its permit after 30 minutes.
			if wait := 30*time.Minute - time.Duration(i)*time.Second; v.RetryAfter != wait {
				t.Errorf("check %d: retry after %v, want %v", i+1, v.RetryAfter, wait)
			}
		}
		f.clock.add(time.Second)
	}
}

func TestCheck_deniedChargesNothing(t *testing.T) {
	f := open(t, `limits:
  - {name: one, by: [number], limit: 1, window: 1h}
  - {name: client, by: [client], limit: 2, window: 1h}`)
	f.check(t, ask("+6581234567", "203.0.113.7"))
	for range 5 {
		want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Deny, "limit:one")
	}
	want(t, f.check(t, ask("+6581234568", "203.0.113.7")), gate.Allow, "")
	want(t, f.check(t, ask("+6581234569", "203.0.113.7")), gate.Deny, "limit:client")
}

func TestCheck_countDeniedChargesDeniedSends(t *testing.T) {
	f := open(t, `limits:
  - {name: one, by: [number], limit: 1, window: 1h}
  - {name: tries, by: [client], limit: 3, window: 1h, count_denied: true}`)
	f.check(t, ask("+6581234567", "203.0.113.7"))
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Deny, "limit:one")
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Deny, "limit:one")
	want(t, f.check(t, ask("+6581234568", "203.0.113.7")), gate.Deny, "limit:tries")
}

func TestCheck_challengeYieldsToDeny(t *testing.T) {
	f := open(t, `limits:
  - {name: soft, by: [client], limit: 1, window: 1h, on_limit: challenge}
  - {name: hard, by: [number], limit: 1, window: 1m}`)
	f.check(t, ask("+6581234567", "203.0.113.7"))
	v := f.check(t, ask("+6581234567", "203.0.113.7")) // both refuse, and the soft one for longer
	want(t, v, gate.Deny, "limit:hard")
	if v.RetryAfter != time.Minute || v.Limit != 1 || v.Window != time.Minute {
		t.Errorf("the denial tells of another rule: %+v", v)
	}
	want(t, f.check(t, ask("+6581234568", "203.0.113.7")), gate.Challenge, "limit:soft")
}

func TestCheck_missingClient(t *testing.T) {
	limit := `limits: [{name: client, by: [client], limit: 1, window: 1h}]`
	tests := []struct {
		mode          string
		first, second gate.Kind
		reason        string // of the second
	}{
		{"allow", gate.Allow, gate.Allow, ""},
		{"deny", gate.Deny, gate.Deny, "client:missing"},
		{"challenge", gate.Challenge, gate.Challenge, "client:missing"},
		{"bucket", gate.Allow, gate.Deny, "limit:client"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			f := open(t, "client_address: {missing_client: "+tt.mode+"}\n"+limit)
			if v := f.check(t, ask("+6581234567", "")); v.Kind != tt.first {
				t.Errorf("first: %v, want %v", v.Kind, tt.first)
			}
			v := f.check(t, ask("+6581234568", ""))
			want(t, v, tt.second, tt.reason)
			if v.CheckID == "" {
				t.Error("no check id")
			}
		})
	}
}

func TestCheck_clientBehindProxies(t *testing.T) {
	const trust = "client_address: {trusted_proxies: [10.0.0.0/8], missing_client: deny}\n"
	limit := `limits: [{name: client, by: [client], limit: 1, window: 1h}]`
	xff := []string{"6.6.6.6, 203.0.113.7", "10.0.0.2"}
	tests := []struct {
		name      string
		forwarded gate.Forwarded
		client    string // whom it is counted for; empty for nobody
	}{
		{"a trusted peer is passed over", gate.Forwarded{Peer: "10.0.0.1", XForwardedFor: xff}, "203.0.113.7"},
		{"without the peer the last hop is trusted", gate.Forwarded{XForwardedFor: xff}, "203.0.113.7"},
		{"a stranger's header is not believed", gate.Forwarded{Peer: "198.51.100.9", XForwardedFor: xff}, "198.51.100.9"},
		{"another header than the policy's is not read", gate.Forwarded{Peer: "10.0.0.1", Custom: xff, Forwarded: xff}, "10.0.0.1"},
		{"the service that asks is nobody's client", gate.Forwarded{OwnCall: true, Peer: "198.51.100.9", XForwardedFor: xff}, ""},
		{"nor is a proxy of ours", gate.Forwarded{OwnCall: true, Peer: "10.0.0.1"}, ""},
		{"but a proxy of ours may name one", gate.Forwarded{OwnCall: true, Peer: "10.0.0.1", XForwardedFor: xff}, "203.0.113.7"},
		{"a unix socket without trust names nobody", gate.Forwarded{OwnCall: true, XForwardedFor: xff}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t, trust+limit)
			v := f.check(t, gate.Request{Number: "+6581234567", Cost: 1, Forwarded: &tt.forwarded})
			if tt.client == "" {
				want(t, v, gate.Deny, "client:missing")
				return
			}
			want(t, v, gate.Allow, "")
			want(t, f.check(t, ask("+6581234568", tt.client)), gate.Deny, "limit:client")
		})
	}
}

func TestCheck_badRequests(t *testing.T) {
	f := open(t, `numbers: {default_region: SG}
limits: [{name: ten, by: [number], limit: 10, window: 1h}]
accounts: {acme: {}}`)
	good := ask("+6581234567", "203.0.113.7")
	good.Account = "acme"
	f.check(t, good)
	long := strings.Repeat("9", 200)
	tests := []struct {
		name   string
		change func(*gate.Request)
		field  string
		says   string
	}{
		{"empty number", func(r *gate.Request) { r.Number = "" }, "number", "empty"},
		{"no number", func(r *gate.Request) { r.Number = "my phone" }, "number", ""},
		{"number too long", func(r *gate.Request) { r.Number = long }, "number", "at most 64 bytes"},
		{"bad address", func(r *gate.Request) { r.ClientAddress = "203.0.113.256" }, "client_address", "203.0.113.7"},
		{"address too long", func(r *gate.Request) { r.ClientAddress = long }, "client_address", "at most 128 bytes"},
		{"bad peer", func(r *gate.Request) { r.ClientAddress, r.Forwarded = "", &gate.Forwarded{Peer: "nginx"} }, "forwarded.peer", "203.0.113.7"},
		{"cost 0", func(r *gate.Request) { r.Cost = 0 }, "cost", "at least 1"},
		{"cost negative", func(r *gate.Request) { r.Cost = -3 }, "cost", "-3: must be at least 1"},
		{"cost above the limit", func(r *gate.Request) { r.Cost = 11 }, "cost", `11 can never fit rule "ten", which allows 10 in 1h0m0s`},
		{"unknown account", func(r *gate.Request) { r.Account = "acne" }, "account", "none of them"},
		{"account too long", func(r *gate.Request) { r.Account = long }, "account", ""},
		{"subaccount too long", func(r *gate.Request) { r.Subaccount = long }, "subaccount", "at most 128 bytes"},
		{"endpoint not text", func(r *gate.Request) { r.Endpoint = "\xff" }, "endpoint", "UTF-8"},
		{"channel in capitals", func(r *gate.Request) { r.Channel = "SMS" }, "channel", "such as sms"},
		{"unknown purpose", func(r *gate.Request) { r.Purpose = "spam" }, "purpose", "otp, transactional or marketing"},
		{"key too long", func(r *gate.Request) { r.IdempotencyKey = long }, "idempotency_key", "at most 128 bytes"},
		{"attribute without a key", func(r *gate.Request) { r.Attributes = map[string]string{"": "x"} }, "attributes", "keys of 1 to 64 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := good
			tt.change(&req)
			_, err := f.Check(t.Context(), &req)
			var invalid *gate.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("err = %v, want an InvalidError", err)
			}
			v := invalid.Violations[0]
			if v.Field != tt.field || !strings.Contains(v.Description, tt.says) || v.Reason == "" {
				t.Errorf("violation %+v, want field %s saying %q", v, tt.field, tt.says)
			}
			if strings.Contains(err.Error(), "81234567") || strings.Contains(err.Error(), long) {
				t.Errorf("the error repeats what was given: %v", err)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := f.Check(t.Context(), &gate.Request{ClientAddress: "x", Purpose: "x"})
		var invalid *gate.InvalidError
		if !errors.As(err, &invalid) || len(invalid.Violations) != 4 {
			t.Errorf("err = %v, want four violations", err)
		}
	})
	t.Run("nothing was charged", func(t *testing.T) {
		if v := f.check(t, good); v.Remaining != 8 {
			t.Errorf("%d left of 10 after two good checks, want 8", v.Remaining)
		}
	})
}

func TestCheck_canceledChargesNothing(t *testing.T) {
	f := open(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := ask("+6581234567", "203.0.113.7")
	if _, err := f.Check(ctx, &req); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
	want(t, f.check(t, req), gate.Allow, "")
}

func TestCheck_storeGone(t *testing.T) {
	for _, tt := range []struct{ mode, yaml string }{
		{"open", `limits: [{name: a, by: [number], limit: 9, window: 1h}, {name: b, by: [client], limit: 9, window: 1h}]`},
		{"closed", `limits: [{name: a, by: [number], limit: 9, window: 1h}, {name: b, by: [client], limit: 9, window: 1h, fail_mode: closed}]`},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			f := open(t, tt.yaml)
			f.store.Close()
			req := ask("+6581234567", "203.0.113.7")
			v, err := f.Check(t.Context(), &req)
			var unavailable *gate.UnavailableError
			switch {
			case tt.mode == "closed" && (!errors.As(err, &unavailable) || unavailable.Rule != "b" || !errors.Is(err, limiter.ErrClosed)):
				t.Errorf("err = %v, want rule b to fail closed", err)
			case tt.mode == "open" && (err != nil || v.Kind != gate.Allow || v.Reason != "store:failed" || len(v.Skipped) != 2):
				t.Errorf("verdict %+v, %v, want ALLOW with both rules skipped", v, err)
			}
		})
	}
}

func TestCheck_shadowIsToldAndStopsNothing(t *testing.T) {
	f := open(t, `limits:
  - {name: hard, by: [number], limit: 2, window: 1h}
  - {name: strict, by: [number], limit: 1, window: 1m, mode: shadow}
  - {name: loose, by: [client], limit: 5, window: 1h, mode: shadow, on_limit: challenge}`)
	f.check(t, ask("+6581234567", "203.0.113.7"))
	v := f.check(t, ask("+6581234567", "203.0.113.7"))
	want(t, v, gate.Allow, "")
	told := map[string]gate.ShadowResult{}
	for _, s := range v.Shadow {
		told[s.Rule] = s
	}
	if s := told["strict"]; s.Kind != gate.Deny || s.Reason != "limit:strict" || s.RetryAfter != time.Minute {
		t.Errorf("strict says %+v, want DENY for a minute", s)
	}
	if s := told["loose"]; s.Kind != gate.Allow || s.Remaining != 3 {
		t.Errorf("loose says %+v, want ALLOW with 3 left", s)
	}
}

// Adding shadow rules changes no verdict, whatever they say.
func TestCheck_shadowHasNoInfluence(t *testing.T) {
	enforced := `
  - {name: number, by: [number], limit: 2, window: 1m}
  - {name: client, by: [client], limit: 4, window: 2m, on_limit: challenge, count_denied: true}`
	rapid.Check(t, func(rt *rapid.T) {
		shadow := ""
		for i := range rapid.IntRange(1, 4).Draw(rt, "shadow rules") {
			shadow += fmt.Sprintf("\n  - {name: shadow-%d, by: [%s], limit: %d, window: %ds, mode: shadow, count_denied: %v}", i,
				rapid.SampledFrom([]string{"number", "client", "number, client", "account"}).Draw(rt, "by"),
				rapid.IntRange(1, 5).Draw(rt, "limit"), rapid.IntRange(1, 300).Draw(rt, "window"), rapid.Bool().Draw(rt, "count_denied"))
		}
		plain, shadowed := open(t, "limits:"+enforced), open(t, "limits:"+enforced+shadow)
		for range rapid.IntRange(1, 40).Draw(rt, "checks") {
			req := ask(fmt.Sprintf("+658123456%d", rapid.IntRange(0, 2).Draw(rt, "number")), fmt.Sprintf("203.0.113.%d", rapid.IntRange(1, 2).Draw(rt, "client")))
			req.Cost = int64(rapid.IntRange(1, 2).Draw(rt, "cost"))
			a, b := plain.check(t, req), shadowed.check(t, req)
			if a.Kind != b.Kind || a.Reason != b.Reason || a.RetryAfter != b.RetryAfter || a.Remaining != b.Remaining {
				rt.Fatalf("with%s\nthe verdict is %v %q after %v, %d left; without %v %q after %v, %d left", shadow,
					b.Kind, b.Reason, b.RetryAfter, b.Remaining, a.Kind, a.Reason, a.RetryAfter, a.Remaining)
			}
			step := time.Duration(rapid.IntRange(0, 30).Draw(rt, "seconds")) * time.Second
			plain.clock.add(step)
			shadowed.clock.add(step)
		}
	})
}

func TestSetPolicy_underLoadFailsNoCheck(t *testing.T) {
	a := parse(t, `limits: [{name: kept, by: [number], limit: 1000000, window: 1h}, {name: comes, by: [client], limit: 1000000, window: 1h}]`)
	b := parse(t, `limits: [{name: kept, by: [number], limit: 1000000, window: 1h}, {name: goes, by: [number, client], limit: 1000000, window: 1h}]`)
	f := open(t, "")
	if err := f.SetPolicy(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var checkers sync.WaitGroup
	for i := range 4 {
		checkers.Go(func() {
			req := ask(fmt.Sprintf("+658123456%d", i), "203.0.113.7")
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, err := f.Check(context.Background(), &req)
				if err != nil || v.Kind != gate.Allow || v.PolicyVersion != a.Version && v.PolicyVersion != b.Version || len(v.Skipped) > 0 {
					t.Errorf("during a change: %+v, %v", v, err)
					return
				}
			}
		})
	}
	for range 200 {
		for _, p := range []*policy.Policy{b, a} {
			if err := f.SetPolicy(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	checkers.Wait()
}

func TestCheckAll_chargesAllOrNone(t *testing.T) {
	f := open(t, `limits:
  - {name: number, by: [number], limit: 1, window: 1h}
  - {name: client, by: [client], limit: 3, window: 1h}`)
	reqs := []*gate.Request{}
	for _, number := range []string{"+6581234561", "+6581234562", "+6581234561"} {
		req := ask(number, "203.0.113.7")
		reqs = append(reqs, &req)
	}
	answers := f.CheckAll(t.Context(), reqs)
	want(t, answers[0].Verdict, gate.Deny, "batch:all_or_nothing")
	want(t, answers[1].Verdict, gate.Deny, "batch:all_or_nothing")
	want(t, answers[2].Verdict, gate.Deny, "limit:number")
	reqs[2].Number = "+6581234563"
	for i, a := range f.CheckAll(t.Context(), reqs) { // fits only if the first call gave everything back
		if a.Err != nil || a.Verdict.Kind != gate.Allow {
			t.Errorf("item %d: %+v, want ALLOW", i, a)
		}
	}
	reqs[0].Number, reqs[1].Cost = "+6581234564", 0
	answers = f.CheckAll(t.Context(), reqs[:2])
	want(t, answers[0].Verdict, gate.Deny, "limit:client")
	var invalid *gate.InvalidError
	if !errors.As(answers[1].Err, &invalid) {
		t.Errorf("a wrong item: %v, want an InvalidError", answers[1].Err)
	}
}

// recorder keeps what it is told. The gate calls it from one goroutine; read it after Close.
type recorder struct{ events []gate.Event }

func (r *recorder) Checked(e *gate.Event) { r.events = append(r.events, *e) }

func TestObserver_isToldEveryAnswer(t *testing.T) {
	var seen recorder
	f := open(t, "", &seen)
	f.check(t, ask("+65 8123-4567", "::ffff:203.0.113.7"))
	denied := f.check(t, ask("+6581234567", "203.0.113.7"))
	f.Close()
	if len(seen.events) != 2 || f.Stats().Dropped != 0 {
		t.Fatalf("%d events and %d dropped, want 2 and 0", len(seen.events), f.Stats().Dropped)
	}
	e := seen.events[1]
	if e.Verdict.CheckID != denied.CheckID || !reflect.DeepEqual(e.Send, seen.events[0].Send) || e.Cost != 1 {
		t.Errorf("the observer saw %+v", e)
	}
	if s := fmt.Sprintf("%v %+v %#v", e.Send, e.Send, e.Send); strings.Contains(s, "81234567") {
		t.Errorf("a printed event shows the number: %s", s)
	}
}

// The decision allocates its check id and nothing else.
func TestCheck_allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector throws pooled memory away at random")
	}
	f := open(t, "")
	i := 0
	numbers := make([]string, 1<<12)
	for i := range numbers {
		numbers[i] = fmt.Sprintf("+6581%06d", i)
	}
	allowed := ask("", "203.0.113.7")
	got := testing.AllocsPerRun(1000, func() {
		i++
		allowed.Number = numbers[i%len(numbers)]
		f.clock.add(7 * time.Second)
		if v := f.check(t, allowed); v.Kind != gate.Allow {
			t.Fatalf("%+v", v)
		}
	})
	if got > 1 {
		t.Errorf("an allowed check allocates %v times, want at most 1", got)
	}
	denied := ask(numbers[i%len(numbers)], "203.0.113.7")
	if got := testing.AllocsPerRun(1000, func() { want(t, f.check(t, denied), gate.Deny, "limit:number-minute") }); got > 1 {
		t.Errorf("a denied check allocates %v times, want at most 1", got)
	}
}

// BenchmarkCheck is the decision on the built-in policy: five rules, three keys, 65,536 numbers and clients.
func BenchmarkCheck(b *testing.B) {
	const senders = 1 << 16
	var numbers, clients [senders]string
	for i := range senders {
		numbers[i], clients[i] = fmt.Sprintf("+6581%06d", i), fmt.Sprintf("198.51.%d.%d", i>>8, i&255)
	}
	// A number is asked for again when 65,536 steps have passed: for 30ms after more than half an hour, for 1us at once.
	run := func(b *testing.B, step time.Duration, kind gate.Kind, observers ...gate.Observer) {
		store, err := limiter.Open(limiter.Options{Size: 128 << 20})
		if err != nil {
			b.Fatal(err)
		}
		defer store.Close()
		var ticks atomic.Int64
		clock := func() time.Time { return time.Unix(1_800_000_000, ticks.Add(int64(step))) }
		g, err := gate.New(b.Context(), gate.Options{Store: store, Clock: clock, Observers: observers})
		if err != nil {
			b.Fatal(err)
		}
		defer g.Close()
		var next atomic.Int64
		check := func() gate.Kind {
			i := next.Add(1) * 7919 % senders
			v, err := g.Check(b.Context(), &gate.Request{Number: numbers[i], ClientAddress: clients[i], Cost: 1})
			if err != nil {
				b.Error(err)
			}
			return v.Kind
		}
		for range senders {
			check()
		}
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if got := check(); got != kind {
					b.Errorf("%v, want %v", got, kind)
					return
				}
			}
		})
	}
	b.Run("answer=allow", func(b *testing.B) { run(b, 30*time.Millisecond, gate.Allow) })
	b.Run("answer=allow/observed", func(b *testing.B) { run(b, 30*time.Millisecond, gate.Allow, nothing{}) })
	b.Run("answer=deny", func(b *testing.B) { run(b, time.Nanosecond, gate.Deny) })
}

type nothing struct{}

func (nothing) Checked(*gate.Event) {}
