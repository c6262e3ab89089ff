package consent

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// Options of Open.
type Options struct {
	// Store keeps what must not be lost. Required. The ledger does not close it.
	Store Store
	// Secret seals numbers: 16 bytes or more. Required.
	Secret []byte
	// Old secrets, three at most, still find what they sealed; each costs every question one more HMAC. What is written about a
	// number moves all of it to the newest secret; Report tells how much an old one still holds.
	Old [][]byte
	// Rules are the first ones.
	Rules Rules
	// Copy has the opt-outs and consent of a Shared store as of some time, to begin with, and the place that it has come to. Without a place
	// it has nothing, and sends are ReasonUnavailable until Renewal.Use. Who gives one keeps it, and tells the ledger of changes by
	// others: see Absorb and Renew. Default: they are read from the Store.
	Copy Store
	// Bulk is how many changes of an import or a sweep are one transaction. Default 16384; a store that answers others meanwhile
	// wants fewer.
	Bulk int
}

// Ledger answers who may be written to, and writes down why. It is safe for concurrent use: questions are answered from memory
// and never wait for the disk; a change counts once it is on disk, and is answered after that.
type Ledger struct {
	store   Store
	shared  Shared // the store, where others change it as well; else nil
	atOnce  int
	sealers []*sealer // the newest first
	rules   atomic.Pointer[Rules]

	scopes scopes
	known
	unread atomic.Bool // nothing is known yet

	// Changes of one person follow one another, on disk as in memory; a bulk change follows all of them.
	persons [256]sync.Mutex
	bulk    sync.RWMutex
	events  atomic.Uint32 // makes keys of proofs of one moment differ
}

