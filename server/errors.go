package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// errorDomain is the domain of every ErrorInfo.
const errorDomain = "sendgate"

// askAgain is what a caller is told to wait where nobody knows better: the store is gone, or too much is in flight.
const askAgain = time.Second

// failure is an error in the words of the contract: what a unary call says in its status, and a batch or stream in an
// ItemError.
type failure struct {
	code       codes.Code
	reason     string // a stable word
	message    string
	violations []gate.Violation
	retryAfter time.Duration
}

// failureOf translates what the gate returned. Only what the caller did wrong is told in full: an error of ours goes to the
// log.
func failureOf(err error, log *slog.Logger) *failure {
	var invalid *gate.InvalidError
	var forbidden *gate.ForbiddenError
	var refused *gate.RefusedError
	var unavailable *gate.UnavailableError
	var own *failure
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &invalid):
		return &failure{code: codes.InvalidArgument, reason: invalid.Violations[0].Reason, message: invalid.Error(), violations: invalid.Violations}
	case errors.As(err, &refused):
		return &failure{code: refusal(refused.Reason), reason: refused.Reason, message: refused.Message}
	case errors.As(err, &forbidden):
		return &failure{code: codes.PermissionDenied, reason: forbidden.Reason, message: forbidden.Message}
	case errors.As(err, &unavailable):
		log.Error("the store failed", "rule", unavailable.Rule, "err", unavailable.Err)
		return &failure{code: codes.Unavailable, reason: "STORE_UNAVAILABLE", message: "the store cannot be reached and a rule fails closed: ask again", retryAfter: askAgain}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: codes.DeadlineExceeded, reason: "DEADLINE_EXCEEDED", message: "the call's deadline passed before it was answered"}
	case errors.Is(err, context.Canceled):
		return &failure{code: codes.Canceled, reason: "CANCELED", message: "the caller went away"}
	}
	log.Error("check failed", "err", err)
	return &failure{code: codes.Internal, reason: "INTERNAL", message: "internal error"}
}

// refusal is the code of a RefusedError.
func refusal(reason string) codes.Code {
	switch reason {
	case "CHECK_ID_UNKNOWN":
		return codes.NotFound
	case "CHECK_ID_FORGED", "CHECK_ID_OTHER_ACCOUNT":
		return codes.PermissionDenied
	}
	return codes.FailedPrecondition
}

func invalid(field, description string) *failure {
	v := gate.Violation{Field: field, Reason: "FIELD_INVALID", Description: description}
	return &failure{code: codes.InvalidArgument, reason: v.Reason, message: field + ": " + description, violations: []gate.Violation{v}}
}

func (f *failure) Error() string { return f.message }

// GRPCStatus makes a failure an error that grpc-go understands.
func (f *failure) GRPCStatus() *status.Status {
	s, err := status.New(f.code, f.message).WithDetails(f.details()...)
	if err != nil {
		return status.New(f.code, f.message)
	}
	return s
}

func (f *failure) details() []protoadapt.MessageV1 {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: f.reason, Domain: errorDomain}}
	if len(f.violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range f.violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Reason: v.Reason, Description: v.Description})
		}
		details = append(details, bad)
	}
	if f.retryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.retryAfter)})
	}
	return details
}

// item is the failure of one item of a batch or stream.
func (f *failure) item() *sendgatev1.ItemError {
	out := &sendgatev1.ItemError{Code: int32(f.code), Reason: f.reason, Message: f.message}
	for _, v := range f.violations {
		out.Violations = append(out.Violations, &sendgatev1.FieldViolation{Field: v.Field, Description: v.Description})
	}
	if f.retryAfter > 0 {
		out.RetryAfter = durationpb.New(f.retryAfter)
	}
	return out
}
