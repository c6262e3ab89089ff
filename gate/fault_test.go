package gate_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/limiter"
)

// faulty is a real store whose refunds fail as often as said: before anything was given back, as after a kill.
type faulty struct {
	limiter.Store
	refunds atomic.Int64
}

func (f *faulty) Refund(ctx context.Context, at time.Time, charges []limiter.Charge) error {
	if f.refunds.Add(-1) >= 0 {
		return errors.New("gone")
	}
	return f.Store.Refund(ctx, at, charges)
}

// A process dies after an outcome was marked and before what it changes was done. Whoever reports again is told DUPLICATE, and what can
// be done twice is done: permits come back. Limits above 62 and budgets keep what they had, the strict side.
func TestReport_marksAndDiesBeforeTheRefund(t *testing.T) {
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	broken := &faulty{Store: store}
	clock := &now{t: time.Unix(1_800_000_000, 0)}
	g, err := gate.New(t.Context(), gate.Options{Store: broken, Clock: clock.read, Policy: parse(t, `limits:
  - {name: few, by: [number], limit: 2, window: 1h}
  - {name: many, by: [account], limit: 100, window: 1h}
delays: {otp: {free: 0, base: 10m, jitter: 0%}}`)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	f := &fixture{Gate: g, clock: clock, store: store}
	id := f.check(t, ask("+6581234567", "")).CheckID
	held := func(name string) int64 {
		number := "+6581234567"
		rule, key := g.LimitKey(name, number)
		u, err := store.Peek(t.Context(), clock.read(), limiter.Charge{Rule: rule, Key: key, Cost: 1})
		if err != nil {
			t.Fatal(err)
		}
		return u.Held
	}
	broken.refunds.Store(1)
	var gone *gate.UnavailableError
	if _, err := f.Report(t.Context(), &gate.Report{CheckID: id, Outcome: gate.NotSent}); !errors.As(err, &gone) {
		t.Fatalf("err = %v", err)
	}
	if held("few") != 1 || held("many") != 1 {
		t.Fatal("something was given back by a store that was gone")
	}
	f.report(t, id, gate.NotSent, gate.Duplicate)
	if held("few") != 0 || held("many") != 1 || held("otp") != 0 {
		t.Errorf("few %d, many %d, delay %d; want 0, 1, 0", held("few"), held("many"), held("otp"))
	}
	// Once it is done it is never done again: a later send of the same microsecond keeps its permit.
	again := f.check(t, ask("+6581234567", ""))
	want(t, again, gate.Allow, "")
	f.report(t, id, gate.NotSent, gate.Duplicate)
	if held("few") != 1 {
		t.Error("the permit of another send was given back")
	}
}

func TestSpend_warnsOnceItIsPassed(t *testing.T) {
	table, err := prices.Parse("prices", []byte("prefix,price,currency\n65,0.10,USD\n1,0,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	clock := &now{t: time.Unix(1_800_000_000, 0)}
	var log warnings
	g, err := gate.New(t.Context(), gate.Options{Store: store, Clock: clock.read, Prices: table, Observers: []gate.Observer{&log},
		Policy: parse(t, "spend: [{name: day, by: account, budget: 0.60, currency: USD, window: 24h, warn_at: 50%}]")})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Gate: g, clock: clock, store: store}
	for range 6 {
		want(t, f.check(t, ask("+6581234567", "")), gate.Allow, "")
	}
	v := f.check(t, ask("+6581234567", ""))
	want(t, v, gate.Deny, "spend:day")
	if v.Limit != 600_000 || v.Remaining != 0 || v.RetryAfter <= 0 {
		t.Errorf("%+v", v)
	}
	want(t, f.check(t, ask("+14155552671", "")), gate.Allow, "") // costs nothing
	g.Close()
	if len(log) != 5 || !log[0].First || log[0].Spent != 300_000 || log[0].Budget != 600_000 || log[1].First || log[3].Spent != 600_000 {
		t.Errorf("warned of %+v", log)
	}
}

type warnings []gate.Warning

func (w *warnings) Checked(e *gate.Event) { *w = append(*w, e.Warned...) }
