package shared

import (
	"context"
	"log/slog"
	"time"
)

// pace is when to look at a store, and whether it is there.
type pace struct {
	slog      *slog.Logger
	what      string // that is shared, and what becomes of it while it is not, for the log
	meanwhile string
	every     time.Duration
	wake      chan struct{}
	away      bool // belongs to the goroutine that runs
}

// follower is what every piece of knowledge that lies in a Map needs: how far it has read. All but seen belong to the one goroutine that
// syncs.
type follower struct {
	pace
	m     Map
	epoch string
	rev   int64
	read  bool            // the whole epoch
	seen  map[string]bool // fields of the epoch, until it is read
}

func newFollower(m Map, what string, l *slog.Logger) follower {
	return follower{pace: pace{slog: l, what: what, meanwhile: "changes stay here until they are again", every: ListsPeriod, wake: make(chan struct{}, 1)}, m: m, seen: map[string]bool{}}
}

// changed has what changed here put soon.
func (f *pace) changed() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run syncs until ctx ends or an error is the last.
func (f *pace) run(ctx context.Context, sync func() error, last func(error) bool) {
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		err := sync()
		if ctx.Err() != nil || last(err) {
			return
		}
		if away := err != nil; away != f.away {
			f.away = away
			if away {
				f.slog.Warn(f.what+" are not shared now: "+f.meanwhile, "error", err)
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
