package limitertest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// Crash and reopen: a child process, this test binary once more, takes and refunds and tells each answer through a pipe, until it
// is killed with SIGKILL. Then the parent opens the table: every charge that was answered is there, and nothing beyond those that
// were under way.

const (
	crashPath  = "SENDGATE_CRASH_TABLE"
	crashRound = "SENDGATE_CRASH_ROUND"

	crashWorkers = 4
	crashKeys    = 6
	crashPast    = 5 // rounds whose counts are still held and checked again
	crashStep    = 10 * time.Minute
)

func crashLimits() []limiter.Limit {
	return []limiter.Limit{
		{Name: "exact", Group: "number", N: 62, Window: time.Hour},
		{Name: "few", Group: "client", N: 10, Window: time.Hour},
		{Name: "buckets", Group: "account", N: 999_999, Window: time.Hour},
		{Name: "stripes", Group: "account", N: 1_000_000, Window: time.Hour, Stripes: 3},
		{Name: "delay", Group: "client", Kind: limiter.Delay, Backoff: limiter.Backoff{Free: 100, Base: time.Minute, Factor: 1, Max: time.Minute, ForgetAfter: time.Hour}},
		{Name: "brief", Group: "flood", N: 3, Window: 2 * time.Millisecond}, // for slots that are recycled all the time
	}
}

// crashOp is what a worker does at a step. Parent and child work it out alike.
type crashOp struct {
	refunds bool // the step before, if that was allowed
	at      time.Time
	key     int
	costs   [6]int64
}

func crashOpAt(round, worker, seq int) crashOp {
	rnd := rand.New(rand.NewPCG(uint64(round)<<8|uint64(worker), uint64(seq)))
	op := crashOp{at: crashBase(round).Add(time.Duration(seq) * time.Millisecond), key: rnd.IntN(crashKeys)}
	if seq%4 == 3 {
		op = crashOpAt(round, worker, seq-1)
		op.refunds = true
		return op
	}
	for i := range op.costs {
		if rnd.IntN(3) == 0 {
			op.costs[i] = 1 + rnd.Int64N(3)
		}
	}
	if op.costs[4] > 0 {
		op.costs[4] = 1
	}
	return op
}

func crashBase(round int) time.Time { return start.Add(time.Duration(round) * crashStep) }

func (op crashOp) charges(s limiter.Store, rules []*limiter.Rule, round, worker, seq int) (charges []limiter.Charge) {
	k := crashKey(s, round, op.key)
	for i, cost := range op.costs {
		if i == 5 {
			k = s.Key(fmt.Append(nil, "flood ", round, worker, seq))
		}
		if cost > 0 {
			charges = append(charges, charge(rules[i], k, cost))
		}
	}
	return charges
}

func crashKey(s limiter.Store, round, key int) limiter.Key {
	return s.Key(fmt.Append(nil, "round ", round, " key ", key))
}

// What a child tells, in 8 bytes: kind, worker, two of nothing, step.
const (
	crashBegins  = 'b' // no step: before it opens the table
	crashIntends = 'i'
	crashAllowed = 'a' // also of a refund that was made
	crashDenied  = 'd'
)

func crashRecord(kind byte, worker, seq int) (b [8]byte) {
	b[0], b[1] = kind, byte(worker)
	binary.LittleEndian.PutUint32(b[4:], uint32(seq))
	return b
}