// Open reads what the store has. Opt-outs sealed with a secret that is not given are an error: they would be forgotten.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	if o.Store == nil {
		return nil, errors.New("consent: Options.Store is required")
	}
	sealers, err := newSealers(o.Secret, o.Old)
	if err != nil {
		return nil, err
	}
	l := &Ledger{store: o.Store, sealers: sealers, atOnce: cmp.Or(max(0, o.Bulk), bulkChanges)}
	l.shared, _ = o.Store.(Shared)
	l.events.Store(rand.Uint32N(1 << 31)) // not where the process before began: platforms tell times in whole seconds
	if err := l.SetRules(o.Rules); err != nil {
		return nil, err
	}
	from := o.Copy
	if from == nil {
		from = o.Store
	} else {
		l.unread.Store(true)
		if err := from.Scan(ctx, KindPlace, nil, func(_, _ []byte) error { l.unread.Store(false); return nil }); err != nil {
			return nil, err
		}
	}
	if l.shared == nil { // else an import may be one that another process is at: see Sweep
		if err := l.undoImports(ctx, func([]byte, time.Time) bool { return true }); err != nil {
			return nil, err
		}
	}
	for _, kind := range []Kind{KindOptOut, KindGrant} {
		if err := from.Scan(ctx, kind, nil, func(key, value []byte) error { return l.Absorb(Change{kind, key, value}) }); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// SetRules replaces the rules. The next question is answered by the new ones.
func (l *Ledger) SetRules(r Rules) error {
	checked, err := r.Checked()
	if err != nil {
		return err
	}
	l.rules.Store(checked)
	return nil
}

// entry is what a record of an opt-out or of consent is in memory. Its value begins with the time in nanoseconds.
func (l *Ledger) entry(c Change) (slot, error) {
	p, rest, err := readPerson(c.Key)
	if err != nil {
		return slot{}, err
	}
	if !l.knows(p.key) {
		return slot{}, fmt.Errorf("consent: records are sealed with another secret (%08x): give that one, too, as an old secret", uint32(p.key))
	}
	where, err := readPlace(rest)
	if err != nil {
		return slot{}, err
	}
	e := slot{seal: p.seal, scope: l.scopes.id(where)}
	if c.Value != nil {
		if len(c.Value) < 8 {
			return slot{}, fmt.Errorf("consent: a record of kind %s is cut off", c.Kind)
		}
		e.since = seconds(int64(binary.BigEndian.Uint64(c.Value)))
	}
	return e, nil
}

func (l *Ledger) knows(id keyID) bool {
	for _, s := range l.sealers {
		if s.id == id {
			return true
		}
	}
	return false
}

// person is how a number is known under the newest secret.
func (l *Ledger) person(n phone.Number) person {
	s := l.sealers[0]
	return person{s.id, s.number(n.Digits())}
}

// Subject is how a number is called in exports, due lists and reports.
func (l *Ledger) Subject(n phone.Number) string { return l.person(n).String() }

// hold keeps other changes of a person away until it is released, and moves what old secrets sealed to the newest one.
func (l *Ledger) hold(ctx context.Context, n phone.Number) (p person, release func(), err error) {
	if n.IsZero() {
		return p, nil, errors.New("consent: number: give one")
	}
	p = l.person(n)
	l.bulk.RLock()
	m := &l.persons[p.seal[len(p.seal)-1]]
	m.Lock()
	release = func() { m.Unlock(); l.bulk.RUnlock() }
	if l.shared != nil {
		free, err := l.shared.Hold(ctx, p.append(nil))
		if err != nil {
			release()
			return p, nil, err
		}
		here := release
		release = func() { free(); here() }
	}
	if err = l.reseal(ctx, n, p); err == nil && l.shared != nil {
		err = l.refresh(ctx, p)
	}
	if err != nil {
		release()
		return p, nil, err
	}
	return p, release, nil
}

// refresh makes what is in memory of a person what the store has now: others may have changed it a moment ago.
func (l *Ledger) refresh(ctx context.Context, p person) error {
	for _, kind := range []Kind{KindOptOut, KindGrant} {
		t, there := l.table(kind), []slot(nil)
		err := l.store.Scan(ctx, kind, p.append(nil), func(key, value []byte) error {
			e, err := l.entry(Change{kind, key, value})
			there = append(there, e)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range there {
			t.put(e)
		}
		for _, e := range t.look(&p.seal, nil) {
			if !slices.ContainsFunc(there, func(s slot) bool { return s.scope == e.scope }) {
				t.drop(&p.seal, e.scope)
			}
		}
	}
	return nil
}

// reseal moves everything about a number from old secrets to the newest.
func (l *Ledger) reseal(ctx context.Context, n phone.Number, to person) error {
	for _, s := range l.sealers[1:] {
		from := person{s.id, s.number(n.Digits())}
		var changes []Change
		var moved []func()
		for _, kind := range ofPersons() {
			err := l.store.Scan(ctx, kind, from.append(nil), func(key, value []byte) error {
				rest := append([]byte(nil), key[personSize:]...)
				changes = append(changes, Change{kind, append(to.append(nil), rest...), append([]byte(nil), value...)},
					Change{Kind: kind, Key: append(from.append(nil), rest...)})
				if kind != KindOptOut && kind != KindGrant {
					return nil
				}
				where, err := readPlace(rest)
				if err != nil {
					return err
				}
				t, id, since := l.table(kind), l.scopes.id(where), seconds(int64(binary.BigEndian.Uint64(value)))
				// The new one first: a question in between finds one of the two.
				moved = append(moved, func() { t.put(slot{to.seal, id, since}); t.drop(&from.seal, id) })
				return nil
			})
			if err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			continue
		}
		if err := l.store.Apply(ctx, changes...); err != nil {
			return err
		}
		for _, move := range moved {
			move()
		}
	}
	return nil
}

// ofPersons are the kinds whose keys begin with a person.
func ofPersons() []Kind { return []Kind{KindOptOut, KindGrant, KindProof, KindMessage} }

// Reseal moves what is known of a number to the newest secret. An operator who has the numbers calls it for each, and can then
// drop the old secret.
func (l *Ledger) Reseal(ctx context.Context, n phone.Number) error {
	_, release, err := l.hold(ctx, n)
	if err != nil {
		return err
	}
	release()
	return nil
}

// seconds is a time as a slot holds it.
func seconds(nanos int64) uint32 { return uint32(max(1, min(nanos/int64(time.Second), 1<<32-1))) }

func moment(seconds uint32) time.Time { return time.Unix(int64(seconds), 0).UTC() }
