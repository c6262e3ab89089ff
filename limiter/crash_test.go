package limiter_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/limitertest"
)

func openSmall(path string) (limiter.Store, error) {
	return limiter.Open(limiter.Options{Path: path, Size: 4 << 20, Shares: [3]int{1, 2, 3}})
}

func TestMain(m *testing.M) {
	limitertest.CrashChild(openSmall)
	os.Exit(m.Run())
}

// TestCrash kills a process 400 times, or as often as SENDGATE_KILLS says.
func TestCrash(t *testing.T) {
	kills := 400
	if testing.Short() {
		kills = 40
	}
	if v := os.Getenv("SENDGATE_KILLS"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatalf("SENDGATE_KILLS: %v", err)
		}
	}
	limitertest.Crash(t, kills, filepath.Join(t.TempDir(), "table"), openSmall)
}
