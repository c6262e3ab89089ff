//go:build !race

package limiter

import "sync/atomic"

func load(p *uint64) uint64                { return atomic.LoadUint64(p) }
func store(p *uint64, v uint64)            { atomic.StoreUint64(p, v) }
func cas(p *uint64, old, next uint64) bool { return atomic.CompareAndSwapUint64(p, old, next) }
