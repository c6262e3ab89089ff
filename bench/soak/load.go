package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/bench"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// load asks one sidecar.
type load struct {
	sidecar *sidecar
	rate    float64
	traffic bench.Traffic
	conns   [4]atomic.Pointer[grpc.ClientConn]

	checks, allowed, failed, outcomes, attacks, clients atomic.Int64
	mu                                                  sync.Mutex
	took                                                *hdrhistogram.Histogram // microseconds, guarded by mu
	firstError                                          error                   // guarded by mu
}

func newLoad(s *sidecar, rate float64) *load {
	l := &load{sidecar: s, rate: rate, traffic: bench.Traffic{Numbers: 300_000, Clients: 60_000, Accounts: 16}, took: hdrhistogram.New(1, 60_000_000, 3)}
	for i := range l.conns {
		l.reconnect(i)
	}
	return l
}

// run asks at the rate, each check from its own goroutine at the time it is due.
func (l *load) run(ctx context.Context) {
	for i := range l.conns {
		l.reconnect(i)
	}
	var all sync.WaitGroup
	begin, n := time.Now(), int64(0)
	for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
		for due := int64(time.Since(begin).Seconds() * l.rate); n < due; n++ {
			i := uint64(n)
			all.Go(func() { l.one(i) })
		}
	}
	all.Wait()
	for i := range l.conns {
		l.conns[i].Load().Close()
	}
}

// one asks, and tells an outcome of three in ten that were allowed.
func (l *load) one(n uint64) {
	client := sendgatev1.NewSendGateServiceClient(l.conns[n%uint64(len(l.conns))].Load())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	begin := time.Now()
	// A client that leaves takes its calls with it; they are asked again by another.
	send := l.traffic.Request(rand.Uint64())
	v, err := client.CheckSend(ctx, send)
	for range 5 {
		if status.Code(err) != codes.Canceled {
			break
		}
		client = sendgatev1.NewSendGateServiceClient(l.conns[rand.IntN(len(l.conns))].Load())
		v, err = client.CheckSend(ctx, send)
	}
	l.answered(time.Since(begin), v, err)
	if err == nil && v.Verdict == sendgatev1.Verdict_VERDICT_ALLOW && n%10 < 3 {
		outcome := sendgatev1.Outcome_OUTCOME_VERIFIED
		if n%10 == 2 {
			outcome = sendgatev1.Outcome_OUTCOME_FAILED
		}
		_, err := client.ReportOutcome(ctx, &sendgatev1.ReportOutcomeRequest{CheckId: v.CheckId, Outcome: outcome, Account: send.Account})
		for try := 0; status.Code(err) == codes.Unavailable && try < 10; try++ { // the store is away: report again, says the contract
			time.Sleep(500 * time.Millisecond)
			_, err = client.ReportOutcome(ctx, &sendgatev1.ReportOutcomeRequest{CheckId: v.CheckId, Outcome: outcome, Account: send.Account})
		}
		l.outcomes.Add(1)
		if err != nil && status.Code(err) != codes.Canceled {
			l.fail(err)
		}
	}
}

func (l *load) answered(took time.Duration, v *sendgatev1.CheckSendResponse, err error) {
	l.checks.Add(1)
	if err == nil && v.Verdict == sendgatev1.Verdict_VERDICT_ALLOW {
		l.allowed.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took.RecordValue(min(max(1, took.Microseconds()), 60_000_000)) //nolint:errcheck // within bounds
	if err != nil {
		l.noteLocked(err)
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(err)
}

func (l *load) noteLocked(err error) {
	l.failed.Add(1)
	if l.firstError == nil {
		l.firstError = err
	}
}

// attack pumps a range of numbers from a few clients, 500 at a time.
func (l *load) attack(ctx context.Context) {
	for tick := time.NewTicker(10 * time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		client := sendgatev1.NewSendGateServiceClient(l.conns[0].Load())
		block := rand.IntN(100)
		for i := range 500 {
			_, err := client.CheckSend(ctx, &sendgatev1.CheckSendRequest{Number: fmt.Sprintf("+99890%03d%04d", block, i), ClientAddress: fmt.Sprintf("203.0.113.%d", i%5+1)})
			if err == nil {
				l.attacks.Add(1)
			}
		}
	}
}

// churn has a client leave and another come, ten times a second.
func (l *load) churn(ctx context.Context) {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			l.reconnect(rand.IntN(len(l.conns)))
		}
	}
}

func (l *load) reconnect(i int) {
	conn, err := l.sidecar.dial()
	if err != nil {
		panic(err) // the address is ours
	}
	conn.Connect()
	l.clients.Add(1)
	if old := l.conns[i].Swap(conn); old != nil {
		time.AfterFunc(5*time.Second, func() { old.Close() }) // when its calls are done
	}
}

// latency is of all that was asked.
func (l *load) latency() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, longest %.0f ms", float64(l.took.ValueAtQuantile(50))/1e3, float64(l.took.ValueAtQuantile(99))/1e3, float64(l.took.Max())/1e3)
}

func (l *load) told() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d checks (%d allowed), %d errors, %d outcomes, %d attacking, %d clients; p50 %.2f ms, p99 %.2f ms", l.checks.Load(), l.allowed.Load(), l.failed.Load(),
		l.outcomes.Load(), l.attacks.Load(), l.clients.Load(), float64(l.took.ValueAtQuantile(50))/1e3, float64(l.took.ValueAtQuantile(99))/1e3)
}

func (l *load) problem(name string) error {
	if n := l.failed.Load(); n > 0 {
		return fmt.Errorf("%s: %d of %d checks were not answered, the first: %w", name, n, l.checks.Load(), l.firstError)
	}
	if l.allowed.Load() == 0 {
		return fmt.Errorf("%s: nothing was allowed", name)
	}
	return nil
}
