package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/shared"
)

// sharing is what this sidecar and others with the same store know together, beside the counters. Nil where the store is its own.
type sharing struct {
	store    *redisstore.Store
	log      *slog.Logger
	evidence *shared.Evidence
	members  *shared.Members
	local    limiter.Store // for fail_mode local
	outs     *shared.Consent
	running  sync.WaitGroup
	stop     context.CancelFunc
}

// localSize is the memory for fail_mode local: some 100,000 keys while the store is away.
const localSize = 16 << 20

func openSharing(store limiter.Store, secret []byte, log *slog.Logger) (*sharing, error) {
	r, ok := store.(*redisstore.Store)
	if !ok {
		return nil, nil
	}
	evidence, err := shared.NewEvidence(r.Log("evidence", shared.KeepBatches), secret, log)
	if err != nil {
		return nil, err
	}
	local, err := limiter.Open(limiter.Options{Size: localSize, Secret: secret})
	if err != nil {
		return nil, err
	}
	return &sharing{store: r, log: log, evidence: evidence, members: shared.NewMembers(r.Beat, redisstore.BeatEvery), local: local}, nil
}

// replies is the memory of idempotency keys, nil where there is none to share.
func (s *sharing) replies() replies.Shared {
	if s == nil {
		return nil
	}
	return s.store.Replies()
}

// counters are of rules that are not the gate's, nil where there are none to share. Rules of different names do not meet there.
func (s *sharing) counters() limiter.Store {
	if s == nil {
		return nil
	}
	return s.store
}

// join completes the options of the gate.
func (s *sharing) join(o gate.Options) gate.Options {
	if s != nil {
		o.Peers = s.evidence
		o.Local = &gate.Local{Store: s.local, Instances: s.members.Count}
	}
	return o
}

// start learns who may be written to, and then exchanges until close.
func (s *sharing) start(first context.Context, g *gate.Gate, live *lists.Store, known *agreements, seen *evidence) {
	if s == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.log.Info("shared with the other sidecars of the store: counters, outcomes, idempotency keys, lists, consent with its proofs, evidence of abuse")
	forgotten := make(chan struct{}, 1)
	knowing := shared.Knowing{Ledger: known.Ledger, Templates: known.templates, Forget: func(n phone.Number) {
		g.ForgetSeen(n)
		select {
		case forgotten <- struct{}{}:
		default:
		}
	}}
	if err := s.outs.Sync(first, knowing); err != nil {
		s.log.Warn("who opted out could not be read from the store: what was known before holds, and without that sends that need it are refused", "error", err)
	}
	book := shared.NewLists(s.store.Map("lists"), live, s.log)
	s.running.Go(func() { s.members.Run(ctx) })
	s.running.Go(func() { s.evidence.Run(ctx, g) })
	s.running.Go(func() { book.Run(ctx) })
	s.running.Go(func() { s.outs.Run(ctx, knowing) })
	s.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-forgotten:
				if err := seen.save(); err != nil {
					s.log.Error("somebody was forgotten, and what detection knows was not saved anew", "error", err)
				}
			}
		}
	})
}

func (s *sharing) close() {
	if s == nil {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	s.running.Wait()
	s.local.Close()
}
