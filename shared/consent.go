package shared

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/internal/phone"
)

// ConsentPeriod is how often changes of others are looked for: they are known after that and two round trips.
const ConsentPeriod = 200 * time.Millisecond

// recordsAtOnce is how many records are taken over at once where all are read.
const recordsAtOnce = 256

// Consent is a store of consent on a server that sidecars share. It keeps a copy of what every check asks for, which is opt-outs, consent and
// the states of templates: a start needs no server, and a server that has lost everything is filled again by whoever is there. Proofs,
// texts and keywords heard are on the server only.
//
// A change is acknowledged when the server has it. While the server is away there are none: they are refused, and come again.
type Consent struct {
	consent.Followed
	copy consent.Store
	pace

	// Own changes are entered into the copy, and after that into the ledger, behind what was read before they were made: who follows
	// holds it from reading to taking over.
	turn sync.RWMutex
	at   consent.Place // belongs to the goroutine that syncs
}

// Knowing is who takes over what others changed.
type Knowing struct {
	Ledger    *consent.Ledger
	Templates *template.Book
	// Forget is told whom another sidecar was asked to forget, perhaps more than once.
	Forget func(phone.Number)
}

// NewConsent gives a ledger and a book of templates what the server has. Copy outlives the process; nobody else changes it.
func NewConsent(ctx context.Context, store consent.Followed, copy consent.Store, l *slog.Logger) (*Consent, error) {
	c := &Consent{Followed: store, copy: copy, pace: pace{slog: l, what: "opt-outs and consent", meanwhile: "those of before hold, and changes are refused", every: ConsentPeriod}}
	err := copy.Scan(ctx, consent.KindPlace, nil, func(_, value []byte) error {
		if len(value) < 8 {
			return errors.New("shared: the place in the copy of consent is cut off")
		}
		c.at.Rev, c.at.Epoch = int64(binary.BigEndian.Uint64(value)), string(value[8:])
		return nil
	})
	return c, err
}

// copied says of which kinds there is a copy.
func copied(k consent.Kind) bool {
	return k == consent.KindOptOut || k == consent.KindGrant || k == consent.KindTemplate
}

// Apply implements [consent.Store].
func (c *Consent) Apply(ctx context.Context, changes ...consent.Change) error {
	if err := c.Followed.Apply(ctx, changes...); err != nil {
		return err
	}
	var own []consent.Change
	for _, ch := range changes {
		if copied(ch.Kind) {
			own = append(own, ch)
		}
	}
	c.turn.RLock()
	defer c.turn.RUnlock()
	if err := c.copy.Apply(context.WithoutCancel(ctx), own...); err != nil {
		// The server has it, and the copy gets it from there.
		c.slog.Error("the copy of opt-outs and consent could not be written", "error", err)
	}
	return nil
}

// Close closes the view of the server, and the copy.
func (c *Consent) Close() error { return errors.Join(c.Followed.Close(), c.copy.Close()) }

// Run syncs until ctx ends, or the store does.
func (c *Consent) Run(ctx context.Context, k Knowing) {
	c.run(ctx, func() error { return c.Sync(ctx, k) }, func(err error) bool { return errors.Is(err, consent.ErrClosed) })
}

// Sync takes over what others changed. The first time may take long: it reads all that there is.
func (c *Consent) Sync(ctx context.Context, k Knowing) error {
	for {
		n, place, err := c.follow(ctx, k)
		switch {
		case err != nil:
			return err
		case place.All:
			if err := c.readAll(ctx, k, place); err != nil {
				return err
			}
		case n == 0:
			return nil
		}
	}
}

// follow takes over one answer of the server.
func (c *Consent) follow(ctx context.Context, k Knowing) (n int, place consent.Place, err error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	changes, place, err := c.after(ctx, c.at)
	if err != nil || place.All || place == c.at {
		return 0, place, err
	}
	if err := k.absorb(k.Ledger, changes); err != nil {
		return 0, place, err
	}
	return len(changes), place, c.came(ctx, place, changes)
}

func (c *Consent) after(ctx context.Context, at consent.Place) (changes []consent.Change, place consent.Place, err error) {
	place, err = c.After(ctx, at.Epoch, at.Rev, func(ch consent.Change) { changes = append(changes, ch) })
	return changes, place, err
}

