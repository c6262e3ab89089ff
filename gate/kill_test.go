package gate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
)

const (
	killedAt = "GATE_TEST_KILLED_AT"
	kills    = 20
	price    = 40_000 // millionths

	killPolicy = `
limits:
  - {name: number, by: [number], limit: 2, window: 24h}
  - {name: all, by: [account], limit: 1000000, window: 24h}
spend: [{name: money, by: [account], budget: 1000000.00, currency: USD, window: 24h, of: unverified}]
otp: {outcome_timeout: 7d}`
)

// life opens what the lives of a process share.
func life(t testing.TB, dir string) (*gate.Gate, *limiter.Table) {
	t.Helper()
	store, err := limiter.Open(limiter.Options{Path: filepath.Join(dir, "counters"), Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	memory, err := replies.Open(replies.Options{Path: filepath.Join(dir, "replies"), Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memory.Close() })
	table, err := prices.Parse("prices", []byte("prefix,price,currency\n65,0.04,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(t.Context(), gate.Options{Policy: parse(t, killPolicy), Store: store, Replies: memory, Prices: table, Clock: time.Now, Secret: make([]byte, gate.SecretSize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g, store
}

// task is one send from its check to the last word on it, across the lives of the process.
type task struct {
	key     int    // of idempotency; also the number
	id      string // of its check, once that was answered
	outcome gate.Outcome
}

func (k *task) number() string { return fmt.Sprintf("+6581%06d", k.key) }

// run does what is left of a task and says so, first what it is about to do and then what came of it. Every word is out before the
// next step.
func (k *task) run(g *gate.Gate, say func(format string, args ...any)) error {
	ctx := context.Background()
	if k.id == "" {
		say("asks %d", k.key)
		v, err := g.Check(ctx, &gate.Request{Number: k.number(), IdempotencyKey: fmt.Sprint(k.key), Cost: 1})
		if err != nil || v.Kind != gate.Allow {
			return fmt.Errorf("check: %+v, %w", v, err)
		}
		k.id = v.CheckID
		say("allowed %d %s", k.key, k.id)
	}
	// Two reports at once, as a caller sends that lost patience.
	say("reports %d", k.key)
	var counted [2]gate.Counted
	var errs [2]error
	var wg sync.WaitGroup
	for i := range counted {
		wg.Go(func() { counted[i], errs[i] = g.Report(ctx, &gate.Report{CheckID: k.id, Outcome: k.outcome}) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	news := 0
	for _, c := range counted {
		if c == gate.News {
			news++
		}
	}
	say("reported %d %d", k.key, news)
	return nil
}

func outcomeOf(key int) gate.Outcome {
	if key%2 == 0 {
		return gate.NotSent
	}
	return gate.Verified
}

// TestKilledChild is the process that TestKill kills. It reads tasks that are not done, then makes new ones.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(killedAt)
	if dir == "" {
		t.Skip("only for TestKill")
	}
	g, _ := life(t, dir)
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	tasks := make(chan *task)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k := range tasks {
				if err := k.run(g, say); err != nil {
					say("wrong %d %v", k.key, err)
				}
			}
		})
	}
	next := 0
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var k task
		if n, _ := fmt.Sscanf(in.Text(), "next %d", &next); n == 1 {
			break
		}
		fmt.Sscanf(in.Text(), "%d %s", &k.key, &k.id)
		k.outcome = outcomeOf(k.key)
		tasks <- &k
	}
	for ; ; next++ {
		tasks <- &task{key: next, outcome: outcomeOf(next)}
	}
}

// ledger is what the parent heard.
type ledger struct {
	open    map[int]*task
	asked   map[int]int // checks that were begun, by key
	ids     map[int]map[string]bool
	news    map[int]int // reports that were counted
	done    map[int]bool
	highest int
}

func (l *ledger) hear(t *testing.T, line string) {
	var key, news int
	var id string
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "asks":
		fmt.Sscanf(rest, "%d", &key)
		l.asked[key]++
		if l.open[key] == nil {
			l.open[key] = &task{key: key, outcome: outcomeOf(key)}
		}
		l.highest = max(l.highest, key)
	case "allowed":
		fmt.Sscanf(rest, "%d %s", &key, &id)
		l.open[key].id = id
		if l.ids[key] == nil {
			l.ids[key] = map[string]bool{}
		}
		l.ids[key][id] = true
	case "reports":
	case "reported":
		fmt.Sscanf(rest, "%d %d", &key, &news)
		l.news[key] += news
		l.done[key] = true
		delete(l.open, key)
	case "wrong":
		t.Error(line)
	}
}

// Across 20 kills at any moment, with every question asked again until it is answered: no outcome is lost or counted twice, a key
// names one check, and what is charged is what was allowed less what was given back. What an unanswered question had charged
// is the one thing that may stay charged.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	l := &ledger{open: map[int]*task{}, asked: map[int]int{}, ids: map[int]map[string]bool{}, news: map[int]int{}, done: map[int]bool{}, highest: -1}
	unasked, unreported, answered := map[int]int{}, map[int]bool{}, 0
	began := time.Now()
	for range kills {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
		child.Env = append(os.Environ(), killedAt+"="+dir)
		in, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for _, k := range l.open {
			fmt.Fprintf(in, "%d %s\n", k.key, k.id)
		}
		fmt.Fprintf(in, "next %d\n", l.highest+1)
		lines, after := bufio.NewReader(out), 200+rand.IntN(2000)
		for n := 0; ; n++ { // reads on after the kill: all that it said counts
			if n == after {
				child.Process.Kill()
			}
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break // what it did not finish saying it did not say
			}
			l.hear(t, strings.TrimSpace(line))
			answered++
		}
		if err := child.Wait(); err == nil || child.ProcessState.Exited() {
			t.Fatalf("was not killed: %v", err)
		}
		for key, k := range l.open {
			if k.id == "" {
				unasked[key]++
			} else {
				unreported[key] = true
			}
		}
	}
	rate := float64(len(l.done)) / time.Since(began).Seconds()

	g, store := life(t, dir)
	for _, k := range l.open {
		if err := k.run(g, func(format string, args ...any) { l.hear(t, fmt.Sprintf(format, args...)) }); err != nil {
			t.Error(err)
		}
	}
	held := func(rule *limiter.Rule, key limiter.Key) int64 {
		u, err := store.Peek(t.Context(), time.Now(), limiter.Charge{Rule: rule, Key: key, Cost: 1})
		if err != nil {
			t.Fatal(err)
		}
		return u.Held
	}
	verified := 0
	for key := range l.done {
		if n := len(l.ids[key]); n != 1 {
			t.Errorf("key %d names %d checks", key, n)
		}
		// Counted once; by a report that was not answered if by none that was.
		if n := l.news[key]; n > 1 || n == 0 && !unreported[key] {
			t.Errorf("the outcome of %d was counted %d times", key, n)
		}
		want := int64(0)
		if outcomeOf(key) == gate.Verified {
			want, verified = 1, verified+1
		}
		rule, k := g.LimitKey("number", (&task{key: key}).number())
		if got := held(rule, k); got < want || got > want+int64(unasked[key]) {
			t.Errorf("number %d holds %d, want %d (%d checks of it were not answered)", key, got, want, unasked[key])
		}
	}
	lost := int64(len(unasked) + len(unreported))
	rule, k := g.LimitKey("all", "")
	if got := held(rule, k); got < int64(verified) || got > int64(verified)+lost {
		t.Errorf("the account holds %d, want %d to %d", got, verified, int64(verified)+lost)
	}
	rule, k = g.LimitKey("money", "")
	if got := held(rule, k); got > lost*price || got%price != 0 {
		t.Errorf("%d millionths are spent, want at most %d", got, lost*price)
	}
	t.Logf("%d sends with their outcomes, %d answers, %d kills, %.0f sends a second; not answered when killed: %d checks, %d reports", len(l.done), answered, kills, rate, len(unasked), len(unreported))
	if len(l.done) < 1000 || len(unasked)+len(unreported) < kills {
		t.Error("too little happened to show anything")
	}
}
