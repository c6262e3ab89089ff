package shared

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/gate"
)

// Period is how often evidence is exchanged. What one sidecar sees, another has after two periods and a round trip, at most.
const Period = 200 * time.Millisecond

const (
	// batchSize is about how large a batch gets: 64 KiB, some 1800 sends.
	batchSize = 64 << 10
	// atOnce is how many batches are appended in one exchange, and waiting how many may wait for a store that is away. What
	// does not fit is dropped and counted: what was seen long ago helps little.
	atOnce  = 4
	waiting = 16
	// unlearnedMost and unlearnedFor bound what waits for the send that it is about: an outcome may be faster than its send, which
	// comes from another sidecar.
	unlearnedMost = 4096
	unlearnedFor  = 10 // exchanges
)

// KeepBatches is how many batches a log for evidence should keep: a minute of five sidecars, and 64 MiB where all are full.
const KeepBatches = 1024

// Log is where sidecars append and read batches. An entry has an ID; IDs are in the order of the entries.
type Log interface {
	// End is the ID of the newest entry.
	End(ctx context.Context) (string, error)
	// Exchange appends entries and calls got with those after an ID, as many as fit one answer, and says how many they were.
	Exchange(ctx context.Context, entries [][]byte, after string, got func(id string, data []byte)) (int, error)
}

// Evidence exchanges what detection sees with the other sidecars. It is the gate's [gate.Peers]. It is safe for concurrent use,
// but for Exchange.
type Evidence struct {
	log    Log
	seal   seal
	sender [8]byte
	slog   *slog.Logger

	mu      sync.Mutex
	records []byte   // of the batch that is being filled
	base    int64    // its time
	full    [][]byte // records of batches that wait
	pending []unlearned

	// Of Exchange.
	number  uint32
	sealed  [][]byte // were sent, perhaps in vain: they are sent again as they are
	after   string
	senders map[[8]byte]*sender
	away    bool

	stats struct{ told, dropped, learned, lost, refused, unlearned, exchanges, failed atomic.Int64 }
}

type unlearned struct {
	gate.Sighting
	left int
}

// sender is another sidecar.
type sender struct {
	last  uint32
	quiet int // exchanges since it was heard
}

// forgetSender is after how many exchanges without a word a sidecar is forgotten: an hour.
const forgetSender = int(time.Hour / Period)

// EvidenceStats count since the start.
type EvidenceStats struct {
	Told      int64 // sightings for the others
	Dropped   int64 // of them, for which there was no room while the store was away
	Learned   int64 // sightings of others
	Lost      int64 // batches of others that were gone before they were read
	Refused   int64 // entries that no sidecar of this secret wrote
	Unlearned int64 // outcomes of sends that nobody knew
	Exchanges int64 // with the store
	Failed    int64 // of them
}

// NewEvidence prepares the exchange. The secret is the one that the sidecars share.
func NewEvidence(log Log, secret []byte, l *slog.Logger) (*Evidence, error) {
	s, err := newSeal(secret)
	if err != nil {
		return nil, err
	}
	e := &Evidence{log: log, seal: s, slog: l, senders: map[[8]byte]*sender{}}
	rand.Read(e.sender[:]) // never fails
	return e, nil
}

// Saw implements [gate.Peers]. It costs some 100 ns and never waits for the store.
func (e *Evidence) Saw(s *gate.Sighting, learned bool) {
	e.stats.told.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !learned {
		e.postpone(s, unlearnedFor)
	}
	if len(e.full) == waiting {
		e.stats.dropped.Add(1)
		return
	}
	if len(e.records) == 0 {
		e.base = s.Send.At / milli
		e.records = binary.AppendVarint(e.records, e.base)
	}
	if e.records = appendRecord(e.records, e.base, s); len(e.records) >= batchSize {
		e.full, e.records = append(e.full, e.records), nil
	}
}

// postpone keeps a sighting to be learned later; e.mu is held.
func (e *Evidence) postpone(s *gate.Sighting, left int) {
	if left == 0 || len(e.pending) == unlearnedMost {
		e.stats.unlearned.Add(1)
		return
	}
	e.pending = append(e.pending, unlearned{*s, left})
}

