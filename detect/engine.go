package detect

import (
	"fmt"
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
//
// Locking: a call holds the stripe of its number while it works (two sends to one number wait for each other, others do not),
// and under it one short lock at a time: a stripe of cells, a country, a row of the ring, the list of blocks.
type Engine struct {
	policy      atomic.Pointer[Policy]
	base        atomic.Int64
	seed, seed2 uint64
	mem         *memory

	numbers   table[numberCell]
	ranges    table[rangeCell]
	addresses table[addressCell] // addresses and their blocks
	origins   table[originCell]
	accounts  table[accountCell]
	sessions  sessions
	ids       ids
	known     bloom
	countries []country
	blocks    blocklist
}

// Shares of the memory, in thousandths. A new number costs one number cell and about four range cells.
const (
	shareNumbers   = 210
	shareRanges    = 430
	shareAddresses = 120
	shareOrigins   = 20
	shareAccounts  = 10
	shareSessions  = 90
	shareIDs       = 60
	shareKnown     = 40 // the rest is for rounding and the list of blocks
)

// New makes an engine with empty tables. Close frees them.
func New(o Options) (*Engine, error) {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Size < MinSize || o.Size > MaxSize {
		return nil, fmt.Errorf("detect: size of %d bytes: write from %d to %d", o.Size, MinSize, int64(MaxSize))
	}
	e := &Engine{seed: o.Seed ^ 0x8bb84b93962eacc9, seed2: (o.Seed ^ 0x2d358dccaa6c78a5) * 0x9e3779b97f4a7c15}
	if err := e.SetPolicy(o.Policy); err != nil {
		return nil, err
	}
	mem, err := newMemory(o.Size)
	if err != nil {
		return nil, err
	}
	e.mem = mem
	part := func(thousandths int64) int64 { return o.Size / 1000 * thousandths }
	e.numbers = newTable[numberCell](mem, part(shareNumbers))
	e.ranges = newTable[rangeCell](mem, part(shareRanges))
	e.addresses = newTable[addressCell](mem, part(shareAddresses))
	e.origins = newTable[originCell](mem, part(shareOrigins))
	e.accounts = newTable[accountCell](mem, part(shareAccounts))
	e.sessions = sessions{rows: carve[session](mem, int(part(shareSessions)/64)), locks: make([]lock, stripes), next: 1, due: 1}
	e.ids = ids{lines: carve[idCell](mem, int(part(shareIDs)/64)), locks: make([]lock, stripes)}
	for i := range e.known.gens {
		e.known.gens[i] = carve[uint64](mem, int(part(shareKnown)/2/64)*8)
	}
	e.countries = make([]country, countries)
	for i := range e.countries {
		e.countries[i].init()
	}
	e.blocks.rows = make([]blockRow, o.Size>>14)
	return e, nil
}

// SetPolicy replaces the policy. The next send sees all of it. State is kept.
func (e *Engine) SetPolicy(p Policy) error {
	ready, err := p.Ready()
	if err != nil {
		return err
	}
	e.policy.Store(ready)
	return nil
}

// Close frees the tables. No method may be called after or during it.
func (e *Engine) Close() error { return e.mem.free() }

// Alerts returns the alerts after a sequence number, oldest first. The latest 1024 are kept.
func (e *Engine) Alerts(after uint64) []Alert { return e.blocks.after(after) }

// Blocks lists the blocks in force at a time, the newest first.
func (e *Engine) Blocks(at int64) []Block { return e.blocks.list(at) }

// Stats of an engine.
type Stats struct {
	Bytes   int64 // size of the tables
	Numbers TableStats
	Ranges  TableStats
	Address TableStats
	Lost    uint64 // sessions overwritten before they could be judged
	Alerts  uint64
}

// TableStats of one table.
type TableStats struct {
	Cells   uint64 // that fit
	Used    uint64
	Evicted uint64 // cells that made room for others
	Refused uint64 // keys not remembered because a whole bucket was blocks in force
}

// Stats is a cheap snapshot of counters.
func (e *Engine) Stats() Stats {
	s := Stats{Bytes: int64(len(e.mem.all))}
	s.Numbers = tableStats(&e.numbers)
	s.Ranges = tableStats(&e.ranges)
	s.Address = tableStats(&e.addresses)
	e.sessions.mu.Lock()
	s.Lost = e.sessions.lost
	e.sessions.mu.Unlock()
	e.blocks.mu.Lock()
	s.Alerts = e.blocks.seq
	e.blocks.mu.Unlock()
	return s
}

func tableStats[T any](t *table[T]) TableStats {
	used, evicted, refused := t.counts()
	return TableStats{Cells: uint64(len(t.cells)), Used: used, Evicted: evicted, Refused: refused}
}
