package shared

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
)

// ListsPeriod is how often changes of others are looked for. Own changes are put at once.
const ListsPeriod = 500 * time.Millisecond

// putAtOnce is how many changes are put in one round trip.
const putAtOnce = 200

// Map is where sidecars put what they know together. A value begins with a stamp of 8 bytes, of which the greatest stays.
type Map interface {
	Put(ctx context.Context, fields []string, values [][]byte) error
	// After calls got with some of the fields that were put after a revision, until there are none, and says where to go on. Another
	// epoch than before means that all is read anew.
	After(ctx context.Context, epoch string, rev int64, got func(field string, value []byte)) (string, int64, error)
}

// Lists keeps the lists of run time the same on all sidecars: the change that was made last counts. Each keeps its own journal, so
// that a start needs no store, and a store that has lost everything is filled again by whoever is there. A value is a change as
// the journal has it, behind a stamp in microseconds: of when it was made, or just after what it changes, whatever the clock.
//
// What was removed while the store was away is forgotten by a restart before it is back: then the entry comes again.
type Lists struct {
	follower
	store *lists.Store

	mu      sync.Mutex
	out     map[string]stamped // changes that wait to be put
	stamps  map[string]int64   // of what is known to be there
	removed map[string]stamped // entries that are no more
}

type stamped struct {
	stamp int64
	lists.Change
}

// NewLists begins to follow a store's changes. Run or Sync exchanges them.
func NewLists(m Map, store *lists.Store, l *slog.Logger) *Lists {
	s := &Lists{follower: newFollower(m, "lists", l), store: store, out: map[string]stamped{}, stamps: map[string]int64{}, removed: map[string]stamped{}}
	store.OnChange(s.keep)
	return s
}

func (l *Lists) keep(changes []lists.Change) {
	l.mu.Lock()
	for _, c := range changes {
		field := c.Field()
		l.out[field] = stamped{max(c.Entry.Created.UnixMicro(), max(l.stamps[field], l.out[field].stamp)+1), c}
	}
	l.mu.Unlock()
	l.changed()
}

// Run syncs until ctx ends.
func (l *Lists) Run(ctx context.Context) {
	l.run(ctx, func() error { return l.Sync(ctx) }, func(error) bool { return false })
}

// Sync takes over what others changed, and puts what was changed here.
func (l *Lists) Sync(ctx context.Context) error {
	err := l.pull(ctx, func() (func(string, []byte), func() error) {
		var changes []lists.Change
		var bad error
		return func(field string, value []byte) {
				if c, err := l.take(field, value); err != nil {
					bad = err
				} else if c != nil {
					changes = append(changes, *c)
				}
			}, func() error {
				_, err := l.store.Apply(changes)
				return errors.Join(err, bad)
			}
	})
	if err != nil {
		return err
	}
	if !l.read {
		l.missing()
		l.read, l.seen = true, nil
	}
	return l.put(ctx)
}

// take says what a field of the map changes here, nil for nothing.
func (l *Lists) take(field string, value []byte) (*lists.Change, error) {
	if len(value) < 8 {
		return nil, errors.New("shared: a value of the lists is cut off")
	}
	stamp := int64(binary.BigEndian.Uint64(value))
	c, err := lists.ParseChange(value[8:])
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen != nil {
		l.seen[field] = true
	}
	if own, waits := l.out[field]; waits {
		own.stamp = max(own.stamp, stamp+1) // who changed it here did so last
		l.out[field] = own
		return nil, nil
	}
	if e, there := l.store.Snapshot().Find(c.Entry.List, c.Entry.Target); there && e.Created.UnixMicro() > stamp && l.stamps[field] == 0 {
		// It was changed here while the store was away, before this process started.
		l.out[field] = stamped{e.Created.UnixMicro(), lists.Change{Entry: e}}
		return nil, nil
	}
	l.note(field, stamped{stamp, c})
	return &c, nil
}

// note remembers what is known to be there; l.mu is held.
func (l *Lists) note(field string, s stamped) {
	l.stamps[field] = s.stamp
	if s.Remove {
		l.removed[field] = s
	} else {
		delete(l.removed, field)
	}
}

// missing puts what is known here and not there: at the start, and when the store has lost it.
func (l *Lists) missing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := func(s stamped) {
		field := s.Field()
		if _, waits := l.out[field]; !waits && !l.seen[field] {
			l.out[field] = s
		}
	}
	for e := range l.store.Snapshot().All() {
		c := lists.Change{Entry: e}
		lost(stamped{max(e.Created.UnixMicro(), l.stamps[c.Field()]), c})
	}
	for _, s := range l.removed {
		lost(s)
	}
}

// put puts what waits.
func (l *Lists) put(ctx context.Context) error {
	for {
		l.mu.Lock()
		batch := make(map[string]stamped, min(len(l.out), putAtOnce))
		for field, s := range l.out {
			if batch[field] = s; len(batch) == putAtOnce {
				break
			}
		}
		l.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		fields := slices.Sorted(maps.Keys(batch))
		values := make([][]byte, len(fields))
		for i, field := range fields {
			line, err := batch[field].MarshalText()
			if err != nil {
				return err
			}
			values[i] = append(binary.BigEndian.AppendUint64(nil, uint64(batch[field].stamp)), line...)
		}
		if err := l.m.Put(ctx, fields, values); err != nil {
			return err
		}
		l.mu.Lock()
		for field, s := range batch {
			l.note(field, s)
			if l.out[field].stamp == s.stamp { // else it was changed once more
				delete(l.out, field)
			}
		}
		l.mu.Unlock()
	}
}
