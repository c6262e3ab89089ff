package gate_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
)

// remembering is a fixture with a memory of answers.
func remembering(t testing.TB, yaml string) *fixture {
	t.Helper()
	return openIn(t, yaml, "")
}

// openIn keeps its state in a directory, so that another can go on with it; "" for memory only.
func openIn(t testing.TB, yaml, dir string) *fixture {
	t.Helper()
	path := func(name string) string {
		if dir == "" {
			return ""
		}
		return filepath.Join(dir, name)
	}
	store, err := limiter.Open(limiter.Options{Path: path("counters"), Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	memory, err := replies.Open(replies.Options{Path: path("replies"), Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memory.Close() })
	f := &fixture{clock: &now{t: time.Unix(1_800_000_000, 0)}, store: store, replies: memory}
	f.Gate, err = gate.New(t.Context(), gate.Options{Policy: parse(t, yaml), Store: store, Replies: memory, Clock: f.clock.read, Secret: make([]byte, gate.SecretSize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func keyed(number, key string) gate.Request {
	req := ask(number, "203.0.113.7")
	req.IdempotencyKey = key
	return req
}

func TestIdempotency_sameKeySameAnswer(t *testing.T) {
	f := remembering(t, `limits:
  - {name: number, by: [number], limit: 2, window: 1h}
  - {name: shadow, by: [number], limit: 1, window: 1h, mode: shadow}`)
	first := f.check(t, keyed("+6581234567", "k1"))
	f.clock.add(time.Minute)
	again := f.check(t, keyed("+65 8123 4567", "k1")) // the same send in another spelling
	if !again.Replayed || first.Replayed {
		t.Fatalf("replayed: first %v, again %v", first.Replayed, again.Replayed)
	}
	again.Replayed = false
	if !equalVerdicts(first, again) {
		t.Errorf("got  %+v\nwant %+v", again, first)
	}
	want(t, f.check(t, keyed("+6581234567", "k2")), gate.Allow, "") // only one was charged
	denied := f.check(t, keyed("+6581234567", "k3"))
	want(t, denied, gate.Deny, "limit:number")
	f.clock.add(time.Minute)
	if v := f.check(t, keyed("+6581234567", "k3")); !v.Replayed || v.RetryAfter != denied.RetryAfter || v.Reason != denied.Reason || v.CheckID != denied.CheckID {
		t.Errorf("a denial is answered again as %+v", v)
	}
	// The id of a replay is good for reports.
	f.report(t, again.CheckID, gate.NotSent, gate.News)
	f.report(t, first.CheckID, gate.NotSent, gate.Duplicate)
	f.clock.add(9 * time.Minute)
	if v := f.check(t, keyed("+6581234567", "k1")); v.Replayed {
		t.Error("a key is remembered for more than 10 minutes")
	}
}

func equalVerdicts(a, b gate.Verdict) bool {
	return a.Kind == b.Kind && a.Reason == b.Reason && a.Rule == b.Rule && a.RetryAfter == b.RetryAfter && a.Remaining == b.Remaining && a.Limit == b.Limit &&
		a.Window == b.Window && a.CheckID == b.CheckID && a.PolicyVersion == b.PolicyVersion && a.At.Equal(b.At) && slices.Equal(a.Shadow, b.Shadow) && slices.Equal(a.Skipped, b.Skipped)
}

// What is answered without a decision leaves nothing behind: the next send is judged as itself.
func TestIdempotency_nextIsAnother(t *testing.T) {
	f := remembering(t, "limits: [{name: number, by: [number], limit: 1, window: 1h}]")
	for i := range 50 {
		want(t, f.check(t, keyed("+6581234567", "k")), gate.Allow, "") // charged once
		reused := keyed("+6581234568", "k")
		if _, err := f.Check(t.Context(), &reused); err == nil {
			t.Fatal("a key for two numbers")
		}
		want(t, f.check(t, keyed(fmt.Sprintf("+658200%04d", i), "")), gate.Allow, "")
	}
}

func TestIdempotency_anotherQuestionIsRefused(t *testing.T) {
	f := remembering(t, "accounts: {acme: {}, globex: {}}\nlimits: [{name: number, by: [number], limit: 100, window: 1h}]")
	base := keyed("+6581234567", "k")
	base.Account, base.Attributes = "acme", map[string]string{"tenant": "blue"}
	f.check(t, base)
	for name, change := range map[string]func(*gate.Request){
		"number":     func(r *gate.Request) { r.Number = "+6581234568" },
		"client":     func(r *gate.Request) { r.ClientAddress = "203.0.113.8" },
		"subaccount": func(r *gate.Request) { r.Subaccount = "s" },
		"endpoint":   func(r *gate.Request) { r.Endpoint = "e" },
		"channel":    func(r *gate.Request) { r.Channel = "voice" },
		"purpose":    func(r *gate.Request) { r.Purpose = "marketing" },
		"cost":       func(r *gate.Request) { r.Cost = 2 },
		"attributes": func(r *gate.Request) { r.Attributes = map[string]string{"tenant": "red"} },
	} {
		req := base
		change(&req)
		_, err := f.Check(t.Context(), &req)
		var invalid *gate.InvalidError
		if !errors.As(err, &invalid) || invalid.Violations[0].Reason != "IDEMPOTENCY_KEY_REUSED" {
			t.Errorf("another %s: err = %v", name, err)
		}
	}
	other := base
	other.Account = "globex" // whose keys are his own
	if v := f.check(t, other); v.Replayed {
		t.Error("an account is told the answer of another")
	}
}

func TestIdempotency_twinsInFlightAreOneCheck(t *testing.T) {
	f := remembering(t, "limits: [{name: number, by: [number], limit: 5, window: 1h}]")
	var mu sync.Mutex
	ids := map[string]int{}
	var wg sync.WaitGroup
	for key := range 5 {
		for range 20 {
			wg.Go(func() {
				req := keyed("+6581234567", string(rune('a'+key)))
				v, err := f.Check(context.Background(), &req)
				if err != nil || v.Kind != gate.Allow {
					t.Errorf("%+v, %v", v, err)
				}
				mu.Lock()
				ids[v.CheckID]++
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	if len(ids) != 5 {
		t.Errorf("5 keys made %d checks", len(ids))
	}
}

func TestIdempotency_afterARestart(t *testing.T) {
	dir := t.TempDir()
	const yaml = "limits: [{name: number, by: [number], limit: 1, window: 1h}]"
	var first gate.Verdict
	t.Run("before", func(t *testing.T) { first = openIn(t, yaml, dir).check(t, keyed("+6581234567", "k")) })
	t.Run("after", func(t *testing.T) {
		f := openIn(t, yaml, dir)
		again := f.check(t, keyed("+6581234567", "k"))
		if !again.Replayed || again.CheckID != first.CheckID || again.Kind != gate.Allow {
			t.Errorf("%+v, want the answer of before", again)
		}
		f.report(t, again.CheckID, gate.NotSent, gate.News)
		want(t, f.check(t, keyed("+6581234567", "k2")), gate.Allow, "")
	})
}

func TestIdempotency_allOrNone(t *testing.T) {
	f := remembering(t, "limits: [{name: number, by: [number], limit: 2, window: 1h}]")
	batch := func(reqs ...gate.Request) []gate.Answer {
		var all []*gate.Request
		for i := range reqs {
			all = append(all, &reqs[i])
		}
		return f.CheckAll(t.Context(), all)
	}
	a, b := keyed("+6581234567", "a"), keyed("+6581234568", "b")
	first := batch(a, b, a) // the third is the first once more
	again := batch(b, a)
	for i, answer := range append(first, again...) {
		if answer.Err != nil || answer.Verdict.Kind != gate.Allow || answer.Verdict.Replayed != (i >= 2) {
			t.Errorf("item %d: %+v", i, answer)
		}
	}
	if first[0].Verdict.CheckID != again[1].Verdict.CheckID || first[0].Verdict.CheckID != first[2].Verdict.CheckID {
		t.Error("one key, several checks")
	}
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Allow, "") // one of two was left
	denied := batch(keyed("+6581234567", "c"), keyed("+6581234569", "d"))
	if denied[0].Verdict.Reason != "limit:number" || denied[1].Verdict.Reason != "batch:all_or_nothing" {
		t.Fatalf("%+v", denied)
	}
	f.refused(t, gate.Report{CheckID: denied[1].Verdict.CheckID, Outcome: gate.NotSent}, "CHECK_NOT_ALLOWED")
	if again := batch(keyed("+6581234567", "c"), keyed("+6581234569", "d")); !again[1].Verdict.Replayed || again[1].Verdict.Reason != "batch:all_or_nothing" {
		t.Errorf("%+v", again)
	}
	other := keyed("+6581234560", "a")
	if answers := batch(other, keyed("+6581234561", "e")); answers[0].Err == nil || answers[1].Verdict.Reason != "batch:all_or_nothing" {
		t.Errorf("a key used again for another number: %+v", answers)
	}
}

// Two batches that share keys in different orders wait for each other one way only.
func TestIdempotency_batchesDoNotWaitInACircle(t *testing.T) {
	f := remembering(t, "limits: [{name: number, by: [number], limit: 1000, window: 1h}]")
	var wg sync.WaitGroup
	for round := range 200 {
		k := string(rune('A' + round))
		a, b := keyed("+6581234567", k+"1"), keyed("+6581234568", k+"2")
		for _, pair := range [][]*gate.Request{{&a, &b}, {&b, &a}} {
			wg.Go(func() {
				for _, answer := range f.CheckAll(context.Background(), pair) {
					if answer.Err != nil || answer.Verdict.Kind != gate.Allow {
						t.Errorf("%+v", answer)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestIdempotency_codes(t *testing.T) {
	f := remembering(t, "limits: [{name: number, by: [number], limit: 5, window: 1h}]\notp: {verify: {codes: 1}}")
	id := f.check(t, ask("+6581234567", "203.0.113.7")).CheckID
	enter := func(key string) gate.Verdict {
		v, err := f.CheckVerify(t.Context(), &gate.VerifyRequest{CheckID: id, Request: gate.Request{ClientAddress: "203.0.113.7", IdempotencyKey: key}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	want(t, enter("k"), gate.Allow, "")
	if v := enter("k"); v.Kind != gate.Allow || !v.Replayed {
		t.Errorf("asked again: %+v", v)
	}
	want(t, enter("k2"), gate.Deny, "limit:verify-code")
	send := keyed("+6581234567", "k")
	if _, err := f.Check(t.Context(), &send); err == nil {
		t.Error("the key of a code is taken for a send")
	}
}

func TestIdempotency_verdictsSurvive(t *testing.T) {
	text := rapid.StringN(0, -1, 40)
	span := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64().Draw(t, "ns")) })
	rapid.Check(t, func(t *rapid.T) {
		v := gate.Verdict{
			Kind: rapid.SampledFrom([]gate.Kind{gate.Allow, gate.Deny, gate.Challenge}).Draw(t, "kind"), Rule: text.Draw(t, "rule"),
			RetryAfter: span.Draw(t, "retry after"), Remaining: rapid.Int64().Draw(t, "remaining"), Limit: rapid.Int64().Draw(t, "limit"),
			Window: span.Draw(t, "window"), PolicyVersion: text.Draw(t, "version"), At: time.Unix(0, rapid.Int64().Draw(t, "at")), CheckID: "AAAA",
		}
		v.Reason = rapid.SampledFrom([]string{"", text.Draw(t, "reason"), "limit:" + v.Rule}).Draw(t, "which reason")
		for range rapid.IntRange(0, 2).Draw(t, "shadows") {
			v.Shadow = append(v.Shadow, gate.ShadowResult{Rule: "s", Kind: gate.Deny, Reason: "limit:s", RetryAfter: span.Draw(t, "shadow"), Limit: 3})
			v.Skipped = append(v.Skipped, text.Draw(t, "skipped"))
		}
		got, ok := gate.ReadBack(v)
		if !ok || !equalVerdicts(got, v) {
			t.Fatalf("got  %+v\nwant %+v", got, v)
		}
	})
}