// absorb takes over changes, opt-outs and consent into where they are to go.
func (k *Knowing) absorb(into interface {
	Absorb(...consent.Change) error
}, changes []consent.Change) error {
	for _, ch := range changes {
		var err error
		switch {
		case ch.Kind == consent.KindOptOut || ch.Kind == consent.KindGrant:
			err = into.Absorb(ch)
		case ch.Kind == consent.KindTemplate:
			err = k.Templates.Absorb(ch)
		case ch.Kind == consent.KindForget && ch.Value != nil:
			var n phone.Number
			if n, err = k.Ledger.Ordered(ch.Key, ch.Value); err == nil {
				k.Forget(n)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// came enters changes into the copy, and how far it is with them.
func (c *Consent) came(ctx context.Context, place consent.Place, changes []consent.Change) error {
	var own []consent.Change
	for _, ch := range changes {
		if copied(ch.Kind) {
			own = append(own, ch)
		}
	}
	value := append(binary.BigEndian.AppendUint64(nil, uint64(place.Rev)), place.Epoch...)
	if err := c.copy.Apply(ctx, append(own, consent.Change{Kind: consent.KindPlace, Key: []byte("followed"), Value: value})...); err != nil {
		return err
	}
	c.at = place
	return nil
}

// readAll reads everything anew, from a place on. Questions are answered by what was known before until it is done. Where the server has
// lost all that it had, it gets back what is here.
func (c *Consent) readAll(ctx context.Context, k Knowing, place consent.Place) error {
	place.All = false
	was, _, _ := strings.Cut(c.at.Epoch, " ")
	is, _, _ := strings.Cut(place.Epoch, " ")
	lost := was != "" && was != is
	fresh := k.Ledger.Renew()
	told, err := c.toldSince(ctx, place, lost)
	if err != nil {
		return err
	}
	for _, kind := range []consent.Kind{consent.KindOptOut, consent.KindGrant, consent.KindTemplate, consent.KindForget} {
		seen := map[string]bool{} // of templates: there are few
		err := c.each(ctx, c.Followed, kind, func(records []consent.Change) error {
			for _, r := range records {
				if kind == consent.KindTemplate {
					seen[string(r.Key)] = true
				}
			}
			if err := k.absorb(fresh, records); err != nil || !copied(kind) {
				return err
			}
			return c.copy.Apply(ctx, c.differing(ctx, records)...)
		})
		if err != nil {
			return err
		}
		if !copied(kind) {
			continue
		}
		has := fresh.Has
		if kind == consent.KindTemplate {
			has = func(_ consent.Kind, key []byte) (bool, error) { return seen[string(key)], nil }
		}
		if err := c.settle(ctx, k, fresh, kind, has, told); err != nil {
			return err
		}
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	var changes []consent.Change
	for {
		// What others changed meanwhile.
		changed, next, err := c.after(ctx, place)
		if err != nil || next.All { // it began anew, perhaps with what it got back just now: once more
			return err
		}
		if err := k.absorb(fresh, changed); err != nil {
			return err
		}
		changes = append(changes, changed...)
		if place = next; len(changed) == 0 {
			break
		}
	}
	if err := c.came(ctx, place, changes); err != nil {
		return err
	}
	fresh.Use()
	if lost {
		c.slog.Warn("the store had lost everything: proofs and keywords heard before are lost")
	}
	return nil
}

// each calls f with the records of a kind, some at a time.
func (c *Consent) each(ctx context.Context, from consent.Store, kind consent.Kind, f func([]consent.Change) error) error {
	var records []consent.Change
	err := from.Scan(ctx, kind, nil, func(key, value []byte) error {
		records = append(records, consent.Change{Kind: kind, Key: bytes.Clone(key), Value: append([]byte{}, value...)})
		if len(records) < recordsAtOnce {
			return nil
		}
		err := f(records)
		records = records[:0]
		return err
	})
	if err != nil || len(records) == 0 {
		return err
	}
	return f(records)
}

// differing are records that the copy does not have so.
func (c *Consent) differing(ctx context.Context, records []consent.Change) (out []consent.Change) {
	for _, r := range records {
		same := false
		err := c.copy.Scan(ctx, r.Kind, r.Key, func(key, value []byte) error {
			same = same || bytes.Equal(key, r.Key) && bytes.Equal(value, r.Value)
			return nil
		})
		if err != nil || !same {
			out = append(out, r)
		}
	}
	return out
}

// toldSince is what others changed since this sidecar followed the server, where the server may have lost something meanwhile: what is
// not there and was not changed is lost. Nil where nothing was lost, or where nobody can tell.
func (c *Consent) toldSince(ctx context.Context, place consent.Place, all bool) (map[string]bool, error) {
	if all {
		return map[string]bool{}, nil
	}
	if c.at.Epoch == "" || c.at.Epoch == place.Epoch {
		return nil, nil
	}
	told := map[string]bool{}
	for place.Rev = min(c.at.Rev, place.Began); ; {
		changes, next, err := c.after(ctx, place)
		if err != nil || next.All {
			return nil, err
		}
		for _, ch := range changes {
			told[string(byte(ch.Kind))+string(ch.Key)] = true
		}
		if place = next; len(changes) == 0 {
			return told, nil
		}
	}
}

// settle takes out of the copy what the server does not have, or puts it there if it was lost: see toldSince.
func (c *Consent) settle(ctx context.Context, k Knowing, fresh *consent.Renewal, kind consent.Kind, has func(consent.Kind, []byte) (bool, error), told map[string]bool) error {
	var gone, lost []consent.Change
	err := c.copy.Scan(ctx, kind, nil, func(key, value []byte) error {
		there, err := has(kind, key)
		switch {
		case err != nil || there:
		case told == nil || told[string(byte(kind))+string(key)]:
			gone = append(gone, consent.Change{Kind: kind, Key: bytes.Clone(key)})
		default:
			lost = append(lost, consent.Change{Kind: kind, Key: bytes.Clone(key), Value: append([]byte{}, value...)})
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := c.copy.Apply(ctx, gone...); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(lost, recordsAtOnce) {
		if err := c.Followed.Apply(ctx, some...); err != nil {
			return err
		}
		if err := k.absorb(fresh, some); err != nil {
			return err
		}
	}
	if len(lost) > 0 {
		c.slog.Warn("the store had lost something: it is there again", "kind", kind.String(), "records", len(lost))
	}
	return nil
}
