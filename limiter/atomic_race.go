//go:build race

package limiter

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// Under the race detector a goroutine may lose its turn before any access to a word of the table, so that a test on few cores
// meets the interleavings that otherwise need many cores and weeks.

func load(p *uint64) uint64 {
	turn()
	return atomic.LoadUint64(p)
}

func store(p *uint64, v uint64) {
	turn()
	atomic.StoreUint64(p, v)
}

func cas(p *uint64, old, next uint64) bool {
	turn()
	return atomic.CompareAndSwapUint64(p, old, next)
}

func turn() {
	if rand.Uint32()%48 == 0 {
		runtime.Gosched()
	}
}
