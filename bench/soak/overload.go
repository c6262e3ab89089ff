package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/bench"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// share of a processor that the sidecar under overload has: the program that asks for five times what it can answer needs the rest. It
// is stopped for the other part of each period, which is shorter than that of a container's quota, 100 ms: no percentile below that
// could be told there.
const share, period = 0.10, 50 * time.Millisecond

// throttle stops a sidecar for most of each period until ctx ends.
func throttle(ctx context.Context, s *sidecar) {
	for ctx.Err() == nil {
		s.cmd.Process.Signal(syscall.SIGCONT) //nolint:errcheck // one that ended fails its checks
		time.Sleep(time.Duration(share * float64(period)))
		s.cmd.Process.Signal(syscall.SIGSTOP) //nolint:errcheck // as above
		time.Sleep(time.Duration((1 - share) * float64(period)))
	}
	s.cmd.Process.Signal(syscall.SIGCONT) //nolint:errcheck // as above
}

const (
	times    = 5               // what is asked for, of what can be answered
	patience = time.Second     // of each caller
	asking   = 8 * time.Second // how long
	callers  = 128             // of the closed loop that tells what can be answered: half of the wait that is an overload
	boundP99 = patience / 2    // of what is answered after the first second
	atOnce   = time.Second     // recovery
	// mostOpen calls are this program's own limit.
	mostOpen = 100_000
)

// overload asks a sidecar that has a tenth of a processor for five times what it answers.
func overload(ctx context.Context, program, dir string, out *report) error {
	fmt.Printf("overload: a sidecar with a tenth of a processor, %v of %d times what it can\n", asking, times)
	s, err := start(program, dir, []string{"GOMAXPROCS=1"})
	if err != nil {
		return err
	}
	defer s.stop()
	limited, free := context.WithCancel(ctx)
	var throttled sync.WaitGroup
	throttled.Go(func() { throttle(limited, s) })
	defer func() { free(); throttled.Wait() }()
	closed(s, 3*time.Second) // it touches its memory for the first time
	before, refused := closed(s, 4*time.Second)
	made, err := s.metrics()
	if err != nil {
		return err
	}
	f := newFlood(s, times*before)
	f.run(ctx)
	recovered, err := f.recovery(ctx)
	if err != nil {
		return err
	}
	madeAfter, err := s.metrics()
	if err != nil {
		return err
	}
	after, _ := closed(s, 3*time.Second)

	rate := func(n int64) float64 { return float64(n) / f.took.Seconds() }
	unanswered := int64(madeAfter["sendgate_checks_total"]-made["sendgate_checks_total"]) - f.answered.n.Load() - f.tried
	out.table("overload: a sidecar with a tenth of a processor", "")
	out.row("can answer, %d callers", []any{callers}, "%.0f/s, %d refused", before, refused)
	out.row("asked for, %v, 4 connections, each caller waits for %v", []any{asking, patience}, "%.0f/s (%.1f times)", rate(f.sent), rate(f.sent)/before)
	out.row("answered in time", nil, "**%.0f/s** (%.0f%% of what it can), p50 %v, p99 %v (after the first second, when it is noticed, %v)", rate(f.answered.n.Load()), 100*rate(f.answered.n.Load())/before,
		f.answered.at(50), f.answered.at(99), f.noticed.at(99))
	out.row("refused with RESOURCE_EXHAUSTED", nil, "%.0f/s, p50 %v, p99 %v", rate(f.refused.n.Load()), f.refused.at(50), f.refused.at(99))
	out.row("no answer in time", nil, "%d of %d", f.late.n.Load(), f.sent)
	out.row("checks made whose callers got no answer", nil, "%d", unanswered)
	out.row("after the load: an answer within 50 ms", nil, "after %v", recovered.Round(time.Millisecond))
	out.row("after the load: can answer", nil, "%.0f/s", after)

	var problems []error
	fail := func(bad bool, format string, a ...any) {
		if bad {
			problems = append(problems, fmt.Errorf("overload: "+format, a...))
		}
	}
	fail(float64(f.sent) < 0.8*times*before*f.took.Seconds(), "only %.0f/s were asked for: this program was behind", rate(f.sent))
	fail(rate(f.answered.n.Load()) < before/2, "only %.0f/s were answered of %.0f that could be", rate(f.answered.n.Load()), before)
	fail(f.noticed.at(99) > boundP99, "p99 of what was answered after the first second is %v", f.noticed.at(99))
	fail(f.late.n.Load() > f.sent/100, "%d of %d got no answer", f.late.n.Load(), f.sent)
	fail(unanswered > f.answered.n.Load()/100, "%d checks were made for nobody", unanswered)
	fail(recovered > atOnce || after < before/2, "recovery took %v, to %.0f/s of %.0f/s", recovered, after, before)
	return errors.Join(problems...)
}

