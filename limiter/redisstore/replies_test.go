package redisstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/policy"
)

// pod is what one process has of a store that others have as well.
type pod struct {
	*gate.Gate
	store *redisstore.Store
	asked *replies.Table
}

// startPods starts gates that share a server, each with connections and a memory of its own.
func startPods(t testing.TB, n int, addr, src string) (all []*pod) {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte("version: 1\n"+src))
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		s := &pod{store: open(t, redisstore.Options{Addrs: []string{addr}, Timeout: 5 * time.Second})}
		if s.asked, err = replies.Open(replies.Options{Size: 1 << 20, Secret: secret(), Shared: s.store.Replies()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.asked.Close() })
		if s.Gate, err = gate.New(t.Context(), gate.Options{Policy: p, Store: s.store, Replies: s.asked, Clock: time.Now, Secret: secret()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		all = append(all, s)
	}
	return all
}

// ask asks as a trusted caller.
func (s *pod) ask(t testing.TB, number, key string) gate.Verdict {
	t.Helper()
	v, err := s.Check(t.Context(), &gate.Request{Number: number, ClientAddress: "203.0.113.7", IdempotencyKey: key, Cost: 1, Caller: gate.Caller{Trusted: true}})
	if err != nil {
		t.Error(err)
	}
	return v
}

// TestReplies_once: one idempotency key at several sidecars at the same time is one charge and one verdict.
func TestReplies_once(t *testing.T) {
	r := startServer(t)
	sidecars := startPods(t, 3, r.addr, "limits: [{name: number-hour, by: [number], limit: 5, window: 1h}]\n")
	for _, key := range []string{"a", "b", "c", "d"} {
		var mu sync.Mutex
		ids, fresh := map[string]int{}, 0
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				v := sidecars[i%3].ask(t, "+6581234567", key)
				mu.Lock()
				defer mu.Unlock()
				ids[v.CheckID]++
				if !v.Replayed {
					fresh++
				}
			})
		}
		wg.Wait()
		if len(ids) != 1 || fresh != 1 {
			t.Errorf("key %s: %d verdicts, %d of them new, want one", key, len(ids), fresh)
		}
	}
	if v := sidecars[0].ask(t, "+6581234567", ""); v.Kind != gate.Allow || v.Remaining != 0 {
		t.Errorf("the fifth of five: %v, %d left", v.Kind, v.Remaining)
	}
	// A key that was used for something else is refused by the others as well.
	_, err := sidecars[1].Check(t.Context(), &gate.Request{Number: "+6587654321", ClientAddress: "203.0.113.7", IdempotencyKey: "a", Cost: 1, Caller: gate.Caller{Trusted: true}})
	if e := new(gate.InvalidError); !errors.As(err, &e) {
		t.Errorf("the key of another question: %v", err)
	}
	if st := sidecars[0].asked.Stats(); st.Unshared != 0 {
		t.Errorf("%+v", st)
	}
}