// Run exchanges until ctx ends, and tells what is left then.
func (e *Evidence) Run(ctx context.Context, g *gate.Gate) {
	tick := time.NewTicker(Period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = e.Exchange(last, g)
			cancel()
			return
		case <-tick.C:
		}
		err := e.Exchange(ctx, g)
		if away := err != nil && ctx.Err() == nil; away != e.away {
			e.away = away
			if away {
				e.slog.Warn("evidence of the other sidecars does not come: detection goes by what this one sees", "error", err)
			} else {
				e.slog.Info("evidence of the other sidecars comes again", "dropped", e.stats.dropped.Load(), "lost", e.stats.lost.Load())
			}
		}
	}
}

// Exchange tells the others what was seen since the last time, and lets the gate learn what they told.
func (e *Evidence) Exchange(ctx context.Context, g *gate.Gate) error {
	e.stats.exchanges.Add(1)
	e.fill()
	for {
		if e.after == "" { // what was told before this one came is for those who were there
			end, err := e.log.End(ctx)
			if err != nil {
				e.stats.failed.Add(1)
				return err
			}
			e.after = end
		}
		n, err := e.log.Exchange(ctx, e.sealed, e.after, func(id string, data []byte) {
			e.after = id
			e.learn(g, data)
		})
		if err != nil {
			e.stats.failed.Add(1)
			return err
		}
		e.sealed = nil
		if n < readAtOnce {
			break
		}
	}
	e.again(g)
	for id, s := range e.senders {
		if s.quiet++; s.quiet > forgetSender {
			delete(e.senders, id)
		}
	}
	return nil
}

// readAtOnce is how many entries an exchange gives, so that the rest is asked for at once.
const readAtOnce = 256

// fill seals what waits.
func (e *Evidence) fill() {
	if len(e.sealed) > 0 {
		return
	}
	e.mu.Lock()
	n := min(len(e.full), atOnce)
	batches := e.full[:n:n]
	if e.full = e.full[n:]; len(e.full) == 0 && len(e.records) > 0 {
		batches = append(batches, e.records)
		e.full, e.records = nil, nil
	}
	e.mu.Unlock()
	for _, records := range batches {
		e.number++
		e.sealed = append(e.sealed, e.seal.batch(e.sender, e.number, records))
	}
}

// learn reads a batch.
func (e *Evidence) learn(g *gate.Gate, data []byte) {
	from, number, records, err := e.seal.open(data)
	if err == nil && from == e.sender {
		return
	}
	if err == nil {
		s := e.senders[from]
		switch {
		case s == nil:
			s = &sender{}
			e.senders[from] = s
		case number <= s.last:
			return // it was told twice
		default:
			e.stats.lost.Add(int64(number - s.last - 1))
		}
		s.last, s.quiet = number, 0
		err = readRecords(records, func(s *gate.Sighting) {
			e.stats.learned.Add(1)
			if !g.Learn(s) {
				e.mu.Lock()
				e.postpone(s, unlearnedFor)
				e.mu.Unlock()
			}
		})
	}
	if err != nil {
		e.stats.refused.Add(1)
	}
}

// again tries what was postponed.
func (e *Evidence) again(g *gate.Gate) {
	e.mu.Lock()
	pending := e.pending
	e.pending = nil
	e.mu.Unlock()
	for i := range pending {
		if p := &pending[i]; !g.Learn(&p.Sighting) {
			e.mu.Lock()
			e.postpone(&p.Sighting, p.left-1)
			e.mu.Unlock()
		}
	}
}

// Stats is a cheap snapshot.
func (e *Evidence) Stats() EvidenceStats {
	s := &e.stats
	return EvidenceStats{Told: s.told.Load(), Dropped: s.dropped.Load(), Learned: s.learned.Load(), Lost: s.lost.Load(), Refused: s.refused.Load(),
		Unlearned: s.unlearned.Load(), Exchanges: s.exchanges.Load(), Failed: s.failed.Load()}
}
