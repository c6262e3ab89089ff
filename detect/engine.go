package detect

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// Bounds of [Options.Size].
const (
	DefaultSize = 64 << 20
	MinSize     = 4 << 20
	MaxSize     = 64 << 30
)

// Options of [New].
type Options struct {
	// Size is the memory for all tables, in bytes. Default 64 MiB.
	Size int64
	// Seed makes the hash secret, so that nobody can aim at a table. Random in production; the same for a repeatable replay.
	Seed uint64
	// Policy is the first policy; its zero value is the default.
	Policy Policy
}

// Engine detects. Every method is safe for concurrent use.
type Engine struct {
	policy atomic.Pointer[Policy]
}

type undo struct {
	set bool
}

// New makes an engine with empty tables. Close frees them.
func New(o Options) (*Engine, error) {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Size < MinSize || o.Size > MaxSize {
		return nil, fmt.Errorf("detect: size of %d bytes: write from %d to %d", o.Size, MinSize, MaxSize)
	}
	e := &Engine{}
	if err := e.SetPolicy(o.Policy); err != nil {
		return nil, err
	}
	return e, nil
}

// SetPolicy replaces the policy. The next send sees all of it. State is kept.
func (e *Engine) SetPolicy(p Policy) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("detect: %w", err)
	}
	e.policy.Store(&p)
	return nil
}

// Observe judges a send and remembers it, on the understanding that the advice is followed.
func (e *Engine) Observe(s *Send) Result { return Result{} }

// Denied takes back what Observe remembered: the caller's own limits stopped the send.
func (e *Engine) Denied(s *Send, r *Result) {}

// Admitted says that the send went out although the advice was to stop it.
func (e *Engine) Admitted(s *Send, r *Result) {}

// Outcome reports what became of a send. It returns false when the send is not known or no longer remembered.
func (e *Engine) Outcome(at int64, id uint64, o OutcomeKind) bool { return false }

// Blocks lists the blocks in force at a time, the newest first.
func (e *Engine) Blocks(at int64) []Block { return nil }

// Release ends a block. It returns false when there is none of that ID.
func (e *Engine) Release(at int64, id uint64) bool { return false }

// Alerts returns the alerts after a sequence number, oldest first. Old ones are forgotten.
func (e *Engine) Alerts(after uint64) []Alert { return nil }

// Stats is a cheap snapshot of counters.
func (e *Engine) Stats() Stats { return Stats{} }

// Stats of an engine.
type Stats struct {
	Bytes int64 // size of the tables
}

// Snapshot writes all state. Calls may go on meanwhile; each cell is written whole.
func (e *Engine) Snapshot(w io.Writer) error { return errors.New("detect: no snapshot yet") }

// Restore replaces all state by a snapshot of an engine of the same size. On an error the engine is as it was.
func (e *Engine) Restore(r io.Reader) error { return errors.New("detect: no snapshot yet") }

// Close frees the tables. No method may be called after or during it.
func (e *Engine) Close() error { return nil }