// CrashChild is for TestMain of a package that calls [Crash]: in a child process it takes until it is killed.
func CrashChild(open func(path string) (limiter.Store, error)) {
	path := os.Getenv(crashPath)
	if path == "" {
		return
	}
	if err := crashChild(path, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func crashChild(path string, open func(path string) (limiter.Store, error)) error {
	round, err := strconv.Atoi(os.Getenv(crashRound))
	if err != nil {
		return err
	}
	b := crashRecord(crashBegins, 0, 0)
	if _, err := os.Stdout.Write(b[:]); err != nil {
		return err
	}
	s, err := open(path)
	if err != nil {
		return err
	}
	rules, err := s.Define(context.Background(), crashLimits())
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range crashWorkers {
		go func() { failed <- crashWork(s, rules, round, w) }()
	}
	return <-failed
}

func crashWork(s limiter.Store, rules []*limiter.Rule, round, worker int) error {
	ctx := context.Background()
	next := crashRecord(crashIntends, worker, 0)
	if _, err := os.Stdout.Write(next[:]); err != nil {
		return err
	}
	allowed := false
	var last limiter.Decision
	for seq := 0; ; seq++ {
		op := crashOpAt(round, worker, seq)
		kind := byte(crashDenied)
		if op.refunds {
			if allowed {
				if err := s.Refund(ctx, last.At, op.charges(s, rules, round, worker, seq-1)); err != nil {
					return err
				}
				kind = crashAllowed
			}
		} else {
			d, err := s.Take(ctx, op.at, op.charges(s, rules, round, worker, seq))
			if err != nil {
				return err
			}
			if last, allowed = d, d.Allowed; allowed {
				kind = crashAllowed
			}
		}
		answer, next := crashRecord(kind, worker, seq), crashRecord(crashIntends, worker, seq+1)
		if _, err := os.Stdout.Write(append(answer[:], next[:]...)); err != nil {
			return err
		}
	}
}

// bounds are how many units of a rule a key may hold.
type bounds struct{ least, most int64 }

// Crash kills a child n times, after a random number of its answers, and checks the table at path after each. open must open a
// table that is there.
func Crash(t *testing.T, n int, path string, open func(path string) (limiter.Store, error)) {
	t.Helper()
	known := map[int]*[crashKeys][6]bounds{} // by round
	answers, underWay, spared := 0, 0, 0
	for round := range n {
		now := &[crashKeys][6]bounds{}
		a, u := crashOnce(t, round, path, now)
		answers, underWay = answers+a, underWay+u
		known[round] = now
		delete(known, round-crashPast)
		s, rules := crashReopen(t, path, open)
		for r := max(0, round-crashPast+1); r <= round; r++ {
			for key := range known[r] {
				for i := range known[r][key][:5] {
					b := &known[r][key][i]
					u, err := s.Peek(context.Background(), crashBase(round).Add(crashStep-time.Second), charge(rules[i], crashKey(s, r, key), 1))
					if err != nil {
						t.Fatal(err)
					}
					if u.Held < b.least || u.Held > b.most {
						t.Fatalf("kill %d: %q of key %d of round %d holds %d, want %d to %d", round, rules[i].Limit().Name, key, r, u.Held, b.least, b.most)
					}
					spared += int(u.Held - b.least)
					*b = bounds{u.Held, u.Held} // from now on exactly that
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing that died left anything for good: all can be taken anew.
	s, rules := crashReopen(t, path, open)
	defer s.Close()
	late := crashBase(n).Add(3 * time.Hour)
	for round := range n {
		for key := range crashKeys {
			for i, r := range rules[:4] {
				d, err := s.Take(context.Background(), late, []limiter.Charge{charge(r, crashKey(s, round, key), r.Limit().N)})
				if err != nil || !d.Allowed && !d.Full {
					t.Fatalf("rule %d of key %d of round %d is not free again: %+v %v", i, key, round, d, err)
				}
			}
		}
	}
	t.Logf("%d kills, %d answers, %d under way when killed, %d units of them were there", n, answers, underWay, spared)
}

func crashReopen(t *testing.T, path string, open func(path string) (limiter.Store, error)) (limiter.Store, []*limiter.Rule) {
	t.Helper()
	s, err := open(path)
	if err != nil {
		t.Fatalf("open after a kill: %v", err)
	}
	rules, err := s.Define(context.Background(), crashLimits())
	if err != nil {
		t.Fatal(err)
	}
	return s, rules
}

// crashOnce runs one child to its end and adds up what it told.
func crashOnce(t *testing.T, round int, path string, held *[crashKeys][6]bounds) (answers, underWay int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashPath+"="+path, crashRound+"="+strconv.Itoa(round))
	var complaint errorText
	child.Stderr = &complaint
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(uint64(round), 5))
	after := rnd.IntN(3000)
	if rnd.IntN(8) == 0 {
		after = 0 // while it opens the table and defines the rules
	}
	// intended is the step that each worker has announced and not answered; allowed whether its last check was.
	var intended [crashWorkers]int
	var allowed [crashWorkers]bool
	for i := range intended {
		intended[i] = -1
	}
	in := bufio.NewReader(out)
	for records := 0; ; records++ {
		var b [8]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			t.Fatal(err)
		}
		w, seq := int(b[1]), int(binary.LittleEndian.Uint32(b[4:]))
		op := crashOpAt(round, w, seq)
		switch b[0] {
		case crashIntends:
			intended[w] = seq
		case crashAllowed, crashDenied:
			answers++
			intended[w] = -1
			if b[0] == crashAllowed {
				for i, cost := range op.costs {
					if op.refunds {
						cost = -cost
					}
					held[op.key][i].least += cost
					if i != 4 || !op.refunds { // of a delay only the newest charge comes back
						held[op.key][i].most += cost
					}
				}
			}
			allowed[w] = b[0] == crashAllowed && !op.refunds
		}
		if records == after {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait()
	if text := complaint.String(); text != "" {
		t.Fatalf("child of round %d: %s", round, text)
	}
	for w, seq := range intended {
		if seq < 0 {
			continue
		}
		underWay++
		op := crashOpAt(round, w, seq)
		for i, cost := range op.costs {
			switch {
			case !op.refunds:
				held[op.key][i].most += cost
			case allowed[w]:
				held[op.key][i].least -= cost
			}
		}
	}
	return answers, underWay
}

// errorText is what a child wrote to its standard error.
type errorText struct {
	mu   sync.Mutex
	text []byte
}

func (e *errorText) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = append(e.text, b...)
	return len(b), nil
}

func (e *errorText) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.text)
}
