package shared

import (
	"context"
	"sync/atomic"
	"time"
)

// Members knows how many sidecars there are, as of the last time that the store could tell.
type Members struct {
	beat  func(context.Context) (int, error)
	every time.Duration
	count atomic.Int64
}

// NewMembers is told by what a sidecar says that it is there, which answers how many are, and how often to say so.
func NewMembers(beat func(context.Context) (int, error), every time.Duration) *Members {
	m := &Members{beat: beat, every: every}
	m.count.Store(1)
	return m
}

// Count is at least one.
func (m *Members) Count() int { return int(m.count.Load()) }

// Run beats until ctx ends. While the store is away the count stays.
func (m *Members) Run(ctx context.Context) {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		if n, err := m.beat(ctx); err == nil {
			m.count.Store(int64(max(1, n)))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
