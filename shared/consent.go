package shared

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sendgate/sendgate/consent"
)

// Consent is a store of consent that keeps opt-outs and consent the same on all sidecars; what else there is, proofs above all, stays with
// the sidecar that wrote it. Of two changes the later counts, by the clocks of the sidecars, which have to agree to what lies
// between a STOP and the next START of a person.
//
// A field of the map is the kind and the key of a record, which holds no number; a value is a stamp in microseconds, 1 and the record,
// or 0 where it was removed.
type Consent struct {
	consent.Store
	follower

	mu   sync.Mutex
	out  map[string][]byte // values that wait to be put
	sent map[string]int64  // stamps of what was put and did not come back yet
}

// NewConsent wraps the store of a ledger.
func NewConsent(m Map, store consent.Store, l *slog.Logger) *Consent {
	return &Consent{Store: store, follower: newFollower(m, "opt-outs and consent", l), out: map[string][]byte{}, sent: map[string]int64{}}
}

// fromOthers marks the context of changes that came from other sidecars.
type fromOthers struct{}

// Apply implements [consent.Store]. The others know of a change some milliseconds after, or when the store is back.
func (c *Consent) Apply(ctx context.Context, changes ...consent.Change) error {
	if err := c.Store.Apply(ctx, changes...); err != nil || ctx.Value(fromOthers{}) != nil {
		return err
	}
	stamp := time.Now().UnixMicro()
	c.mu.Lock()
	for _, ch := range changes {
		if ch.Kind == consent.KindOptOut || ch.Kind == consent.KindGrant {
			c.out[field(ch.Kind, ch.Key)] = record(stamp, ch.Value)
		}
	}
	c.mu.Unlock()
	c.changed()
	return nil
}

func field(k consent.Kind, key []byte) string { return string(append([]byte{byte(k)}, key...)) }

func record(stamp int64, value []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(stamp))
	if value == nil {
		return append(b, 0)
	}
	return append(append(b, 1), value...)
}

func stampOf(value []byte) int64 { return int64(binary.BigEndian.Uint64(value)) }

// Run syncs until ctx ends, or the store of the ledger does.
func (c *Consent) Run(ctx context.Context, l *consent.Ledger) {
	c.run(ctx, func() error { return c.Sync(ctx, l) }, func(err error) bool { return errors.Is(err, consent.ErrClosed) })
}

// Sync lets the ledger take over what others changed, and puts what was changed here.
func (c *Consent) Sync(ctx context.Context, l *consent.Ledger) error {
	err := c.pull(ctx, func() (func(string, []byte), func() error) {
		var changes []consent.Change
		var bad error
		return func(field string, value []byte) {
				if ch, news, err := c.take(ctx, field, value); err != nil {
					bad = err
				} else if news {
					changes = append(changes, ch)
				}
			}, func() error {
				if bad != nil || len(changes) == 0 {
					return bad
				}
				return l.Absorb(context.WithValue(ctx, fromOthers{}, true), changes...)
			}
	})
	if err != nil {
		return err
	}
	if !c.read {
		if err := c.missing(ctx); err != nil {
			return err
		}
		c.read, c.seen = true, nil
	}
	return c.put(ctx)
}

// take says what a field changes here, if anything.
func (c *Consent) take(ctx context.Context, name string, value []byte) (ch consent.Change, news bool, err error) {
	if len(name) < 2 || len(value) < 9 {
		return ch, false, errors.New("shared: a record of consent is cut off")
	}
	c.mu.Lock()
	if c.seen != nil {
		c.seen[name] = true
	}
	own, waits := c.out[name]
	waits = waits && stampOf(own) >= stampOf(value)
	back := c.sent[name] == stampOf(value)
	if back {
		delete(c.sent, name)
	}
	c.mu.Unlock()
	if waits || back {
		return ch, false, nil
	}
	ch = consent.Change{Kind: consent.Kind(name[0]), Key: []byte(name[1:])}
	if value[8] == 1 {
		ch.Value = value[9:]
	}
	same := ch.Value == nil
	err = c.Scan(ctx, ch.Kind, ch.Key, func(key, value []byte) error {
		if bytes.Equal(key, ch.Key) {
			same = bytes.Equal(value, ch.Value) && ch.Value != nil
		}
		return nil
	})
	return ch, !same, err
}

// missing puts what is known here and not there: at the start, and when the store has lost it.
func (c *Consent) missing(ctx context.Context) error {
	for _, kind := range []consent.Kind{consent.KindOptOut, consent.KindGrant} {
		err := c.Scan(ctx, kind, nil, func(key, value []byte) error {
			name := field(kind, key)
			c.mu.Lock()
			defer c.mu.Unlock()
			if _, waits := c.out[name]; !waits && !c.seen[name] && len(value) >= 8 {
				c.out[name] = record(stampOf(value)/1000, value) // it begins with when it was made
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// put puts what waits.
func (c *Consent) put(ctx context.Context) error {
	for {
		c.mu.Lock()
		batch := make(map[string][]byte, min(len(c.out), putAtOnce))
		for name, value := range c.out {
			batch[name], c.sent[name] = value, stampOf(value)
			if len(batch) == putAtOnce {
				break
			}
		}
		c.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		names := slices.Sorted(maps.Keys(batch))
		values := make([][]byte, len(names))
		for i, name := range names {
			values[i] = batch[name]
		}
		if err := c.m.Put(ctx, names, values); err != nil {
			return err
		}
		c.mu.Lock()
		for name, value := range batch {
			if bytes.Equal(c.out[name], value) { // else it was changed once more
				delete(c.out, name)
			}
		}
		c.mu.Unlock()
	}
}
