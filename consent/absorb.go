package consent

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Absorb takes over changes that another ledger with the same secrets made to its store: opt-outs and consent, and no others. When it
// returns they are on disk, and every question knows them.
func (l *Ledger) Absorb(ctx context.Context, changes ...Change) error {
	l.bulk.Lock()
	defer l.bulk.Unlock()
	todo := make([]func(), 0, len(changes))
	for _, c := range changes {
		if c.Kind != KindOptOut && c.Kind != KindGrant {
			return fmt.Errorf("consent: a record of kind %s is nobody else's", c.Kind)
		}
		p, rest, err := readPerson(c.Key)
		if err != nil {
			return err
		}
		if !l.knows(p.key) {
			return fmt.Errorf("consent: another sidecar seals with another secret (%08x): give all the same", uint32(p.key))
		}
		where, err := readPlace(rest)
		if err != nil {
			return err
		}
		t, id := l.table(c.Kind), l.scopes.id(where)
		switch {
		case c.Value == nil:
			todo = append(todo, func() { t.drop(&p.seal, id) })
		case len(c.Value) < 8:
			return fmt.Errorf("consent: a record of kind %s is cut off", c.Kind)
		default:
			since := seconds(int64(binary.BigEndian.Uint64(c.Value)))
			todo = append(todo, func() { t.put(slot{p.seal, id, since}) })
		}
	}
	if err := l.store.Apply(ctx, changes...); err != nil {
		return err
	}
	for _, f := range todo {
		f()
	}
	return nil
}
