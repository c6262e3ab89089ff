package server

import (
	"context"
	"math"
	"runtime"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// overload refuses checks while calls wait too long for a processor. A check computes for microseconds, so the bound of what is in
// flight never meets it: what grows is the queue of goroutines that are ready to run.
//
// A prober stands in that queue like everybody else and tells how long it is. While it is too long, a limit of how many may stand in
// it is in force, which shrinks while probes are late and grows while they are not: the processor always has work, and never much. A
// check that finds no room is refused by its connection (see [guarded]) before gRPC hears of it, for about a thirtieth of what
// an answer costs. To refuse by gRPC costs a third, so five times what a processor can is more than it can even refuse.
type overload struct {
	limit   atomic.Int64  // how many goroutines may be ready to run; noLimit outside an overload
	calls   atomic.Uint64 // seen so far, so that nothing is probed where nobody calls
	refused atomic.Uint64 // of them
	probing atomic.Int64  // since when a probe waits, in nanoseconds from begun; 0 for none
	begun   time.Time
	shed    prometheus.Counter
	buffers sync.Pool // of *[readBuffer]byte, for connections that much is read of
	ready   func() int64

	least, first int64 // limits: the lowest, and what an overload begins with

	// The prober's own.
	late  time.Duration // what probes in a row waited that waited too long
	quiet int           // probes in a row that did not, and nobody was refused
	seen  uint64        // refused at the last probe
}

const (
	// maxWait is how long a call may wait for a processor before it is an overload. A container's quota stops it for up to 100 ms in
	// the best of times.
	maxWait = 100 * time.Millisecond
	// goodWait is what the limit aims at.
	goodWait = maxWait / 2
	// probeEvery is how often the queue is looked at while there are calls, idleEvery how often it is looked whether there are any.
	probeEvery, idleEvery = 10 * time.Millisecond, 100 * time.Millisecond
	// tooLate is how long probes in a row, each of them late, wait in an overload. One alone may be the machine's own hiccup, unless
	// many stand in the queue, or connections are read meanwhile.
	tooLate = 3 * maxWait
	// fewCalls between two looks are no load.
	fewCalls = 3
	// quietProbes in a row end it. Until then nobody is refused who finds room, so it need not be soon.
	quietProbes = 100
	// leastQueue and firstQueue are limits for each processor. A check takes 20 to 30 us of one that is not stopped by a quota.
	leastQueue, firstQueue = 64, 512

	noLimit = math.MaxInt64
)

func newOverload(shed prometheus.Counter, processors int) *overload {
	o := &overload{begun: time.Now(), shed: shed, least: leastQueue * int64(processors), first: firstQueue * int64(processors)}
	o.ready = func() int64 { return newQueue()() }
	o.buffers.New = func() any { return new([readBuffer]byte) }
	o.limit.Store(noLimit)
	return o
}

// watch probes until ctx ends.
func (o *overload) watch(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for before := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := o.calls.Load()
		idle := now-before < fewCalls && o.limit.Load() == noLimit
		before = now
		if idle {
			o.late = 0
			tick.Reset(idleEvery)
			continue
		}
		tick.Reset(probeEvery)
		start := time.Now()
		o.probe(start)
		runtime.Gosched() // to the end of the queue that all processors share
		o.observe(time.Since(start))
	}
}

// probe notes that a probe waits.
func (o *overload) probe(now time.Time) { o.probing.Store(int64(now.Sub(o.begun))) }

// observe learns how long it waited.
func (o *overload) observe(wait time.Duration) {
	o.probing.Store(0)
	limit, refused := o.limit.Load(), o.refused.Load()
	nobody := refused == o.seen
	o.seen = refused
	if limit == noLimit {
		switch {
		case wait <= maxWait:
			o.late = 0
		case o.late >= maxWait && o.late+wait >= tooLate, o.ready() > o.first:
			o.begin()
		default:
			o.late += wait
		}
		return
	}
	switch {
	case wait > maxWait:
		limit /= 2
	case wait > goodWait:
		limit -= limit / 8
	case nobody:
		if o.quiet++; o.quiet >= quietProbes {
			o.late, o.quiet = 0, 0
			o.limit.Store(noLimit)
		}
		return
	default:
		limit += limit/16 + 1
	}
	o.quiet = 0
	o.limit.Store(max(o.least, limit))
}

func (o *overload) begin() { o.limit.CompareAndSwap(noLimit, o.first) }

// limited says whether a limit is in force. It is asked whenever a connection was read: a queue that grows fast keeps the prober from
// telling, since each probe waits several times as long as the one before.
func (o *overload) limited(now func() time.Time) bool {
	if o.limit.Load() != noLimit {
		return true
	}
	since := o.probing.Load()
	if since == 0 {
		return false
	}
	if wait := now().Sub(o.begun) - time.Duration(since); wait < maxWait || wait < tooLate && o.ready() <= o.first {
		return false
	}
	o.begin()
	return true
}

// room is how many checks one connection may let in while so many goroutines are ready to run. A connection does not take all there
// is: the others have not looked yet.
func (o *overload) room(queue int64) int64 {
	limit := o.limit.Load()
	if queue >= limit {
		return 0
	}
	return max(limit/2-queue, (limit-queue)/4+1)
}

// newQueue makes a function that counts the goroutines that are ready to run. It is for one goroutine at a time.
func newQueue() func() int64 {
	sample := []runtimemetrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	return func() int64 {
		runtimemetrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
}

// checks are the methods that may be refused. Outcomes, health and operators may not: they are few, and needed most just then.
var checks = [...]string{
	sendgatev1.SendGateService_CheckSend_FullMethodName, sendgatev1.SendGateService_CheckSendBatch_FullMethodName,
	sendgatev1.SendGateService_CheckSendStream_FullMethodName, sendgatev1.SendGateService_CheckVerify_FullMethodName,
}

func refusable(method string) bool {
	return slices.Contains(checks[:], method) || strings.HasPrefix(method, "/envoy.service.") // ext_authz and the rate limit service
}

// stale refuses a check that nobody waits for any more when it has its turn: it would be charged for a send that never happens.
func stale(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil && refusable(method) {
		return status.FromContextError(err).Err()
	}
	return nil
}
