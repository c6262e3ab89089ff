package detect

import (
	"sync/atomic"
	"unsafe"
)

// bloom remembers which numbers verified after their cells have made room: two generations of 512-bit lines, seven bits a
// number. A generation lasts 15 to 30 days, or until it is so full that one stranger in a hundred would pass for known.
type bloom struct {
	gens  [2][]uint64
	young atomic.Uint32 // which generation is written
	count atomic.Int64
	since atomic.Uint32 // tick
}

func (b *bloom) line(gen uint32, h uint64) []uint64 {
	g := b.gens[gen]
	i := h % uint64(len(g)/8) * 8
	return g[i : i+8]
}

// bits are seven places in a line of 512, from the upper half of a second mix.
func bloomBits(h uint64) uint64 { return (h ^ h>>29) * 0xbf58476d1ce4e5b9 }

// fetch asks for the lines of a number.
func (b *bloom) fetch(h uint64) {
	for gen := range uint32(2) {
		prefetch(unsafe.Pointer(&b.line(gen, h)[0]))
	}
}

func (b *bloom) has(h uint64) bool {
	for gen := range uint32(2) {
		l, x, in := b.line(gen, h), bloomBits(h), true
		for range 7 {
			if atomic.LoadUint64(&l[x>>61])&(1<<(x>>55&63)) == 0 {
				in = false
				break
			}
			x <<= 9
		}
		if in {
			return true
		}
	}
	return false
}

func (b *bloom) add(h uint64, now tick) {
	b.turn(now)
	l, x := b.line(b.young.Load(), h), bloomBits(h)
	fresh := false
	for range 7 {
		bit := uint64(1) << (x >> 55 & 63)
		fresh = atomic.OrUint64(&l[x>>61], bit)&bit == 0 || fresh
		x <<= 9
	}
	if fresh {
		b.count.Add(1)
	}
}

// turn starts a new generation when the young one is old or full. Two callers at once clear the same lines twice at worst.
func (b *bloom) turn(now tick) {
	y, since := b.young.Load(), b.since.Load()
	full := b.count.Load() > int64(len(b.gens[y]))*64/10
	if since != 0 && !full && now < tick(since)+15*day {
		return
	}
	if !b.since.CompareAndSwap(since, uint32(now)) || since == 0 {
		return
	}
	b.count.Store(0)
	old := b.gens[1-y]
	for i := range old {
		atomic.StoreUint64(&old[i], 0)
	}
	b.young.Store(1 - y)
}