// TestReplies_ends: what is abandoned is new for the next, who waits for one in flight is told when it ends, and a sidecar that dies
// in the middle is waited for no longer than its lease.
func TestReplies_ends(t *testing.T) {
	r := startServer(t)
	ctx := t.Context()
	var tables [2]*replies.Table
	for i := range tables {
		s := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second})
		var err error
		if tables[i], err = replies.Open(replies.Options{Size: 1 << 20, Secret: secret(), Shared: s.Replies()}); err != nil {
			t.Fatal(err)
		}
		defer tables[i].Close()
	}
	begin := func(i int, key string) replies.Call {
		t.Helper()
		c, err := tables[i].Begin(ctx, time.Now(), replies.Question{Account: "a", Key: key, Body: tables[i].Sum([]byte("body"))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := begin(0, "k")
	waits := make(chan replies.Call)
	go func() { waits <- begin(1, "k") }()
	eventually(t, "the other waits", func() bool { return tables[1].Stats().Waited > 0 })
	first.Abandon()
	second := <-waits
	if first.State != replies.New || second.State != replies.New {
		t.Fatalf("%v, then %v, want new twice", first.State, second.State)
	}
	if err := second.Finish([]byte("reply")); err != nil {
		t.Fatal(err)
	}
	if c := begin(0, "k"); c.State != replies.Done || string(c.Reply) != "reply" {
		t.Errorf("%v %q", c.State, c.Reply)
	}

	if c := begin(0, "dies"); c.State != replies.New {
		t.Fatal(c.State)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := tables[1].Begin(short, time.Now(), replies.Question{Account: "a", Key: "dies", Body: tables[1].Sum([]byte("body"))}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside one in flight: %v", err)
	}
	names, err := r.do("KEYS", "*!").AsStrSlice()
	if err != nil || len(names) != 2 {
		t.Fatalf("%v %v", names, err)
	}
	for _, name := range names {
		if left, err := r.do("PTTL", name).AsInt64(); err != nil || left <= 0 || left > 600_000 {
			t.Errorf("%s lives for %d ms: %v", name, left, err)
		}
		r.do("PEXPIRE", name, "1") // as if the lease were over
	}
	if c := begin(1, "dies"); c.State != replies.New {
		t.Errorf("after the lease: %v", c.State)
	}
}

// TestReplies_away: while the server is away each process remembers for itself.
func TestReplies_away(t *testing.T) {
	r := startServer(t)
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 200 * time.Millisecond})
	table, err := replies.Open(replies.Options{Size: 1 << 20, Secret: secret(), Shared: s.Replies()})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	r.kill()
	q := replies.Question{Account: "a", Key: "k", Body: table.Sum([]byte("body"))}
	c, err := table.Begin(t.Context(), time.Now(), q, nil)
	if err != nil || c.State != replies.New {
		t.Fatalf("%v %v", c.State, err)
	}
	if err := c.Finish([]byte("reply")); err != nil {
		t.Fatal(err)
	}
	if c, err := table.Begin(t.Context(), time.Now(), q, nil); err != nil || c.State != replies.Done || string(c.Reply) != "reply" {
		t.Errorf("%v %q %v", c.State, c.Reply, err)
	}
	if st := table.Stats(); st.Unshared == 0 {
		t.Errorf("%+v", st)
	}
}

// TestOutcomes_elsewhere: what becomes of a send may be reported to any sidecar, counts once, and works everywhere.
func TestOutcomes_elsewhere(t *testing.T) {
	r := startServer(t)
	all := startPods(t, 2, r.addr, "limits: [{name: number-hour, by: [number], limit: 1, window: 1h}]\n")
	report := func(s *pod, id string, o gate.Outcome) (gate.Counted, error) {
		return s.Report(t.Context(), &gate.Report{CheckID: id, Outcome: o, Caller: gate.Caller{Trusted: true}})
	}
	number := "+6581234567"
	first := all[0].ask(t, number, "")
	if v := all[1].ask(t, number, ""); v.Kind != gate.Deny {
		t.Fatalf("the second of one: %v", v.Kind)
	}
	if n, err := report(all[1], first.CheckID, gate.NotSent); n != gate.News || err != nil {
		t.Fatalf("%v %v", n, err)
	}
	if n, err := report(all[0], first.CheckID, gate.NotSent); n != gate.Duplicate || err != nil {
		t.Errorf("told once more, here: %v %v", n, err)
	}
	second := all[0].ask(t, number, "")
	if second.Kind != gate.Allow {
		t.Fatalf("after it was given back there: %v %s", second.Kind, second.Reason)
	}
	if v := all[1].ask(t, number, ""); v.Kind != gate.Deny {
		t.Error("it was given back twice")
	}
	var mu sync.Mutex
	news := 0
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			n, err := report(all[i%2], second.CheckID, gate.Verified)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if n == gate.News {
				news++
			}
		})
	}
	wg.Wait()
	if news != 1 {
		t.Errorf("one outcome counted %d times", news)
	}
	if _, err := report(all[1], second.CheckID, gate.NotSent); err == nil {
		t.Error("verified here, not sent there")
	}
}
