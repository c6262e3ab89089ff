package server

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// overload refuses checks while calls wait too long for a processor. A check computes for microseconds, so the bound of what is in
// flight never meets it: what grows is the queue of goroutines that are ready to run. A prober stands in that queue like everybody
// else and tells how long it is; while it is too long, new checks are refused before anything is done for them, which costs a
// third of answering. Those that are answered then waited about maxWait at most, and all are answered again within two probes of
// the load's end.
type overload struct {
	refusing atomic.Bool
	calls    atomic.Uint64 // seen so far, so that nothing is probed where nobody calls
	shed     prometheus.Counter
	late     int // probes in a row that waited too long; the prober's own
}

const (
	// maxWait is how long a call may wait for a processor.
	maxWait = 100 * time.Millisecond
	// probeEvery is how often the queue is looked at while there are calls, idleEvery how often it is looked whether there are any.
	probeEvery, idleEvery = 10 * time.Millisecond, 100 * time.Millisecond
	// lateProbes in a row are an overload; one may be the machine's own hiccup.
	lateProbes = 3
)

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
		idle := now-before < lateProbes && !o.refusing.Load()
		before = now
		if idle {
			o.late = 0
			tick.Reset(idleEvery)
			continue
		}
		tick.Reset(probeEvery)
		start := time.Now()
		runtime.Gosched() // to the end of the queue that all processors share
		o.observe(time.Since(start))
	}
}

// observe learns how long a probe waited.
func (o *overload) observe(wait time.Duration) {
	switch {
	case wait > maxWait:
		if o.late++; o.late >= lateProbes {
			o.refusing.Store(true)
		}
	case wait < maxWait/2:
		o.late = 0
		o.refusing.Store(false)
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

// enter is called by gRPC for each call when its headers were read, before a goroutine is made for it. It must be quick: the
// connection is locked.
func (o *overload) enter(ctx context.Context, call *tap.Info) (context.Context, error) {
	o.calls.Add(1)
	if o.refusing.Load() && refusable(call.FullMethodName) {
		o.shed.Inc()
		return ctx, errOverload
	}
	return ctx, nil
}

// stale refuses a check that came in before and has its turn only now: the queue is gone sooner. One that nobody waits for any more
// is not made, or it would be charged for a send that never happens.
func (o *overload) stale(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil && refusable(method) {
		return status.FromContextError(err).Err()
	}
	if o.refusing.Load() && refusable(method) {
		o.shed.Inc()
		return errOverload
	}
	return nil
}

// errOverload has no details: a call that is refused this early carries the code and the words only.
var errOverload = status.Error(errBusy.code, "the processors are behind: ask again later, with fewer at a time")
