package gate

import (
	"context"
	"errors"
	"net/netip"
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
	var bad violations
	if len(in.Text) > maxInboundText {
		bad.add("text", "FIELD_TOO_LONG", tooLong(maxInboundText))
	}
	if len(in.Postback) > maxPostback {
		bad.add("postback", "FIELD_TOO_LONG", tooLong(maxPostback))
	}
	who, err := g.whoever(&in.Caller, in.Number, in.Account, in.Sender, in.Reference, in.OccurredAt, bad)
	if err != nil {
		return consent.Heard{}, err
	}
	h, err := g.consent.Hear(ctx, consent.Inbound{At: who.at, Number: who.number, Scope: who.scope, Text: in.Text, Postback: in.Postback, Reference: in.Reference})
	return h, consentError(ctx, err)
}

// ClientOf is the address that a request of ours came from, by the policy's trusted proxies; invalid where that is not known.
func (g *Gate) ClientOf(f *Forwarded) netip.Addr {
	var bad violations
	return g.rules.Load().client(&Request{Forwarded: f}, &bad)
}

// someone is a person, and who writes to them.
type someone struct {
	number phone.Number
	scope  consent.Scope
	at     time.Time
}

// whoever reads what all calls about a person have. Bad is what is known to be wrong already.
func (g *Gate) whoever(caller *Caller, number, account, sender, reference string, at time.Time, bad violations) (someone, error) {
	r := g.rules.Load()
	named, err := r.actFor(caller, account)
	if err != nil {
		return someone{}, err
	}
	if g.consent == nil {
		return someone{}, errNoConsent
	}
	who := someone{scope: consent.Scope{Account: named, Sender: sender}, at: at}
	region := r.policy.Numbers.DefaultRegion
	if a := r.policy.Accounts[named]; a != nil {
		region = a.DefaultRegion
	} else if named != "" && len(r.policy.Accounts) > 0 {
		bad.add("account", "ACCOUNT_UNKNOWN", "the policy names accounts and this is none of them: write one that it names")
	}
	if len(number) > maxNumber {
		bad.add("number", "NUMBER_INVALID", tooLong(maxNumber))
	} else if who.number, err = phone.Parse(number, region); err != nil {
		bad.add("number", "NUMBER_INVALID", err.Error())
	}
	bad.name("account", account)
	bad.name("sender", sender)
	bad.name("reference", reference)
	now := g.clock()
	switch {
	case at.IsZero():
		who.at = now
	case at.After(now.Add(clockSlack)):
		bad.add("occurred_at", "FIELD_INVALID", "lies in the future: write when it happened, or leave it out")
	case at.Before(now.AddDate(-1, 0, 0)):
		bad.add("occurred_at", "FIELD_INVALID", "lies more than a year back: import old opt-outs instead")
	}
	return who, bad.err()
}

// consentError is an error of the ledger in the words of the gate.
func consentError(ctx context.Context, err error) error {
	var wrong *consent.RecordError
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.As(err, &wrong):
		var bad violations
		field, problem := wrong.Field()
		bad.add(field, "FIELD_INVALID", problem)
		return bad.err()
	case errors.Is(err, consent.ErrNothingAsked):
		return &RefusedError{"NOTHING_ASKED", "there is nothing to confirm: the person was not asked, or too long ago"}
	}
	return &UnavailableError{Err: err}
}
