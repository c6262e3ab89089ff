package consent

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store that outlives nothing: for tests, replay, and a gate without a folder. The zero value is ready.
type Memory struct {
	mu      sync.Mutex
	records map[Kind]map[string][]byte
	closed  bool
}

var _ Store = (*Memory)(nil)

// Apply does what Store says, but for the crash.
func (m *Memory) Apply(ctx context.Context, changes ...Change) error {
	if err := CheckChanges(changes); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.records == nil {
		m.records = make(map[Kind]map[string][]byte)
	}
	for _, c := range changes {
		if m.records[c.Kind] == nil {
			m.records[c.Kind] = make(map[string][]byte)
		}
		if c.Value == nil {
			delete(m.records[c.Kind], string(c.Key))
		} else {
			m.records[c.Kind][string(c.Key)] = bytes.Clone(c.Value)
		}
	}
	return nil
}

// Scan does what Store says.
func (m *Memory) Scan(ctx context.Context, kind Kind, prefix []byte, each func(key, value []byte) error) error {
	if kind.String() == "unknown" {
		return fmt.Errorf("consent: scan of kind %d: use one of Kinds", kind)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	seen := maps.Clone(m.records[kind]) // values are never changed in place
	m.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		if !strings.HasPrefix(k, string(prefix)) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each([]byte(k), seen[k]); err != nil {
			return err
		}
	}
	return nil
}

// Close does what Store says.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
