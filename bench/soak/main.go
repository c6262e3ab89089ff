// Command soak runs sidecars under everything at once for as long as told, and looks whether anything grows:
//
//	make soak SOAK=30m                   or go run ./bench/soak -for 5m
//
// One sidecar with its counters in a file is asked 3000 times a second, told outcomes, attacked every ten seconds, given another
// policy every five, and its clients come and go. Another one with its counters on Redis is asked 200 times a second while Redis is
// killed and started anew at each quarter. At the end a third one, with a tenth of a processor, is asked five times as often as it
// can answer.
//
// It fails if live heap, memory, goroutines or descriptors grow from the second to the last quarter, if a check was not answered
// (on Redis: within the outage's fail mode), or if under overload less than half of what it can is answered within the caller's
// second, p99 of that is above half a second after the first, one in a hundred is neither answered nor refused in time or is made for nobody, or
// it does not recover within a second. It ends with tables in Markdown, for bench/results/soak.md.
// Everything stays on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	run := flag.Duration("for", 30*time.Minute, "how long, without the overload at the end; 0: the overload alone")
	rate := flag.Float64("rate", 3000, "checks a second")
	program := flag.String("sendgate", "bin/sendgate", "the binary")
	file := flag.String("out", "", "also write the tables here, as Markdown")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var out report
	err := soak(ctx, *program, *run, *rate, &out)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		out.line("\n**The bar is missed:** %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	default:
		out.line("\nNothing grew, everything was answered, and the bar of overload is met.")
	}
	if err := errors.Join(err, out.write(*file)); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(ctx context.Context, program string, run time.Duration, rate float64, out *report) error {
	if run == 0 {
		dir, err := os.MkdirTemp("", "soak")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		return overload(ctx, program, dir, out)
	}
	if run < 20*time.Second {
		return fmt.Errorf("-for %v: write 20s or more, for there are four quarters to compare", run)
	}
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	policies := &policies{path: filepath.Join(dir, "policy.yaml")}
	if err := policies.write(); err != nil {
		return err
	}
	file, err := start(program, filepath.Join(dir, "file"), nil, "--policy", policies.path)
	if err != nil {
		return err
	}
	defer file.stop()
	sidecars := []*sidecar{file}
	shared, redis, err := startShared(program, dir)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		fmt.Println("there is no redis-server: that part is left out")
	case err != nil:
		return err
	default:
		defer redis.stop()
		defer shared.stop()
		sidecars = append(sidecars, shared)
	}

	limited, cancel := context.WithTimeout(ctx, run)
	defer cancel()
	var all sync.WaitGroup
	sends := newLoad(file, rate)
	all.Go(func() { sends.run(limited) })
	all.Go(func() { sends.attack(limited) })
	all.Go(func() { sends.churn(limited) })
	all.Go(func() { policies.change(limited, file) })
	var onRedis *load
	if shared != nil {
		onRedis = newLoad(shared, 200)
		all.Go(func() { onRedis.run(limited) })
		all.Go(func() { redis.restart(limited, run) })
	}
	watched := make([]*history, len(sidecars))
	for i, s := range sidecars {
		watched[i] = &history{}
		all.Go(func() { watched[i].keep(limited, s, max(run/200, 500*time.Millisecond)) })
	}
	begin := time.Now()
	tick := time.NewTicker(max(run/10, 10*time.Second))
	defer tick.Stop()
	for limited.Err() == nil {
		select {
		case <-limited.Done():
		case <-tick.C:
			fmt.Printf("%8v of %v  %s  %s\n", time.Since(begin).Round(time.Second), run, sends.told(), watched[0].newest())
		}
	}
	all.Wait()
	if ctx.Err() != nil {
		return errors.New("stopped early")
	}

	out.table(fmt.Sprintf("%v of everything at once", run), "")
	out.row("on a file: %.0f checks a second", []any{rate}, "%d, **%d without an answer**; %s", sends.checks.Load(), sends.failed.Load(), sends.latency())
	out.row("outcomes, checks of attackers, clients, policies", nil, "%d, %d, %d, %d", sends.outcomes.Load(), sends.attacks.Load(), sends.clients.Load(), policies.changed)
	problems := []error{sends.problem("file")}
	if shared != nil {
		out.row("on Redis: 200 a second, %d restarts of it", []any{redis.restarts}, "%d, **%d without an answer**; %s", onRedis.checks.Load(), onRedis.failed.Load(), onRedis.latency())
		problems = append(problems, onRedis.problem("redis"))
	}
	out.table("", "second quarter", "last quarter")
	for i, name := range []string{"file", "redis"}[:len(watched)] {
		problems = append(problems, watched[i].growth(name, out))
	}
	problems = append(problems, overload(ctx, program, filepath.Join(dir, "overload"), out))
	return errors.Join(problems...)
}
