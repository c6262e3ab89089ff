package gate

import (
	"context"
	"errors"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/internal/phone"
)

// Inbound is a message from a person, as a surface was told of it.
type Inbound struct {
	// Number, Account and Sender are spelled as in Request.
	Number, Account, Sender string
	// Text is what was written, Postback what a button sent. Postback wins. Text is of at most 16 KiB, Postback of 2 KiB.
	Text, Postback string
	// OccurredAt is when; zero for now, never in the future.
	OccurredAt time.Time
	// Reference is the platform's id of the message, at most 128 bytes.
	Reference string
	Caller    Caller
}

const (
	maxInboundText = 16 << 10
	maxPostback    = 2 << 10
)

var errNoConsent = &RefusedError{"CONSENT_OFF", "this gate keeps no consent: start it with a folder for its data"}

// Hear reads a message from a person and does what it asks for. When it returns, an opt-out is on disk and every check knows it. The error
// is an *InvalidError, *ForbiddenError, *RefusedError, *UnavailableError, or that of ctx.
func (g *Gate) Hear(ctx context.Context, in *Inbound) (consent.Heard, error) {
	r := g.rules.Load()
	account, err := r.actFor(&in.Caller, in.Account)
	if err != nil {
		return consent.Heard{}, err
	}
	if g.consent == nil {
		return consent.Heard{}, errNoConsent
	}
	var bad violations
	region := r.policy.Numbers.DefaultRegion
	if a := r.policy.Accounts[account]; a != nil {
		region = a.DefaultRegion
	} else if account != "" && len(r.policy.Accounts) > 0 {
		bad.add("account", "ACCOUNT_UNKNOWN", "the policy names accounts and this is none of them: write one that it names")
	}
	var number phone.Number
	if len(in.Number) > maxNumber {
		bad.add("number", "NUMBER_INVALID", tooLong(maxNumber))
	} else if number, err = phone.Parse(in.Number, region); err != nil {
		bad.add("number", "NUMBER_INVALID", err.Error())
	}
	bad.name("account", in.Account)
	bad.name("sender", in.Sender)
	bad.name("reference", in.Reference)
	if len(in.Text) > maxInboundText {
		bad.add("text", "FIELD_TOO_LONG", tooLong(maxInboundText))
	}
	if len(in.Postback) > maxPostback {
		bad.add("postback", "FIELD_TOO_LONG", tooLong(maxPostback))
	}
	now := g.clock()
	at := in.OccurredAt
	switch {
	case at.IsZero():
		at = now
	case at.After(now.Add(clockSlack)):
		bad.add("occurred_at", "FIELD_INVALID", "lies in the future: write when the person wrote, or leave it out")
	case at.Before(now.AddDate(-1, 0, 0)):
		bad.add("occurred_at", "FIELD_INVALID", "lies more than a year back: import old opt-outs instead")
	}
	if err := bad.err(); err != nil {
		return consent.Heard{}, err
	}
	h, err := g.consent.Hear(ctx, consent.Inbound{At: at, Number: number, Scope: consent.Scope{Account: account, Sender: in.Sender},
		Text: in.Text, Postback: in.Postback, Reference: in.Reference})
	var wrong *consent.RecordError
	switch {
	case err == nil || ctx.Err() != nil:
		return h, err
	case errors.As(err, &wrong):
		bad.add("reference", "FIELD_INVALID", wrong.Error())
		return h, bad.err()
	}
	return h, &UnavailableError{Err: err}
}
