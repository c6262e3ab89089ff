package gate_test

import (
	"path/filepath"
	"testing"

	"github.com/sendgate/sendgate/gate/gatetest"
	"github.com/sendgate/sendgate/limiter"
)

func TestScenarios(t *testing.T) {
	for name, path := range map[string]func(*testing.T) string{
		"memory": func(*testing.T) string { return "" },
		"file":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "counters") },
	} {
		t.Run(name, func(t *testing.T) {
			gatetest.Scenarios(t, "testdata/scenarios", func(t *testing.T) limiter.Store {
				store, err := limiter.Open(limiter.Options{Path: path(t), Size: 4 << 20})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { store.Close() })
				return store
			})
		})
	}
}
