package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

// consents is told by accounts what people agreed to, over gRPC and over HTTP.
type consents struct {
	sendgatev1.UnsafeConsentServiceServer
	*service
}

// connect is the handler on the HTTP port.
func (c *consents) connect() (path string, handler http.Handler) {
	failures := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			out, err := next(ctx, req)
			if err != nil {
				return nil, failureOf(err, c.log).connect()
			}
			return out, nil
		}
	})
	return sendgatev1connect.NewConsentServiceHandler(c, connect.WithReadMaxBytes(maxMessage), connect.WithInterceptors(failures))
}

// told lets a caller in and does what somebody said.
func (c *consents) told(ctx context.Context, in *sendgatev1.Said, do func(*gate.Agreement) error) error {
	caller, f := c.let(ctx)
	if f != nil {
		return f
	}
	defer c.inFlight.leave()
	a := gate.Agreement{Number: in.GetNumber(), Account: in.GetAccount(), Sender: in.GetSender(), Source: in.GetSource(), Text: in.GetText(),
		ClientAddress: in.GetClientAddress(), Reference: in.GetReference(), Caller: caller}
	if t := in.GetOccurredAt(); t != nil {
		a.OccurredAt = t.AsTime()
	}
	if err := do(&a); err != nil {
		f := failureOf(err, c.log)
		c.metrics.failed(f)
		return f
	}
	return nil
}

// Agree writes down that a person agreed.
func (c *consents) Agree(ctx context.Context, in *sendgatev1.AgreeRequest) (*sendgatev1.AgreeResponse, error) {
	out := new(sendgatev1.AgreeResponse)
	return out, c.told(ctx, in.GetSaid(), func(a *gate.Agreement) error {
		a.Purposes, a.Channels = in.GetPurposes(), in.GetChannels()
		by, err := c.gate.Agree(ctx, a)
		if !by.IsZero() {
			out.ConfirmBy = timestamppb.New(by)
		}
		return err
	})
}

// Confirm ends a double opt-in.
func (c *consents) Confirm(ctx context.Context, in *sendgatev1.ConfirmRequest) (*sendgatev1.ConfirmResponse, error) {
	out := new(sendgatev1.ConfirmResponse)
	return out, c.told(ctx, in.GetSaid(), func(a *gate.Agreement) error {
		r, err := c.gate.Confirm(ctx, a)
		out.Purposes, out.Channels = r.Purposes, r.Channels
		return err
	})
}

// Reconfirm makes consent fresh again.
func (c *consents) Reconfirm(ctx context.Context, in *sendgatev1.ReconfirmRequest) (*sendgatev1.ReconfirmResponse, error) {
	return new(sendgatev1.ReconfirmResponse), c.told(ctx, in.GetSaid(), func(a *gate.Agreement) error { return c.gate.Reconfirm(ctx, a) })
}

// Withdraw opts a number out.
func (c *consents) Withdraw(ctx context.Context, in *sendgatev1.WithdrawRequest) (*sendgatev1.WithdrawResponse, error) {
	out := new(sendgatev1.WithdrawResponse)
	return out, c.told(ctx, in.GetSaid(), func(a *gate.Agreement) (err error) {
		out.Changed, err = c.gate.Withdraw(ctx, a)
		return err
	})
}

// Resume brings a number back.
func (c *consents) Resume(ctx context.Context, in *sendgatev1.ResumeRequest) (*sendgatev1.ResumeResponse, error) {
	out := new(sendgatev1.ResumeResponse)
	return out, c.told(ctx, in.GetSaid(), func(a *gate.Agreement) (err error) {
		out.Changed, out.OptedOut, err = c.gate.Resume(ctx, a)
		return err
	})
}

const maxCheckedText = 8192 // bytes of a text that is only looked at

// CheckCallToAction tells what a text lacks.
func (c *consents) CheckCallToAction(_ context.Context, in *sendgatev1.CheckCallToActionRequest) (*sendgatev1.CheckCallToActionResponse, error) {
	switch {
	case len(in.GetText()) > maxCheckedText:
		return nil, invalid("text", fmt.Sprintf("too long: write at most %d bytes", maxCheckedText))
	case in.GetPurpose() != consent.OTP && in.GetPurpose() != consent.Transactional && in.GetPurpose() != consent.Marketing:
		return nil, invalid("purpose", "write otp, transactional or marketing")
	}
	return &sendgatev1.CheckCallToActionResponse{Missing: consent.CheckCTA(in.GetBrand(), in.GetPurpose(), in.GetText())}, nil
}

// CheckTemplate tells what the platform would refuse.
func (c *consents) CheckTemplate(_ context.Context, in *sendgatev1.CheckTemplateRequest) (*sendgatev1.CheckTemplateResponse, error) {
	size := len(in.GetHeader()) + len(in.GetBody()) + len(in.GetFooter())
	for _, text := range slices.Concat(in.GetSamples(), in.GetParameters()) {
		size += len(text)
	}
	switch category := template.Category(in.GetCategory()); {
	case size > maxCheckedText:
		return nil, invalid("body", fmt.Sprintf("too long: write at most %d bytes in all", maxCheckedText))
	case category != template.Marketing && category != template.Utility && category != template.Authentication:
		return nil, invalid("category", "write MARKETING, UTILITY or AUTHENTICATION")
	}
	watch := template.DefaultWatch()
	if own := c.gate.Policy().Consent.Templates.Watch; own != nil {
		watch = nil
		for _, w := range own {
			watch = append(watch, template.Watch(w))
		}
	}
	out := new(sendgatev1.CheckTemplateResponse)
	for _, p := range template.Check(template.Content{Category: template.Category(in.GetCategory()), Header: in.GetHeader(), Body: in.GetBody(), Footer: in.GetFooter(),
		Media: in.GetMedia(), Samples: in.GetSamples(), Params: in.GetParameters()}, watch) {
		out.Problems = append(out.Problems, &sendgatev1.TemplateProblem{Field: p.Field, Message: p.What, Warning: p.Warning})
	}
	return out, nil
}

var errConsentOff = &failure{code: codes.FailedPrecondition, reason: "CONSENT_OFF", message: "this gate keeps no consent: start it with a folder for its data"}
