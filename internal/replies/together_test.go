package replies

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Of all that ask with one key at once, exactly one works through to the end, and all are told what it found.
func TestTwins_oneDoesTheWork(t *testing.T) {
	table := open(t, Options{Size: 1 << 20})
	const keys, twins = 300, 8
	var finished [keys]atomic.Int32
	var told [keys][twins]string
	var wg sync.WaitGroup
	for twin := range twins {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(twin), 1))
			for k := range keys {
				for told[k][twin] == "" {
					call, err := table.Begin(t.Context(), start, Question{Account: "a", Key: strconv.Itoa(k)}, nil)
					switch {
					case err != nil:
						t.Error(err)
						return
					case call.State == Done:
						told[k][twin] = string(call.Reply)
					case call.State != New:
						t.Errorf("key %d: %v", k, call.State)
						return
					case random.IntN(3) == 0:
						call.Abandon() // as if its caller had gone; somebody else takes over
					default:
						told[k][twin] = fmt.Sprintf("%d by %d", k, twin)
						finished[k].Add(1)
						call.Finish([]byte(told[k][twin]))
					}
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		if n := finished[k].Load(); n != 1 {
			t.Errorf("key %d was worked %d times", k, n)
		}
		for _, s := range told[k] {
			if s != told[k][0] {
				t.Errorf("key %d: %q and %q", k, told[k][0], s)
			}
		}
	}
	for i := range table.regions {
		if n := len(table.regions[i].waiting); n > 0 {
			t.Errorf("%d calls are still waited for", n)
		}
	}
}

func TestTwin_waits(t *testing.T) {
	q := Question{Account: "a", Key: "k"}
	for name, c := range map[string]struct {
		end   func(first *Call, table *Table, cancel func())
		state State
		reply string
		err   error
	}{
		"until it is finished":       {func(c *Call, _ *Table, _ func()) { c.Finish([]byte("yes")) }, Done, "yes", nil},
		"until it is abandoned":      {func(c *Call, _ *Table, _ func()) { c.Abandon() }, New, "", nil},
		"until its context is done":  {func(_ *Call, _ *Table, cancel func()) { cancel() }, 0, "", context.Canceled},
		"until the table is closed":  {func(_ *Call, t *Table, _ func()) { t.Close() }, 0, "", ErrClosed},
		"until its context runs out": {func(*Call, *Table, func()) {}, 0, "", context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := open(t, Options{Size: 1 << 20})
				first, err := table.Begin(t.Context(), start, q, nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var second Call
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					second, err = table.Begin(ctx, start, q, nil)
				}()
				synctest.Wait()
				select {
				case <-ended:
					t.Fatal("did not wait")
				default:
				}
				c.end(&first, table, cancel)
				<-ended
				if second.State != c.state || string(second.Reply) != c.reply || !errors.Is(err, c.err) {
					t.Errorf("%v %q %v, want %v %q %v", second.State, second.Reply, err, c.state, c.reply, c.err)
				}
			})
		})
	}
}

func TestClosed(t *testing.T) {
	table := open(t, Options{Size: 1 << 20})
	call, err := table.Begin(t.Context(), start, Question{Key: "k"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	table.Close()
	if err := errors.Join(call.Finish([]byte("late")), table.Close()); err != nil {
		t.Error(err)
	}
	if _, err := table.Begin(t.Context(), start, Question{Key: "k"}, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	var none Call
	none.Abandon()
}

const killedAt = "REPLIES_TEST_KILLED_AT"

// TestKilledChild is the process that TestKill kills. It tells what it remembers, a line each, after it has done so.
func TestKilledChild(t *testing.T) {
	path := os.Getenv(killedAt)
	if path == "" {
		t.Skip("only for TestKill")
	}
	table := open(t, Options{Path: path, Size: 8 << 20, Secret: []byte("s")})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, n)
				call, err := table.Begin(t.Context(), start, Question{Account: "a", Key: key}, nil)
				if err != nil || call.State != New {
					return // full, in the end
				}
				if n%5 == 4 {
					fmt.Println("in flight", key)
					continue
				}
				if call.Finish([]byte("reply to "+key)) == nil {
					fmt.Println("finished", key)
				}
			}
		})
	}
	wg.Wait()
}

// What was answered before a kill -9 is remembered after it, and what was in flight is free.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	path := filepath.Join(t.TempDir(), "replies")
	var finished, InFlight []string
	for round := range 8 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
		child.Env = append(os.Environ(), killedAt+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ { // reads on after the kill: all that it told counts
			if n == 100+97*round {
				child.Process.Kill()
			}
			if key, ok := strings.CutPrefix(lines.Text(), "finished "); ok {
				finished = append(finished, key)
			} else if key, ok := strings.CutPrefix(lines.Text(), "in flight "); ok {
				InFlight = append(InFlight, key)
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Exited() {
			t.Fatalf("was not killed: %v", err)
		}
	}
	table := open(t, Options{Path: path, Size: 8 << 20, Secret: []byte("s")})
	for _, key := range finished {
		call, err := table.Begin(t.Context(), start, Question{Account: "a", Key: key}, nil)
		if err != nil || call.State != Done || string(call.Reply) != "reply to "+key {
			t.Errorf("finished %s: %v %q %v", key, call.State, call.Reply, err)
		}
	}
	for _, key := range InFlight {
		call, err := table.Begin(t.Context(), start, Question{Account: "a", Key: key}, nil)
		if err != nil || call.State != New {
			t.Errorf("in flight %s: %v %v", key, call.State, err)
		}
		call.Abandon()
	}
	if len(finished) < 500 || len(InFlight) < 100 || table.Stats().Damaged != 0 {
		t.Errorf("%d finished, %d in flight, %d damaged", len(finished), len(InFlight), table.Stats().Damaged)
	}
}
