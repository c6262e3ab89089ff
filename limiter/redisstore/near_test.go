package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// nearIn is how many checks in f were answered without the server.
func nearIn(s *redisstore.Store, f func()) (near int64) {
	before := s.Faults().Near
	f()
	return s.Faults().Near - before
}

// TestNear: a key that is limited is denied without asking, until something changes for it, whoever changes it.
func TestNear(t *testing.T) {
	r := startServer(t)
	o := redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second}
	here, there := open(t, o), open(t, o)
	other := minute
	other.Name = "other"
	limits := []limiter.Limit{minute, other}
	rules := define(t, here, limits...)
	k := here.Key([]byte("k"))
	one := limiter.Charge{Rule: rules[0], Key: k, Cost: 1}
	beside := limiter.Charge{Rule: rules[1], Key: k, Cost: 1}
	thereRules := define(t, there, limits...)
	foreign := limiter.Charge{Rule: thereRules[0], Key: k, Cost: 1}

	deny := func() limiter.Decision {
		t.Helper()
		d := take(t, here, time.Now(), one)
		if d.Allowed {
			t.Fatal("a full key was allowed")
		}
		return d
	}
	learned := func() {
		t.Helper()
		eventually(t, "answered near", func() bool { return nearIn(here, func() { deny() }) == 1 })
	}
	full := take(t, here, time.Now(), limiter.Charge{Rule: rules[0], Key: k, Cost: 5})
	learned()
	if d := deny(); d.RetryAfter > time.Minute || d.RetryAfter < 50*time.Second || d.Binding != 0 || d.Remaining != 0 {
		t.Errorf("near: %+v", d)
	}
	if nearIn(here, func() { take(t, here, time.Now(), beside, one) }) != 1 {
		t.Error("a check with a charge that is denied asked the server")
	}
	if peekHeld(t, here, beside) != 0 {
		t.Error("a denied check charged")
	}
	if nearIn(here, func() { take(t, here, time.Now(), beside) }) != 0 {
		t.Error("another rule of the key was answered near")
	}

	// Another store resets it.
	if err := there.Reset(t.Context(), time.Now(), thereRules[0], k); err != nil {
		t.Fatal(err)
	}
	eventually(t, "allowed after a reset elsewhere", func() bool { return take(t, here, time.Now(), one).Allowed })
	// Another store takes the rest and gives it back.
	rest := foreign
	rest.Cost = 4
	eventually(t, "filled elsewhere", func() bool { full = take(t, there, time.Now(), rest); return full.Allowed })
	learned()
	if err := there.Refund(t.Context(), full.At, []limiter.Charge{rest}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "allowed after a refund elsewhere", func() bool { return take(t, here, time.Now(), one).Allowed })
	rest.Cost = 3
	take(t, there, time.Now(), rest)
	learned()
	// The server forgets all.
	r.do("FLUSHALL")
	eventually(t, "allowed after a flush", func() bool { return take(t, here, time.Now(), one).Allowed })
	rest.Cost = 4
	take(t, there, time.Now(), rest)
	learned()
	// A new policy.
	raised := minute
	raised.N = 50
	one.Rule = define(t, here, raised)[0]
	if d := take(t, here, time.Now(), one); !d.Allowed {
		t.Errorf("after N was raised: %+v", d)
	}
	one.Rule = define(t, here, minute)[0]
	learned()
	// The connection is lost, and with it the news of changes.
	r.do("CLIENT", "KILL", "TYPE", "normal")
	eventually(t, "asks again after its connection was lost", func() bool {
		var err error
		near := nearIn(here, func() { _, err = here.Take(context.Background(), time.Now(), []limiter.Charge{one}) })
		return err == nil && near == 0
	})
}

// TestNear_cost: a smaller cost than the one that was denied may fit.
func TestNear_cost(t *testing.T) {
	r := startServer(t)
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second})
	rule := define(t, s, minute)[0]
	k := s.Key([]byte("k"))
	charge := func(cost int64) limiter.Charge { return limiter.Charge{Rule: rule, Key: k, Cost: cost} }
	take(t, s, time.Now(), charge(3))
	eventually(t, "a cost of 3 is denied near", func() bool { return nearIn(s, func() { take(t, s, time.Now(), charge(3)) }) == 1 })
	if nearIn(s, func() { take(t, s, time.Now(), charge(4)) }) != 1 {
		t.Error("a cost of 4 asked the server")
	}
	if d := take(t, s, time.Now(), charge(2)); !d.Allowed {
		t.Errorf("a cost of 2: %+v", d)
	}
}
