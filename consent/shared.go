package consent

import (
	"bytes"
	"context"
)

// Shared is a Store that other processes change as well. Whoever changes what it has read holds it meanwhile.
type Shared interface {
	Store
	// Hold keeps others from holding the same until release is called, or some seconds have gone.
	Hold(ctx context.Context, what []byte) (release func(), err error)
}

// Followed is a Shared store that tells what was changed.
type Followed interface {
	Shared
	// After calls got with some of the opt-outs, grants, templates and orders to forget that were changed after a revision, as they are
	// now, and says where to go on: at the same place where there was nothing. A change that was applied before After was called is
	// told.
	After(ctx context.Context, epoch string, rev int64, got func(Change)) (Place, error)
}

// Place is how far a reader has come.
type Place struct {
	// Epoch is "store run": the store is another one where all was lost, the run where something may be. Store is empty where
	// the store never had anything.
	Epoch string
	Rev   int64
	// Began is the revision that the run began with: what the one before had behind it is lost.
	Began int64
	// All says that more may have been changed than can be told: all has to be read, and then what was changed after Rev.
	All bool
}

// Move copies the records of a store to another that does not have them, so many at a time, and says how many of each kind. What is there
// stays as it is. It may be repeated.
func Move(ctx context.Context, from, to Store, atOnce int) (map[string]int, error) {
	moved := map[string]int{}
	for _, kind := range Kinds() {
		if kind == KindPlace {
			continue
		}
		there := map[string]bool{}
		if err := to.Scan(ctx, kind, nil, func(key, _ []byte) error { there[string(key)] = true; return nil }); err != nil {
			return moved, err
		}
		var batch []Change
		put := func() error {
			err := to.Apply(ctx, batch...)
			if err == nil {
				moved[kind.String()] += len(batch)
				batch = batch[:0]
			}
			return err
		}
		err := from.Scan(ctx, kind, nil, func(key, value []byte) error {
			if there[string(key)] {
				return nil
			}
			if batch = append(batch, Change{kind, bytes.Clone(key), append([]byte{}, value...)}); len(batch) < atOnce {
				return nil
			}
			return put()
		})
		if err == nil && len(batch) > 0 {
			err = put()
		}
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}
