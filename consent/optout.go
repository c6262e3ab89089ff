package consent

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// Sources that the ledger itself writes and reads.
const (
	SourceKeyword = "keyword"
	SourceButton  = "button"
	SourceHand    = "hand" // only a hand undoes it
	SourceImport  = "import"
)

// flags of an opt-out on disk.
const (
	flagHand      = 1 << iota // put there by hand
	flagForgotten             // kept of a person who asked to be forgotten
	flagImport                // read from a file
)

// optOut is an opt-out on disk: 8 bytes of time in nanoseconds, and flags. Everything else about it is in the person's history.
func optOut(since time.Time, flags byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(since.UnixNano())), flags)
}

func flagsOf(source string) byte {
	switch source {
	case SourceHand:
		return flagHand
	case SourceImport:
		return flagImport
	}
	return 0
}

// OptOut takes a number out of a scope: that of r, which says where and why as well. r.Event is set here. It returns when that is on
// disk; from then on every question knows. Changed is false for a number that was out of exactly this scope before.
func (l *Ledger) OptOut(ctx context.Context, n phone.Number, r Record) (changed bool, err error) {
	r.Event = Withdrawn
	if err := r.check(n); err != nil {
		return false, err
	}
	if r.Source == SourceHand && r.Author == "" {
		return false, wrong("consent: author: write who does this by hand")
	}
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return false, err
	}
	defer release()
	where := place{Scope: Scope{r.Account, r.Sender}}
	id := l.scopes.id(where)
	if l.outs.has(&p.seal, id) && r.Source != SourceHand {
		return false, nil
	}
	changes, err := l.proof(p, r)
	if err != nil {
		return false, err
	}
	changes = append(changes, Change{KindOptOut, where.append(p.append(nil)), optOut(r.At, flagsOf(r.Source))})
	if err := l.store.Apply(ctx, changes...); err != nil {
		return false, err
	}
	l.outs.put(slot{p.seal, id, seconds(r.At.UnixNano())})
	return true, nil
}

// OptIn lifts every opt-out that keeps the sender of r from writing to a number, and makes consent that the account has fresh again. What
// was put there by hand is only lifted where r.Source is SourceHand, and nothing that is
// younger than r.At. Changed says that something was lifted; out that the
// number is still out, by hand or of every account.
func (l *Ledger) OptIn(ctx context.Context, n phone.Number, r Record) (changed, out bool, err error) {
	r.Event = Resumed
	if err := r.check(n); err != nil {
		return false, false, err
	}
	p, release, err := l.hold(ctx, n)
	if err != nil {
		return false, false, err
	}
	defer release()
	of := Scope{r.Account, r.Sender}
	var changes []Change
	var lifted []scopeID
	err = l.store.Scan(ctx, KindOptOut, p.append(nil), func(key, value []byte) error {
		where, err := readPlace(key[personSize:])
		if err != nil {
			return err
		}
		switch {
		case !where.covers(of):
		case r.Source != SourceHand && (value[8]&flagHand != 0 || where.Account == "" && of.Account != ""):
			out = true
		case sinceOf(value).After(r.At):
			out = true // a START that a later STOP overtook on its way
		default:
			changes = append(changes, Change{Kind: KindOptOut, Key: where.append(p.append(nil))})
			lifted = append(lifted, l.scopes.id(where))
		}
		return nil
	})
	if err != nil || len(changes) == 0 {
		return false, out, err
	}
	proof, err := l.proof(p, r)
	if err != nil {
		return false, out, err
	}
	fresh := l.grantsOf(p, of)
	for _, g := range fresh {
		changes = append(changes, Change{KindGrant, l.scopes.place(g.scope).append(p.append(nil)), grant(r.At)})
	}
	if err := l.store.Apply(ctx, append(changes, proof...)...); err != nil {
		return false, out, err
	}
	for _, g := range fresh {
		l.grants.put(slot{p.seal, g.scope, seconds(r.At.UnixNano())})
	}
	for _, id := range lifted {
		l.outs.drop(&p.seal, id)
	}
	return true, out, nil
}

// grantsOf is the consent of a person that a scope has.
func (l *Ledger) grantsOf(p person, of Scope) (out []slot) {
	for _, g := range l.grants.look(&p.seal, nil) {
		if l.scopes.place(g.scope).covers(of) {
			out = append(out, g)
		}
	}
	return out
}
