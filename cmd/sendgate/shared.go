package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
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

// consent is the store of a ledger that the others are told of.
func (s *sharing) consent(file consent.Store) consent.Store {
	if s == nil {
		return file
	}
	s.outs = shared.NewConsent(s.store.Map("consent"), file, s.log)
	return s.outs
}

// join completes the options of the gate.
func (s *sharing) join(o gate.Options) gate.Options {
	if s != nil {
		o.Peers = s.evidence
		o.Local = &gate.Local{Store: s.local, Instances: s.members.Count}
	}
	return o
}

// start exchanges until close.
func (s *sharing) start(g *gate.Gate, live *lists.Store, known *consent.Ledger) {
	if s == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.log.Info("shared with the other sidecars of the store: counters, outcomes, idempotency keys, lists, opt-outs, evidence of abuse")
	all := shared.NewLists(s.store.Map("lists"), live, s.log)
	s.running.Go(func() { s.members.Run(ctx) })
	s.running.Go(func() { s.evidence.Run(ctx, g) })
	s.running.Go(func() { all.Run(ctx) })
	s.running.Go(func() { s.outs.Run(ctx, known) })
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
