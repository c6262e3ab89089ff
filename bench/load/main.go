// Command load asks a sidecar for checks and tells how long it took to answer.
//
//	go run ./bench/load                          3000/s for 10 s against a sidecar that it builds and starts itself
//	go run ./bench/load -mode closed             as fast as 16 callers can, beside an empty handler in the same run
//	go run ./bench/load -addr 127.0.0.1:7070     against a sidecar that runs already
//
// The open loop sends at a fixed rate whatever the answers do, and measures from the time a send was due: an answer that
// keeps later sends waiting is charged for their wait (no coordinated omission). The summary goes to standard output,
// progress to standard error. The exit code is 0 if every send was answered, 1 if any failed, 2 for wrong flags.
//
// It sends to this machine only: loopback addresses and unix sockets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sendgate/sendgate/bench"
)

// settings are the flags.
type settings struct {
	addr      string
	mode      string
	transport string
	policy    string
	rate      float64
	duration  time.Duration
	timeout   time.Duration
	callers   int
	conns     int
	rounds    int
	traffic   bench.Traffic
}

func main() {
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, s); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&s.addr, "addr", "", "the sidecar, `127.0.0.1:7070 or unix:/path`; empty: build and start one")
	f.StringVar(&s.mode, "mode", "open", "`open` loop at a fixed rate, or closed loop beside an empty handler")
	f.StringVar(&s.transport, "transport", "tcp", "how to reach what is started here: `tcp or unix`")
	f.StringVar(&s.policy, "policy", "", "the policy `file` of the sidecar started here; empty: the built-in one")
	f.Float64Var(&s.rate, "rate", 3000, "open: sends per second")
	f.DurationVar(&s.duration, "duration", 10*time.Second, "how long to send; closed: to each of the two")
	f.DurationVar(&s.timeout, "timeout", 5*time.Second, "when an answer that has not come is an error")
	f.IntVar(&s.callers, "callers", 16, "closed: how many ask at the same time")
	f.IntVar(&s.conns, "conns", 2, "connections to share")
	f.IntVar(&s.rounds, "rounds", 20, "closed: how often to change between the two")
	f.Uint64Var(&s.traffic.Numbers, "numbers", 1_000_000, "different numbers")
	f.Uint64Var(&s.traffic.Clients, "clients", 200_000, "different client addresses")
	f.Uint64Var(&s.traffic.Accounts, "accounts", 64, "different accounts; 0: name none")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	return s, s.validate(f.Args())
}

func (s *settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: write flags only, see -help", rest)
	case s.mode != "open" && s.mode != "closed":
		return fmt.Errorf("-mode %q: write open or closed", s.mode)
	case s.transport != "tcp" && s.transport != "unix":
		return fmt.Errorf("-transport %q: write tcp or unix", s.transport)
	case s.rate < 1 || s.rate > 1e6:
		return fmt.Errorf("-rate %g: write 1 to 1000000", s.rate)
	case s.duration < 100*time.Millisecond || s.duration > 24*time.Hour:
		return fmt.Errorf("-duration %v: write 100ms to 24h", s.duration)
	case s.timeout < time.Millisecond || s.timeout > time.Minute:
		return fmt.Errorf("-timeout %v: write 1ms to 1m", s.timeout)
	case s.callers < 1 || s.conns < 1 || s.rounds < 1:
		return errors.New("-callers, -conns and -rounds: write 1 or more")
	case s.traffic.Numbers < 1 || s.traffic.Numbers > bench.MaxNumbers:
		return fmt.Errorf("-numbers %d: write 1 to %d", s.traffic.Numbers, bench.MaxNumbers)
	case s.traffic.Clients < 1 || s.traffic.Clients > bench.MaxClients:
		return fmt.Errorf("-clients %d: write 1 to %d", s.traffic.Clients, bench.MaxClients)
	case s.addr != "" && s.policy != "":
		return errors.New("-policy is for the sidecar started here: leave -addr or -policy away")
	case s.addr != "":
		return onThisMachine(s.addr)
	}
	return nil
}

// run starts what is not running, sends, and prints. An error means that not every send was answered.
func run(ctx context.Context, out io.Writer, s settings) error {
	tmp, err := os.MkdirTemp("", "sendgate-load")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	gate := &server{name: "sendgate", addr: s.addr}
	if s.addr == "" {
		if gate, err = startSidecar(ctx, tmp, s); err != nil {
			return err
		}
		defer gate.stop()
	}
	if err := gate.dial(ctx, s); err != nil {
		return err
	}
	if s.mode == "open" {
		return open(ctx, out, s, gate)
	}
	floor, err := startFloor(ctx, tmp, s)
	if err != nil {
		return err
	}
	defer floor.stop()
	if err := floor.dial(ctx, s); err != nil {
		return err
	}
	return closed(ctx, out, s, floor, gate)
}
