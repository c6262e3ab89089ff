package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// open sends at a fixed rate, each send from its own goroutine at the time it is due, and waits for all answers.
func open(ctx context.Context, out io.Writer, s settings, gate *server) error {
	var (
		mu       sync.Mutex
		counts   = newTally()
		late     = newHistogram() // how much later than due the send left: this program's own share of the latency
		sent     atomic.Int64
		finished atomic.Int64
		failed   atomic.Int64
		wg       sync.WaitGroup
	)
	// The pacer keeps its thread: woken from a system call it is on time, by Go's timers it may be a millisecond late.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	total := int64(s.rate * s.duration.Seconds())
	begin := time.Now()
	shown := startProgress(s.duration, func() string {
		n, f := sent.Load(), finished.Load()
		return fmt.Sprintf("%5.1fs of %v   %s sent   %s in flight   %s failed   %.0f/s", time.Since(begin).Seconds(), s.duration,
			thousands(n), thousands(n-f), thousands(failed.Load()), float64(n)/time.Since(begin).Seconds())
	})
	for i := int64(0); i < total && ctx.Err() == nil; i++ {
		due := begin.Add(time.Duration(float64(i) * float64(time.Second) / s.rate))
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			sleep(wait)
		}
		late.RecordValue(max(int64(time.Since(due)), int64(time.Microsecond)))
		sent.Add(1)
		wg.Go(func() {
			r, err := check(context.WithoutCancel(ctx), s, gate, uint64(i))
			took := time.Since(due)
			finished.Add(1)
			if err != nil {
				failed.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			counts.add(took, r, err)
		})
	}
	sending := time.Since(begin)
	wg.Wait()
	shown.finish()

	fmt.Fprintf(out, "open loop, %.0f/s for %v at %s, %s numbers, %s clients\n", s.rate, s.duration, gate.addr,
		thousands(int64(s.traffic.Numbers)), thousands(int64(s.traffic.Clients)))
	fmt.Fprintf(out, "  sent       %s in %.1f s, %.0f/s\n", thousands(sent.Load()), sending.Seconds(), float64(sent.Load())/sending.Seconds())
	fmt.Fprintf(out, "  answered   %s%s\n", thousands(counts.answered), listed(counts.verdicts))
	fmt.Fprintf(out, "  errors     %s%s\n", thousands(counts.failed), listed(counts.errors))
	fmt.Fprintf(out, "  latency    %s   from the time a send was due\n", percentiles(counts.latency))
	fmt.Fprintf(out, "  of which   %s   this program was late\n", percentiles(late))
	return complete(ctx, counts)
}

// complete says whether every send was answered.
func complete(ctx context.Context, t *tally) error {
	switch {
	case t.failed > 0:
		return fmt.Errorf("%s of %s sends failed", thousands(t.failed), thousands(t.failed+t.answered))
	case ctx.Err() != nil:
		return fmt.Errorf("stopped early")
	case t.answered == 0:
		return fmt.Errorf("nothing was answered")
	}
	return nil
}
