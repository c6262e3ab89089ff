package limiter_test

import (
	"path/filepath"
	"testing"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/limitertest"
)

func openTable(t *testing.T, o limiter.Options) *limiter.Table {
	t.Helper()
	tab, err := limiter.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

func settled(t *testing.T, s limiter.Store) {
	t.Helper()
	if words := limiter.Undecided(s); len(words) > 0 {
		t.Errorf("%d words are undecided: %v", len(words), words[:min(5, len(words))])
	}
}

func TestStore_memory(t *testing.T) {
	limitertest.Suite{
		Open: func(t *testing.T) limiter.Store {
			return openTable(t, limiter.Options{Size: 32 << 20, Shares: [3]int{1, 2, 6}})
		},
		Tight:   func(t *testing.T) limiter.Store { return openTable(t, limiter.Options{Size: 1 << 20}) },
		Settled: settled,
	}.Run(t)
}

func TestStore_file(t *testing.T) {
	paths := map[limiter.Store]string{}
	open := func(t *testing.T, path string) limiter.Store {
		tab := openTable(t, limiter.Options{Path: path, Size: 16 << 20, Shares: [3]int{1, 2, 6}})
		paths[tab] = path
		return tab
	}
	limitertest.Suite{
		Open: func(t *testing.T) limiter.Store { return open(t, filepath.Join(t.TempDir(), "table")) },
		Reopen: func(t *testing.T, s limiter.Store) limiter.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[s])
		},
		Tight: func(t *testing.T) limiter.Store {
			return openTable(t, limiter.Options{Path: filepath.Join(t.TempDir(), "tight"), Size: 1 << 20})
		},
		Steps: 0.05,
	}.Run(t)
}

// TestStore_heap is for the race detector, which cannot see mapped memory.
func TestStore_heap(t *testing.T) {
	limitertest.Suite{
		Open: func(t *testing.T) limiter.Store {
			return limiter.OpenHeap(t, limiter.Options{Size: 16 << 20, Shares: [3]int{1, 2, 6}})
		},
		Tight:   func(t *testing.T) limiter.Store { return limiter.OpenHeap(t, limiter.Options{Size: 1 << 20}) },
		Settled: settled,
		Steps:   0.2,
	}.Run(t)
}
