package shared

import (
	"context"
	"log/slog"
	"time"
)

// follower is what every piece of knowledge that lies in a Map needs: when to look, how far it has read, and whether the store is there.
// All but wake and seen belong to the one goroutine that syncs.
type follower struct {
	m    Map
	slog *slog.Logger
	what string // that is shared, for the log
	wake chan struct{}

	epoch string
	rev   int64
	read  bool            // the whole epoch
	seen  map[string]bool // fields of the epoch, until it is read
	away  bool
}

func newFollower(m Map, what string, l *slog.Logger) follower {
	return follower{m: m, slog: l, what: what, wake: make(chan struct{}, 1), seen: map[string]bool{}}
}

// changed has what changed here put soon.
func (f *follower) changed() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run syncs until ctx ends or an error is the last.
func (f *follower) run(ctx context.Context, sync func() error, last func(error) bool) {
	tick := time.NewTicker(ListsPeriod)
	defer tick.Stop()
	for {
		err := sync()
		if ctx.Err() != nil || last(err) {
			return
		}
		if away := err != nil; away != f.away {
			f.away = away
			if away {
				f.slog.Warn(f.what+" are not shared now: changes stay here until they are again", "error", err)
			} else {
				f.slog.Info(f.what + " are shared again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-tick.C:
		}
	}
}

// pull reads all that others put since the last time. Each answer of the store is a round: got is told its fields, then apply takes
// over what they change. After an error the same comes again later: nothing is passed over.
func (f *follower) pull(ctx context.Context, round func() (got func(field string, value []byte), apply func() error)) error {
	for {
		got, apply := round()
		n := 0
		epoch, rev, err := f.m.After(ctx, f.epoch, f.rev, func(field string, value []byte) {
			n++
			got(field, value)
		})
		if err != nil {
			return err
		}
		if epoch != f.epoch {
			f.epoch, f.rev, f.read, f.seen = epoch, 0, false, map[string]bool{}
			if n > 0 {
				continue // what this answer told was of the new epoch, and is told again
			}
		}
		if err := apply(); err != nil {
			return err
		}
		if f.rev = rev; n == 0 {
			return nil
		}
	}
}
