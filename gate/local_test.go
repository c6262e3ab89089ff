package gate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
)

// away is a real store that can be away.
type away struct {
	limiter.Store
	is bool
}

func (a *away) Take(ctx context.Context, now time.Time, charges []limiter.Charge) (limiter.Decision, error) {
	if a.is {
		return limiter.Decision{}, errors.New("away")
	}
	return a.Store.Take(ctx, now, charges)
}

func (a *away) Peek(ctx context.Context, now time.Time, c limiter.Charge) (limiter.Usage, error) {
	if a.is {
		return limiter.Usage{}, errors.New("away")
	}
	return a.Store.Peek(ctx, now, c)
}

func table(t *testing.T) limiter.Store {
	t.Helper()
	s, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestLocal: a rule with fail_mode local admits its share of the limit while the store is away, one at least, and others answer as
// they say.
func TestLocal(t *testing.T) {
	for _, c := range []struct {
		limit, instances, cost, admitted int
	}{
		{10, 1, 1, 10}, {10, 3, 1, 3}, {10, 10, 1, 1}, {10, 40, 1, 1}, {10, 3, 2, 1}, {10, 3, 4, 1}, {100, 3, 1, 33}, {1000, 7, 1, 142},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			store := &away{Store: table(t)}
			clock := &now{t: time.Unix(1_800_000_000, 0)}
			g, err := gate.New(t.Context(), gate.Options{Store: store, Clock: clock.read, Local: &gate.Local{Store: table(t), Instances: func() int { return c.instances }},
				Policy: parse(t, fmt.Sprintf(`limits:
  - {name: shared, by: [number], limit: %d, window: 1h, fail_mode: local, on_limit: challenge}
fail_mode: {default: open}`, c.limit))})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			f := &fixture{Gate: g, clock: clock}
			store.is = true
			req := ask("+6581234567", "")
			req.Cost = int64(c.cost)
			admitted := 0
			for range 2 * c.limit {
				v := f.check(t, req)
				if v.Kind != gate.Allow {
					want(t, v, gate.Challenge, "limit:shared")
					if v.Rule != "shared" || v.Limit != int64(c.limit) || v.RetryAfter <= 0 || v.RetryAfter > time.Hour+time.Hour/50 {
						t.Fatalf("%+v", v)
					}
					break
				}
				want(t, v, gate.Allow, "store:failed")
				admitted++
			}
			if admitted != c.admitted {
				t.Errorf("%d admitted, want %d", admitted, c.admitted)
			}
			want(t, f.check(t, ask("+6587654321", "")), gate.Allow, "store:failed")
			store.is = false
			want(t, f.check(t, ask("+6581234567", "")), gate.Allow, "")
		})
	}
}

// TestLocal_withOthers: a rule that fails closed wins, one that fails open is told as skipped, a delay is judged here.
func TestLocal_withOthers(t *testing.T) {
	store := &away{Store: table(t), is: true}
	clock := &now{t: time.Unix(1_800_000_000, 0)}
	open := func(src string) *fixture {
		g, err := gate.New(t.Context(), gate.Options{Store: store, Clock: clock.read, Policy: parse(t, src), Local: &gate.Local{Store: table(t), Instances: func() int { return 2 }}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		return &fixture{Gate: g, clock: clock}
	}
	const limits = "limits:\n  - {name: here, by: [number], limit: 2, window: 1h, fail_mode: local}\n  - {name: not, by: [account], limit: 2, window: 1h, fail_mode: %s}\n"
	f := open(fmt.Sprintf(limits, "closed"))
	req := ask("+6581234567", "")
	var gone *gate.UnavailableError
	if _, err := f.Check(t.Context(), &req); !errors.As(err, &gone) || gone.Rule != "not" {
		t.Errorf("err = %v", err)
	}
	f = open(fmt.Sprintf(limits, "open"))
	v := f.check(t, ask("+6581234567", ""))
	want(t, v, gate.Allow, "store:failed")
	if len(v.Skipped) != 1 || v.Skipped[0] != "not" {
		t.Errorf("skipped %v", v.Skipped)
	}
	want(t, f.check(t, ask("+6581234567", "")), gate.Deny, "limit:here")

	f = open("delays: {otp: {free: 0, base: 10m, jitter: 0%, fail_mode: local}}\n")
	want(t, f.check(t, ask("+6581234567", "")), gate.Allow, "store:failed")
	want(t, f.check(t, ask("+6581234567", "")), gate.Deny, "delay:otp")
}
