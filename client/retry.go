package client

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstPause = 10 * time.Millisecond // before the second try, with jitter; doubled for each one after
	// As in gRPC's retry throttling (proposal A6): a failed try costs a token, an answer earns a tenth of one, and with half of
	// them gone nothing is tried again. So a gate that is down is asked once a check, not Tries times.
	tokens     = 100
	tokensLost = 10
	tokensWon  = 1
)

// retries repeats calls, all of a client together. The zero value is ready.
type retries struct {
	lost atomic.Int64 // tokens, 0 to tokens
}

// do calls once until it succeeds, cannot be helped by trying again, has been tried often enough, or the time is over. Each try
// but the last may take half of the time that is left, so that a try that hangs leaves room for another.
func (r *retries) do(ctx context.Context, timeout time.Duration, tries int, once func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	end, _ := ctx.Deadline()
	pause := firstPause
	for ; ; tries-- {
		share := time.Until(end)
		if tries > 1 {
			share /= 2
		}
		err := r.try(ctx, share, once)
		if err == nil || tries <= 1 || r.lost.Load() >= tokens/2 {
			return err
		}
		s := status.Convert(err)
		wait := pause/2 + rand.N(pause/2)
		switch s.Code() {
		case codes.Unavailable:
			wait = max(wait, retryDelay(s))
		case codes.DeadlineExceeded:
		default:
			return err
		}
		if wait >= time.Until(end) || !sleep(ctx, wait) {
			return err
		}
		pause *= 2
	}
}

func (r *retries) try(ctx context.Context, share time.Duration, once func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	err := once(ctx)
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		r.add(tokensLost)
	case codes.Canceled: // by the caller: says nothing of the gate
	default:
		r.add(-tokensWon)
	}
	return err
}

func (r *retries) add(n int64) {
	for {
		old := r.lost.Load()
		lost := min(max(old+n, 0), tokens)
		if lost == old || r.lost.CompareAndSwap(old, lost) {
			return
		}
	}
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
