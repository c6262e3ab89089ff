package consent

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// ErrNothingAsked is returned by Confirm where no double opt-in waits: none was begun, or its time is over.
var ErrNothingAsked = errors.New("consent: nothing to confirm: ask the person first, and again when the time to confirm is over")

// grant is consent on disk.
func grant(since time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(since.UnixNano()))
}

// Agree writes down that a person agreed to messages of each purpose of r on each channel, and from which device. Where the
// rules want it confirmed, pending is true and the consent counts after Confirm.
func (l *Ledger) Agree(ctx context.Context, n phone.Number, r Record, device netip.Addr) (pending bool, err error) {
	rules := l.rules.Load()
	if len(r.Purposes) == 0 {
		return false, wrong("consent: purposes: write what the person agreed to: otp, transactional or marketing")
	}
	for _, p := range r.Purposes {
		if !slices.Contains([]string{OTP, Transactional, Marketing}, p) {
			return false, wrong("consent: purposes: write otp, transactional or marketing")
		}
		for _, c := range r.Channels {
			q := rules.requires(p, c)
			pending = pending || q != nil && q.Double
		}
	}
	if len(r.Channels) == 0 || slices.Contains(r.Channels, "") {
		return false, wrong("consent: channels: write how the person may be written to, such as sms")
	}
	if r.Text == "" {
		return false, wrong("consent: text: write what the person was shown: without it there is no proof")
	}
	if r.Event = Given; pending {
		r.Event, r.ConfirmBy = Asked, r.At.Add(rules.ConfirmWithin)
	}
	if err := r.check(n); err != nil {
		return false, err
	}
	r.Client = l.sealers[0].address(device)
	return pending, l.agree(ctx, n, r)
}

// agree stores a record, and the consent that it gives.
func (l *Ledger) agree(ctx context.Context, n phone.Number, r Record) error {
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return err
	}
	defer release()
	return l.enter(ctx, p, r)
}

// enter is agree for a person who is held.
func (l *Ledger) enter(ctx context.Context, p person, r Record) error {
	changes, err := l.proof(p, r)
	if err != nil {
		return err
	}
	var given []scopeID
	if r.Event != Asked {
		for _, purpose := range r.Purposes {
			for _, channel := range r.Channels {
				where := place{Scope{r.Account, r.Sender}, purpose, channel}
				changes = append(changes, Change{KindGrant, where.append(p.append(nil)), grant(r.At)})
				given = append(given, l.scopes.id(where))
			}
		}
	}
	if err := l.store.Apply(ctx, changes...); err != nil {
		return err
	}
	for _, id := range given {
		l.grants.put(slot{p.seal, id, seconds(r.At.UnixNano())})
	}
	return nil
}

// Confirm ends a double opt-in: the person answered from the number itself. It confirms the newest one that was begun for the sender of
// r, or its account, and is not over at r.At. Else it is ErrNothingAsked.
func (l *Ledger) Confirm(ctx context.Context, n phone.Number, r Record) (Record, error) {
	if err := r.check(n); err != nil {
		return Record{}, err
	}
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return Record{}, err
	}
	defer release()
	history, err := l.history(ctx, p)
	if err != nil {
		return Record{}, err
	}
	asked := pendingIn(history, Scope{r.Account, r.Sender}, r.At)
	if asked == nil {
		return Record{}, ErrNothingAsked
	}
	// What was agreed to is what was shown then.
	r.Event, r.Account, r.Sender, r.Purposes, r.Channels = Confirmed, asked.Account, asked.Sender, asked.Purposes, asked.Channels
	return r, l.enter(ctx, p, r)
}

// pendingIn is the newest double opt-in that can be confirmed, or nil.
func pendingIn(history []Record, of Scope, at time.Time) *Record {
	for i := len(history) - 1; i >= 0; i-- {
		r := &history[i]
		if !(Scope{r.Account, r.Sender}).covers(of) {
			continue
		}
		switch r.Event {
		case Asked:
			if at.Before(r.ConfirmBy) && !at.Before(r.At) {
				return r
			}
		case Confirmed, Withdrawn, Recycled:
			return nil // whatever was asked before is answered
		}
	}
	return nil
}

// Reconfirm makes consent that the account of r has fresh again: the person said yes once more. It is ErrNothingAsked where
// there is none.
func (l *Ledger) Reconfirm(ctx context.Context, n phone.Number, r Record) error {
	r.Event = Reconfirmed
	if err := r.check(n); err != nil {
		return err
	}
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return err
	}
	defer release()
	changes, err := l.proof(p, r)
	if err != nil {
		return err
	}
	fresh := l.grantsOf(p, Scope{r.Account, r.Sender})
	if len(fresh) == 0 {
		return ErrNothingAsked
	}
	for _, g := range fresh {
		changes = append(changes, Change{KindGrant, l.scopes.place(g.scope).append(p.append(nil)), grant(r.At)})
	}
	if err := l.store.Apply(ctx, changes...); err != nil {
		return err
	}
	for _, g := range fresh {
		l.grants.put(slot{p.seal, g.scope, seconds(r.At.UnixNano())})
	}
	return nil
}

// Recycle ends the consent that a number's former owner gave before r.At, to everybody: carriers publish numbers that were
// disconnected. Opt-outs stay: they harm nobody.
func (l *Ledger) Recycle(ctx context.Context, n phone.Number, r Record) (ended int, err error) {
	r.Event = Recycled
	if err := r.check(n); err != nil {
		return 0, err
	}
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return 0, err
	}
	defer release()
	changes, err := l.proof(p, r)
	if err != nil {
		return 0, err
	}
	var gone []scopeID
	for _, g := range l.grants.look(&p.seal, nil) {
		if moment(g.since).Before(r.At) {
			changes = append(changes, Change{Kind: KindGrant, Key: l.scopes.place(g.scope).append(p.append(nil))})
			gone = append(gone, g.scope)
		}
	}
	if err := l.store.Apply(ctx, changes...); err != nil {
		return 0, err
	}
	for _, id := range gone {
		l.grants.drop(&p.seal, id)
	}
	return len(gone), nil
}
