package client

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Kind is what to do with a send.
type Kind = sendgatev1.Verdict

// The kinds.
const (
	Allow     = sendgatev1.Verdict_VERDICT_ALLOW     // send it: it has been charged
	Deny      = sendgatev1.Verdict_VERDICT_DENY      // do not send it
	Challenge = sendgatev1.Verdict_VERDICT_CHALLENGE // let the user step up first, then ask again with ChallengePassed
)

// Verdict is the answer to a check. The zero Verdict allows nothing.
type Verdict struct {
	Kind Kind
	// Reason is why, for programs: "limit:number-30m". Of a verdict that the gate did not give it is gate:unreachable,
	// gate:timeout, gate:overloaded or gate:error.
	Reason string
	// RetryAfter is how long until the same check can pass; 0 where waiting does not help.
	RetryAfter time.Duration
	// CheckID names the check for Report and CheckVerify. Empty if the gate did not answer.
	CheckID string
	// Answered is false if the gate did not answer, and Options.FailMode has decided.
	Answered bool
	// Cause is why the gate did not answer, or could not judge.
	Cause error
	// Response is all that the gate said of a send: rule, remaining, signals, shadow. Nil if it did not answer or could not judge.
	Response *sendgatev1.CheckSendResponse
}

// Allowed reports whether the message may go out.
func (v Verdict) Allowed() bool { return v.Kind == Allow }

// Err is nil for a verdict that allows, else a [*NotAllowedError].
func (v Verdict) Err() error {
	if v.Allowed() {
		return nil
	}
	return &NotAllowedError{v}
}

// NotAllowedError is a verdict as an error, for callers who have no other way to say it.
type NotAllowedError struct{ Verdict Verdict }

// Error tells the verdict and why.
func (e *NotAllowedError) Error() string {
	text := "sendgate: " + strings.TrimPrefix(e.Verdict.Kind.String(), "VERDICT_") + ", " + e.Verdict.Reason
	if e.Verdict.RetryAfter > 0 {
		text += fmt.Sprintf(", ask again in %v", e.Verdict.RetryAfter.Round(time.Millisecond))
	}
	return text
}

// Unwrap is the cause, if the gate did not answer.
func (e *NotAllowedError) Unwrap() error { return e.Verdict.Cause }

// GRPCStatus is UNAVAILABLE if the gate did not answer or could not judge, RESOURCE_EXHAUSTED with RetryInfo where waiting
// helps, else PERMISSION_DENIED.
func (e *NotAllowedError) GRPCStatus() *status.Status {
	code := codes.PermissionDenied
	switch {
	case e.Verdict.Cause != nil:
		code = codes.Unavailable
	case e.Verdict.RetryAfter > 0:
		code = codes.ResourceExhausted
	}
	s := status.New(code, e.Error())
	if e.Verdict.RetryAfter > 0 {
		var info protoadapt.MessageV1 = &errdetails.RetryInfo{RetryDelay: durationpb.New(e.Verdict.RetryAfter)}
		if detailed, err := s.WithDetails(info); err == nil {
			return detailed
		}
	}
	return s
}

// httpStatus says the same to an HTTP client, as the gate's own HTTP port would.
func (e *NotAllowedError) httpStatus() int {
	switch {
	case e.Verdict.Cause != nil:
		return http.StatusServiceUnavailable
	case e.Verdict.Kind == Deny && e.Verdict.RetryAfter > 0:
		return http.StatusTooManyRequests
	}
	return http.StatusForbidden
}

// answered is the verdict that the gate gave.
func (c *Client) answered(m *sendgatev1.CheckSendResponse) Verdict {
	if m.GetVerdict() == sendgatev1.Verdict_VERDICT_UNSPECIFIED {
		return c.unanswered(status.Error(codes.Internal, "the answer holds no verdict: is this a sendgate?"))
	}
	return Verdict{
		Kind: m.Verdict, Reason: m.Reason, RetryAfter: m.RetryAfter.AsDuration(), CheckID: m.CheckId, Answered: true, Response: m,
	}
}

// unanswered is the verdict of the fail mode.
func (c *Client) unanswered(err error) Verdict {
	if c.o.OnUnanswered != nil {
		c.o.OnUnanswered(err)
	}
	v := Verdict{Kind: Allow, Reason: "gate:error", Cause: err}
	switch status.Code(err) {
	case codes.Unavailable:
		v.Reason = "gate:unreachable"
	case codes.DeadlineExceeded:
		v.Reason = "gate:timeout"
	case codes.ResourceExhausted:
		v.Reason = "gate:overloaded"
	}
	if c.o.FailMode == FailClosed {
		v.Kind = Deny
		v.RetryAfter = retryDelay(status.Convert(err))
	}
	return v
}

// failed is the verdict on a check that ended with an error of the gate or of the way there, or the error if it is the caller's.
func (c *Client) failed(ctx context.Context, err error) (Verdict, error) {
	if ctx.Err() != nil {
		return Verdict{}, ctx.Err() // nobody waits for the verdict
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied:
		return Verdict{}, fmt.Errorf("sendgate: %w", err)
	}
	if storeGone(s) {
		return Verdict{Kind: Deny, Reason: "store:unavailable", RetryAfter: retryDelay(s), Answered: true, Cause: err}, nil
	}
	return c.unanswered(err), nil
}

// storeGone tells the gate's own word, that it cannot judge and the policy fails closed, from the word of some proxy.
func storeGone(s *status.Status) bool {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == "sendgate" && info.Reason == "STORE_UNAVAILABLE" {
			return true
		}
	}
	return false
}

// retryDelay is when the gate says to ask again; 0 if it does not.
func retryDelay(s *status.Status) time.Duration {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return max(info.RetryDelay.AsDuration(), 0)
		}
	}
	return 0
}

// itemError makes the error of one item of a batch what it would be alone.
func itemError(e *sendgatev1.ItemError) error {
	bad := &errdetails.BadRequest{}
	for _, v := range e.Violations {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: e.Reason, Domain: "sendgate"}, bad}
	if e.RetryAfter != nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: e.RetryAfter})
	}
	s, err := status.New(codes.Code(e.Code), e.Message).WithDetails(details...)
	if err != nil { // code 0, which the contract forbids
		return status.Error(codes.Internal, "the answer holds an error without a code: is this a sendgate?")
	}
	return s.Err()
}
