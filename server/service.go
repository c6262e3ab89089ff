package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// maxItems is how many items a batch may have.
const maxItems = 10_000

// service answers checks for every surface. It knows the messages of the contract and no transport.
type service struct {
	gate     *gate.Gate
	doorman  *doorman
	log      *slog.Logger
	metrics  *metrics
	tracing  *tracing // nil for none
	inFlight bound
	// refusedHook tells of webhooks that were refused.
	refusedHook seldom
}

// bound counts what is in flight and refuses what is too much.
type bound struct {
	now atomic.Int64
	max int64
}

var errBusy = &failure{code: codes.ResourceExhausted, reason: "TOO_MANY_IN_FLIGHT", message: "too many calls are in flight: ask again later, with fewer at a time", retryAfter: askAgain}

func (b *bound) enter() bool {
	if b.now.Add(1) > b.max {
		b.now.Add(-1)
		return false
	}
	return true
}

func (b *bound) leave() { b.now.Add(-1) }

// check answers one request. own is asked where else the client address may come from if the request does not say.
func (s *service) check(ctx context.Context, in *sendgatev1.CheckSendRequest, own ownCall, surface *surface) (gate.Verdict, *failure) {
	if !s.inFlight.enter() {
		s.metrics.shed.Inc()
		return gate.Verdict{}, errBusy
	}
	defer s.inFlight.leave()
	caller, f := callerOf(ctx)
	if f != nil {
		s.metrics.failed(f)
		return gate.Verdict{}, f
	}
	start := time.Now()
	v, f := s.judge(ctx, caller, in, own)
	surface.seconds.Observe(time.Since(start).Seconds())
	if f == nil {
		s.tracing.verdict(ctx, &v)
	}
	return v, f
}

func (s *service) judge(ctx context.Context, caller gate.Caller, in *sendgatev1.CheckSendRequest, own ownCall) (gate.Verdict, *failure) {
	req := s.request(ctx, s.gate.Snapshot(), in, own)
	req.Caller = caller
	v, err := s.gate.Check(ctx, &req)
	if err != nil {
		f := failureOf(err, s.log)
		s.metrics.failed(f)
		return gate.Verdict{}, f
	}
	s.metrics.answered(&v)
	return v, nil
}

// ownCall finds out about the connection that a check came over. It is only asked when the check itself does not say whose
// it is: looking at headers costs more than most checks.
type ownCall func(ctx context.Context, header string) *gate.Forwarded

// once asks once for all items of a call. Of one goroutine; nobody writes to what it returns.
func (own ownCall) once() ownCall {
	var found *gate.Forwarded
	var by string
	return func(ctx context.Context, header string) *gate.Forwarded {
		if found == nil || by != header { // another policy may name another
			found, by = own(ctx, header), header
		}
		return found
	}
}

// request reads a check for the policy that is to judge it.
func (s *service) request(ctx context.Context, by gate.Snapshot, in *sendgatev1.CheckSendRequest, own ownCall) gate.Request {
	var forwarded *gate.Forwarded
	if !namesClient(in) {
		forwarded = own(ctx, by.ClientHeader())
	}
	req := fromCheck(in, forwarded)
	req.By = by
	return req
}

// batch answers many requests in order. It is one call in flight: it runs on one goroutine.
func (s *service) batch(ctx context.Context, in *sendgatev1.CheckSendBatchRequest, own ownCall) (*sendgatev1.CheckSendBatchResponse, error) {
	if n := len(in.Items); n < 1 || n > maxItems {
		f := invalid("items", "a batch has 1 to 10,000 items: split it")
		s.metrics.failed(f)
		return nil, f
	}
	if !s.inFlight.enter() {
		s.metrics.shed.Inc()
		return nil, errBusy
	}
	defer s.inFlight.leave()
	caller, f := callerOf(ctx)
	if f != nil {
		s.metrics.failed(f)
		return nil, f
	}
	switch in.Mode {
	case sendgatev1.BatchMode_BATCH_MODE_UNSPECIFIED, sendgatev1.BatchMode_BATCH_MODE_EACH:
		return s.batchEach(ctx, caller, in, own)
	case sendgatev1.BatchMode_BATCH_MODE_ALL_OR_NOTHING:
		return s.batchAll(ctx, caller, in, own)
	}
	f = invalid("mode", "write BATCH_MODE_EACH or BATCH_MODE_ALL_OR_NOTHING")
	s.metrics.failed(f)
	return nil, f
}

func (s *service) batchEach(ctx context.Context, caller gate.Caller, in *sendgatev1.CheckSendBatchRequest, own ownCall) (*sendgatev1.CheckSendBatchResponse, error) {
	start, own := time.Now(), own.once()
	out := &sendgatev1.CheckSendBatchResponse{Items: make([]*sendgatev1.CheckSendBatchItem, len(in.Items))}
	for i, item := range in.Items {
		v, f := s.judge(ctx, caller, item, own)
		if f != nil && ctx.Err() != nil {
			return nil, f // nobody waits for the rest
		}
		out.Items[i] = toItem(&v, f)
	}
	s.metrics.batch.seconds.Observe(time.Since(start).Seconds() / float64(len(in.Items)))
	return out, nil
}

func (s *service) batchAll(ctx context.Context, caller gate.Caller, in *sendgatev1.CheckSendBatchRequest, own ownCall) (*sendgatev1.CheckSendBatchResponse, error) {
	start, own := time.Now(), own.once()
	reqs := make([]*gate.Request, len(in.Items))
	by := s.gate.Snapshot()
	for i, item := range in.Items {
		req := s.request(ctx, by, item, own)
		req.Caller = caller
		reqs[i] = &req
	}
	out := &sendgatev1.CheckSendBatchResponse{Items: make([]*sendgatev1.CheckSendBatchItem, len(in.Items))}
	for i, a := range s.gate.CheckAll(ctx, reqs) {
		if a.Err != nil {
			f := failureOf(a.Err, s.log)
			s.metrics.failed(f)
			out.Items[i] = toItem(nil, f)
			continue
		}
		s.metrics.answered(&a.Verdict)
		out.Items[i] = toItem(&a.Verdict, nil)
	}
	s.metrics.batch.seconds.Observe(time.Since(start).Seconds() / float64(len(reqs)))
	return out, nil
}

func toItem(v *gate.Verdict, f *failure) *sendgatev1.CheckSendBatchItem {
	if f != nil {
		return &sendgatev1.CheckSendBatchItem{Error: f.item()}
	}
	return &sendgatev1.CheckSendBatchItem{Response: toCheck(v)}
}
