package gate_test

import (
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter"
)

func withLists(t testing.TB, yaml string) (*fixture, *lists.Store) {
	t.Helper()
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	live, err := lists.Open(t.TempDir(), make([]byte, gate.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	f := &fixture{clock: &now{t: time.Unix(1_800_000_000, 0)}, store: store}
	f.Gate, err = gate.New(t.Context(), gate.Options{Policy: parse(t, yaml), Store: store, Lists: live, Clock: f.clock.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, live
}

func add(t testing.TB, f *fixture, live *lists.Store, list lists.List, text string, expires time.Time) {
	t.Helper()
	target, err := lists.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live.Add(f.clock.read(), lists.Entry{List: list, Target: target, Author: "test", Expires: expires}); err != nil {
		t.Fatal(err)
	}
}

const oneAnHour = `limits: [{name: one, by: [number], limit: 1, window: 1h}, {name: client, by: [client], limit: 1, window: 1h}]
`

func TestCheck_listsOfThePolicy(t *testing.T) {
	f := open(t, oneAnHour+`client_address: {missing_client: deny}
numbers: {countries: {block: [ID]}}
lists:
  allow: ["+6591234***", "+6281234567890", 198.51.100.0/24, MY]
  block: ["+6591*", "+6591234567", TH, 203.0.113.66]
  test_numbers: ["+6599999*", "+15550100000"]`)
	for _, tt := range []struct {
		number, client string
		kind           gate.Kind
		reason         string
	}{
		{"+6591111111", "203.0.113.7", gate.Deny, "list:block"},
		{"+6591234000", "203.0.113.7", gate.Allow, "list:allow"}, // the narrower entry wins
		{"+6591234567", "203.0.113.7", gate.Deny, "list:block"},
		{"+6591234000", "203.0.113.66", gate.Deny, "list:block"}, // an allowed number, from a blocked address
		{"+66812345678", "203.0.113.7", gate.Deny, "list:block"},
		{"+60123456789", "203.0.113.7", gate.Allow, "list:allow"},
		{"+6281234567890", "203.0.113.7", gate.Allow, "list:allow"}, // named itself, though its country is not sent to
		{"+6281234567891", "198.51.100.7", gate.Deny, "number:country"},
		{"+6599999123", "203.0.113.66", gate.Allow, "list:test"},
		{"+15550100000", "", gate.Allow, "list:test"}, // no plan has this number
		{"+6581234567", "", gate.Deny, "client:missing"},
	} {
		for range 3 { // no limit is met, and none is charged
			v := f.check(t, ask(tt.number, tt.client))
			if v.Kind != tt.kind || v.Reason != tt.reason || v.Rule != "" {
				t.Errorf("%s from %s: %v %q by %q, want %v %q", tt.number, tt.client, v.Kind, v.Reason, v.Rule, tt.kind, tt.reason)
			}
		}
	}
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Allow, "")
}

func TestCheck_listsOfRunTime(t *testing.T) {
	f, live := withLists(t, oneAnHour+`lists: {allow: ["+6581*"]}`)
	add(t, f, live, lists.Block, "+6581234567", f.clock.read().Add(time.Minute))
	v := f.check(t, ask("+6581234567", "203.0.113.7"))
	want(t, v, gate.Deny, "list:block")
	if v.RetryAfter != time.Minute {
		t.Errorf("retry after %v, want 1m0s, when the entry ends", v.RetryAfter)
	}
	f.clock.add(time.Minute)
	want(t, f.check(t, ask("+6581234567", "203.0.113.7")), gate.Allow, "list:allow")

	add(t, f, live, lists.Test, "+6591234567", time.Time{})
	for range 3 {
		want(t, f.check(t, ask("+6591234567", "203.0.113.8")), gate.Allow, "list:test")
	}
	target, err := lists.ParseTarget("+6591234567")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := live.Remove(f.clock.read(), lists.Test, target, "", "test"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want(t, f.check(t, ask("+6591234567", "203.0.113.8")), gate.Allow, "")
	want(t, f.check(t, ask("+6591234567", "203.0.113.8")), gate.Deny, "limit:one")
}

// What a list let pass was not charged, so nothing is given back for it either: not even what the item before it took.
func TestCheckAll_listedItemsTakeAndGiveNothing(t *testing.T) {
	f := open(t, `limits: [{name: client, by: [client], limit: 2, window: 1h}]
lists: {test_numbers: ["+6599999*"], block: ["+6591*"]}`)
	want(t, f.check(t, ask("+6581234560", "203.0.113.7")), gate.Allow, "")
	reqs := []*gate.Request{}
	for _, number := range []string{"+6581234567", "+6599999123", "+6591234567"} {
		req := ask(number, "203.0.113.7")
		reqs = append(reqs, &req)
	}
	for i, reason := range []string{"batch:all_or_nothing", "batch:all_or_nothing", "list:block"} {
		if a := f.CheckAll(t.Context(), reqs)[i]; a.Err != nil || a.Verdict.Reason != reason {
			t.Errorf("item %d: %+v, want %s", i, a, reason)
		}
	}
	want(t, f.check(t, ask("+6581234561", "203.0.113.7")), gate.Allow, "")
	want(t, f.check(t, ask("+6581234562", "203.0.113.7")), gate.Deny, "limit:client")
}

func TestCheck_blockedAccount(t *testing.T) {
	f, live := withLists(t, oneAnHour+`lists: {allow: ["+6581*"], test_numbers: ["+6599999*"]}`)
	add(t, f, live, lists.Block, "account:acme", f.clock.read().Add(time.Minute))
	for number, reason := range map[string]string{"+6591234567": "list:block", "+6581234567": "list:block", "+6599999123": "list:test"} {
		req := ask(number, "203.0.113.7")
		req.Account = "acme"
		if v := f.check(t, req); v.Reason != reason {
			t.Errorf("%s: %q, want %q", number, v.Reason, reason)
		}
	}
	other := ask("+6581234567", "203.0.113.7")
	other.Account = "globex"
	want(t, f.check(t, other), gate.Allow, "list:allow")
	mine := ask("+6591234567", "203.0.113.7")
	mine.Account = "acme"
	f.clock.add(time.Minute)
	want(t, f.check(t, mine), gate.Allow, "")
}