// outcomes are calls that ended in one way.
type outcomes struct {
	n    atomic.Int64
	mu   sync.Mutex
	took *hdrhistogram.Histogram // microseconds, guarded by mu
}

func newOutcomes() *outcomes { return &outcomes{took: hdrhistogram.New(1, 60_000_000, 3)} }

func (o *outcomes) add(took time.Duration) {
	o.n.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took.RecordValue(min(took.Microseconds()+1, 60_000_000)) //nolint:errcheck // within bounds
}

func (o *outcomes) at(percentile float64) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return (time.Duration(o.took.ValueAtQuantile(percentile)) * time.Microsecond).Round(time.Millisecond)
}

// flood asks at a rate, whatever is answered.
type flood struct {
	*load
	answered, refused, late *outcomes
	noticed                 *outcomes // answered of those asked after the first second
	sent, tried             int64     // tried: answered of what recovery asked
	took                    time.Duration
}

func newFlood(s *sidecar, rate float64) *flood {
	return &flood{load: newLoad(s, rate), answered: newOutcomes(), refused: newOutcomes(), late: newOutcomes(), noticed: newOutcomes()}
}

func (f *flood) run(ctx context.Context) {
	var all sync.WaitGroup
	var open atomic.Int64
	begin, n, told := time.Now(), int64(0), time.Now()
	for time.Since(begin) < asking && ctx.Err() == nil {
		for due := int64(time.Since(begin).Seconds() * f.rate); n < due; n++ {
			if open.Load() >= mostOpen {
				continue
			}
			i := uint64(n)
			open.Add(1)
			f.sent++
			all.Go(func() {
				defer open.Add(-1)
				f.ask(i, begin)
			})
		}
		if time.Since(told) > 2*time.Second {
			told = time.Now()
			fmt.Printf("%8v of %v  %d asked, %d answered, %d refused, %d not in time\n", time.Since(begin).Round(time.Second), asking, f.sent, f.answered.n.Load(), f.refused.n.Load(), f.late.n.Load())
		}
		time.Sleep(time.Millisecond)
	}
	f.took = time.Since(begin)
	all.Wait()
}

func (f *flood) ask(i uint64, begin time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	asked := time.Now()
	_, err := sendgatev1.NewSendGateServiceClient(f.conns[i%4].Load()).CheckSend(ctx, f.traffic.Request(i))
	switch status.Code(err) {
	case codes.OK:
		f.answered.add(time.Since(asked))
		if asked.Sub(begin) > time.Second {
			f.noticed.add(time.Since(asked))
		}
	case codes.ResourceExhausted:
		f.refused.add(time.Since(asked))
	default:
		f.late.add(time.Since(asked))
	}
}

// recovery is how long after the load one caller is answered at once.
func (f *flood) recovery(ctx context.Context) (time.Duration, error) {
	client := sendgatev1.NewSendGateServiceClient(f.conns[0].Load())
	for over := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		asked := time.Now()
		_, err := client.CheckSend(ctx, f.traffic.Request(rand.Uint64()))
		if err == nil {
			f.tried++
			if time.Since(asked) < 50*time.Millisecond {
				return time.Since(over), nil
			}
		}
		if time.Since(over) > 10*time.Second {
			return 0, errors.New("overload: it does not recover")
		}
	}
}

// closed is how many checks a second callers get who ask as fast as they are answered, and how many are refused.
func closed(s *sidecar, d time.Duration) (rate float64, refused int64) {
	traffic := bench.Traffic{Numbers: 300_000, Clients: 60_000, Accounts: 16}
	conn, err := s.dial()
	if err != nil {
		panic(err) // the address is ours
	}
	defer conn.Close()
	client := sendgatev1.NewSendGateServiceClient(conn)
	var n, no atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(begin) < d {
				if _, err := client.CheckSend(context.Background(), traffic.Request(rand.Uint64())); err == nil {
					n.Add(1)
				} else {
					no.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(begin).Seconds(), no.Load()
}
