package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Check asks whether a message may be sent. An error is something to put right (INVALID_ARGUMENT, UNAUTHENTICATED,
// PERMISSION_DENIED, as a gRPC status) or that of the context; then the verdict allows nothing. That the gate cannot
// answer is a verdict.
func (c *Client) Check(ctx context.Context, s Send) (Verdict, error) {
	in := s.message()
	var out *sendgatev1.CheckSendResponse
	err := c.retries.do(ctx, c.o.Timeout, c.o.Tries, func(ctx context.Context) (err error) {
		out, err = c.gate.CheckSend(ctx, in)
		return err
	})
	if err != nil {
		return c.failed(ctx, err)
	}
	return c.answered(out), nil
}

// CheckVerify asks whether a code that someone entered may be compared now. Ask before comparing: each ALLOW counts as a wrong
// code until Verified is reported. Errors and fail mode are as in Check; Verdict.Response has only the fields that both share.
func (c *Client) CheckVerify(ctx context.Context, v Verify) (Verdict, error) {
	in := v.message()
	var out *sendgatev1.CheckVerifyResponse
	err := c.retries.do(ctx, c.o.Timeout, c.o.Tries, func(ctx context.Context) (err error) {
		out, err = c.gate.CheckVerify(ctx, in)
		return err
	})
	if err != nil {
		return c.failed(ctx, err)
	}
	return c.answered(&sendgatev1.CheckSendResponse{
		Verdict: out.Verdict, Reason: out.Reason, Rule: out.Rule, RetryAfter: out.RetryAfter, Remaining: out.Remaining,
		Limit: out.Limit, CheckId: v.CheckID, PolicyVersion: out.PolicyVersion, Signals: out.Signals, Shadow: out.Shadow,
		Replayed: out.Replayed, SkippedRules: out.SkippedRules,
	}), nil
}

// Result is what Check would have returned for one send of a batch.
type Result struct {
	Verdict Verdict
	Err     error
}

// CheckBatch asks for up to 10,000 sends at once, each judged as if it were asked alone and in order. The results are in the
// order of the sends. The error is as in Check, and then there are no results.
func (c *Client) CheckBatch(ctx context.Context, sends []Send) ([]Result, error) {
	return c.batch(ctx, sends, sendgatev1.BatchMode_BATCH_MODE_EACH)
}

// CheckAll is CheckBatch for sends that only make sense together: all are charged and allowed, or none.
func (c *Client) CheckAll(ctx context.Context, sends []Send) ([]Result, error) {
	return c.batch(ctx, sends, sendgatev1.BatchMode_BATCH_MODE_ALL_OR_NOTHING)
}

func (c *Client) batch(ctx context.Context, sends []Send, mode sendgatev1.BatchMode) ([]Result, error) {
	in := &sendgatev1.CheckSendBatchRequest{Mode: mode, Items: make([]*sendgatev1.CheckSendRequest, len(sends))}
	for i := range sends {
		in.Items[i] = sends[i].message()
	}
	var out *sendgatev1.CheckSendBatchResponse
	timeout := c.o.Timeout + time.Duration(len(sends))*perItem
	err := c.retries.do(ctx, timeout, c.o.Tries, func(ctx context.Context) (err error) {
		out, err = c.gate.CheckSendBatch(ctx, in)
		return err
	})
	if err == nil && len(out.Items) != len(sends) {
		err = status.Errorf(codes.Internal, "%d answers to %d sends: is this a sendgate?", len(out.Items), len(sends))
	}
	results := make([]Result, len(sends))
	if err != nil {
		v, err := c.failed(ctx, err)
		if err != nil {
			return nil, err
		}
		for i := range results {
			results[i].Verdict = v
		}
		return results, nil
	}
	for i, item := range out.Items {
		if item.Error != nil {
			results[i].Verdict, results[i].Err = c.failed(ctx, itemError(item.Error))
		} else {
			results[i].Verdict = c.answered(item.Response)
		}
	}
	return results, nil
}

// Report tells what became of a send. An outcome counts once, so to report it again is harmless and no error; Report itself
// tries again as Check does. Any error means that it was not counted, as a gRPC status.
func (c *Client) Report(ctx context.Context, r Report) error {
	if r.CheckID == "" {
		return nil
	}
	in := r.message()
	err := c.retries.do(ctx, c.o.Timeout, c.o.Tries, func(ctx context.Context) error {
		_, err := c.gate.ReportOutcome(ctx, in)
		return err
	})
	if err != nil {
		return fmt.Errorf("sendgate: %w", err)
	}
	return nil
}

// ReportBatch tells what became of up to 10,000 sends. It returns one error, or nil, for each report, in their order; or an
// error for all, of which then none may have been counted.
func (c *Client) ReportBatch(ctx context.Context, reports []Report) ([]error, error) {
	in := &sendgatev1.ReportOutcomeBatchRequest{}
	at := make([]int, 0, len(reports))
	for i := range reports {
		if reports[i].CheckID != "" {
			in.Items = append(in.Items, reports[i].message())
			at = append(at, i)
		}
	}
	errs := make([]error, len(reports))
	if len(at) == 0 {
		return errs, nil
	}
	var out *sendgatev1.ReportOutcomeBatchResponse
	timeout := c.o.Timeout + time.Duration(len(at))*perItem
	err := c.retries.do(ctx, timeout, c.o.Tries, func(ctx context.Context) (err error) {
		out, err = c.gate.ReportOutcomeBatch(ctx, in)
		return err
	})
	if err == nil && len(out.Items) != len(at) {
		err = status.Errorf(codes.Internal, "%d answers to %d reports: is this a sendgate?", len(out.Items), len(at))
	}
	if err != nil {
		return nil, fmt.Errorf("sendgate: %w", err)
	}
	for i, item := range out.Items {
		if item.Error != nil {
			errs[at[i]] = fmt.Errorf("sendgate: %w", itemError(item.Error))
		}
	}
	return errs, nil
}
