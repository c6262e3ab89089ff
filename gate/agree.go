package gate

import (
	"context"
	"net/netip"
	"time"

	"github.com/sendgate/sendgate/consent"
)

// Agreement is what a person agreed to, or ended, where an account's own service was told: a form, a preference page, a call.
type Agreement struct {
	// Number, Account and Sender are spelled as in Request.
	Number, Account, Sender string
	// Purposes and Channels are what was agreed to: each purpose on each channel.
	Purposes, Channels []string
	// Source is where, such as "web-form/checkout"; Text is what the person was shown, at most 8 KiB.
	Source, Text string
	// ClientAddress is that of the person's device. It is kept sealed.
	ClientAddress string
	// OccurredAt is when; zero for now, never in the future.
	OccurredAt time.Time
	// Reference is the account's id of the event, at most 128 bytes.
	Reference string
	Caller    Caller
}

func (a *Agreement) record(who *someone) consent.Record {
	return consent.Record{At: who.at, Account: who.scope.Account, Sender: who.scope.Sender, Purposes: a.Purposes, Channels: a.Channels, Source: a.Source, Text: a.Text, Reference: a.Reference}
}

func (g *Gate) agreeing(a *Agreement) (someone, consent.Record, error) {
	var bad violations
	switch a.Source {
	case consent.SourceKeyword, consent.SourceButton, consent.SourceHand, consent.SourceImport:
		bad.add("source", "FIELD_INVALID", "this word is for what the gate itself saw: write where the person said so, such as web-form")
	}
	who, err := g.whoever(&a.Caller, a.Number, a.Account, a.Sender, a.Reference, a.OccurredAt, bad)
	if err != nil {
		return who, consent.Record{}, err
	}
	return who, a.record(&who), nil
}

// Agree writes down that a person agreed. Where the policy wants a double opt-in, confirmBy is until when the person can confirm;
// else it is zero and the consent counts now. Errors are those of Hear.
func (g *Gate) Agree(ctx context.Context, a *Agreement) (confirmBy time.Time, err error) {
	who, r, err := g.agreeing(a)
	if err != nil {
		return time.Time{}, err
	}
	device := netip.Addr{}
	if a.ClientAddress != "" {
		var bad violations
		addr, err := g.rules.Load().resolver.Resolve(netip.Addr{}, a.ClientAddress, nil)
		if device = bad.address("client_address", addr, err); bad.err() != nil {
			return time.Time{}, bad.err()
		}
	}
	pending, err := g.consent.Agree(ctx, who.number, r, device)
	if err == nil && pending {
		confirmBy = who.at.Add(g.rules.Load().asked.ConfirmWithin)
	}
	return confirmBy, consentError(ctx, err)
}

// Confirm ends a double opt-in that the person answered from the number itself in a way that the gate does not see, such as a code. What
// was agreed to is returned. The refusal NOTHING_ASKED says that none waits.
func (g *Gate) Confirm(ctx context.Context, a *Agreement) (consent.Record, error) {
	who, r, err := g.agreeing(a)
	if err != nil {
		return consent.Record{}, err
	}
	out, err := g.consent.Confirm(ctx, who.number, r)
	return out, consentError(ctx, err)
}

// Reconfirm makes consent fresh again.
func (g *Gate) Reconfirm(ctx context.Context, a *Agreement) error {
	who, r, err := g.agreeing(a)
	if err == nil {
		err = consentError(ctx, g.consent.Reconfirm(ctx, who.number, r))
	}
	return err
}

// Withdraw opts a number out. Changed is false where it was out.
func (g *Gate) Withdraw(ctx context.Context, a *Agreement) (changed bool, err error) {
	who, r, err := g.agreeing(a)
	if err != nil {
		return false, err
	}
	changed, err = g.consent.OptOut(ctx, who.number, r)
	return changed, consentError(ctx, err)
}

// Resume brings a number back that opted out. Out says that it still is, because an operator or every account put it out.
func (g *Gate) Resume(ctx context.Context, a *Agreement) (changed, out bool, err error) {
	who, r, err := g.agreeing(a)
	if err != nil {
		return false, false, err
	}
	changed, out, err = g.consent.OptIn(ctx, who.number, r)
	return changed, out, consentError(ctx, err)
}
