package consent_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/internal/phone"
)

// The crash test starts this test binary again as a process that opts numbers out and tells each that was acknowledged, kills it
// with SIGKILL at a moment of chance, and looks whether all that were told are there. What SIGKILL cannot show is a machine that loses
// its power; for that the store syncs before it acknowledges, and bbolt's own tests cut the power of block devices.
const (
	crashFolder = "SENDGATE_TEST_CRASH_FOLDER"
	crashFrom   = "SENDGATE_TEST_CRASH_FROM"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		if err := optOutUntilKilled(dir, os.Getenv(crashFrom)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashNumber is the i-th number: valid ones do not matter here.
func crashNumber(i int64) (phone.Number, error) { return phone.FromDigits(uint64(6580000000 + i)) }

func optOutUntilKilled(dir, from string) error {
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return err
	}
	store, err := consent.OpenFile(dir)
	if err != nil {
		return err
	}
	l, err := consent.Open(context.Background(), consent.Options{Store: store, Secret: secret})
	if err != nil {
		return err
	}
	var next atomic.Int64
	next.Store(first)
	var all sync.WaitGroup
	for range 256 {
		all.Go(func() {
			for {
				i := next.Add(1)
				n, err := crashNumber(i)
				if err == nil {
					_, err = l.OptOut(context.Background(), n, consent.Record{At: noon, Account: "acme", Source: "api"})
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				// One write of a line to a pipe is whole or not there.
				if _, err := os.Stdout.WriteString(strconv.FormatInt(i, 10) + "\n"); err != nil {
					os.Exit(1)
				}
			}
		})
	}
	all.Wait()
	return nil
}

func TestOptOut_killed(t *testing.T) {
	want := 100_000
	if testing.Short() || raceEnabled {
		want = 10_000
	}
	dir := t.TempDir()
	var told []int64
	kills, last := 0, int64(0)
	for ; len(told) < want; kills++ {
		run, err := runUntilKilled(t, dir, last, 1+rand.IntN(want/5))
		if err != nil {
			t.Fatal(err)
		}
		if len(run) == 0 {
			t.Fatal("a process acknowledged nothing")
		}
		told = append(told, run...)
		for _, i := range run {
			last = max(last, i)
		}
		last += 256 // some of the next were under way
		file := openFile(t, dir)
		lost, l := 0, ledger(t, file, consent.Rules{})
		for _, i := range run {
			n, err := crashNumber(i)
			must(t, err)
			if _, out := l.OptedOut(n, consent.Scope{Account: "acme"}); !out {
				lost++
			}
		}
		if lost > 0 {
			t.Fatalf("after kill %d: %d of %d acknowledged opt-outs are lost", kills+1, lost, len(run))
		}
		must(t, file.Close())
	}
	l := ledger(t, openFile(t, dir), consent.Rules{})
	for _, i := range told {
		n, err := crashNumber(i)
		must(t, err)
		if _, out := l.OptedOut(n, consent.Scope{Account: "acme"}); !out {
			t.Fatal("an opt-out of an earlier run is lost")
		}
	}
	t.Logf("%d acknowledged opt-outs, %d kills, none lost", len(told), kills)
}

// runUntilKilled kills a process after it acknowledged about so many, and returns all that it acknowledged.
func runUntilKilled(t *testing.T, dir string, from int64, after int) (told []int64, err error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashFolder+"="+dir, crashFrom+"="+strconv.FormatInt(from, 10))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break // a line without its end was not told
		}
		if err != nil {
			return nil, err
		}
		i, err := strconv.ParseInt(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil {
			return nil, err
		}
		if told = append(told, i); len(told) == after {
			if err := cmd.Process.Kill(); err != nil {
				return nil, err
			}
		}
	}
	_ = cmd.Wait() // killed: that is the point
	if complaint.Len() > 0 {
		return nil, fmt.Errorf("the process: %s", complaint.String())
	}
	return told, nil
}
