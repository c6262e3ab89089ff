package detect

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

const ways = 8

// A table is a fixed number of buckets of eight 64-byte cells. The tags of a bucket share one cache line, so that finding a cell
// or finding that there is none costs one line, and using it one more.
//
// Every cell has a moment until which it is worth keeping: its last use plus what its content is worth. A stranger that needs
// room takes the cell that is worth keeping the least. A pinned cell (a block in force) is not taken before its moment, so a
// flood of strangers evicts strangers.
type table[T any] struct {
	heads []head
	cells []T
	locks []lock
}

// head is the cache line in front of a bucket.
type head struct {
	tag  [ways]uint32 // 0 is free
	keep [ways]keep
}

// keep is the tick until which a cell is worth keeping; the lowest bit says pinned.
type keep = uint32

// lock guards a stripe of buckets, and counts for it. Padded so that two cores do not share a line.
type lock struct {
	sync.Mutex
	evicted, refused, used uint64
	_                      [32]byte
}

const stripes = 512

// bucketBytes is what a bucket costs.
const bucketBytes = ways*64 + 64

func newTable[T any](mem *memory, bytes int64) table[T] {
	n := int(max(bytes/bucketBytes, 1))
	var t T
	if unsafe.Sizeof(t) != 64 || unsafe.Sizeof(head{}) != 64 || unsafe.Sizeof(lock{}) != 64 {
		panic("detect: internal error: a cell is not 64 bytes")
	}
	return table[T]{
		heads: carve[head](mem, n),
		cells: carve[T](mem, n*ways),
		locks: make([]lock, stripes),
	}
}

// bucket is where a hash belongs.
func (t *table[T]) bucket(h uint64) uint64 {
	hi, _ := bits.Mul64(h, uint64(len(t.heads)))
	return hi
}

// lock takes the stripe of a hash. Only one cell lock of a table may be held at a time.
func (t *table[T]) lock(h uint64) *lock {
	l := &t.locks[t.bucket(h)%stripes]
	l.Lock()
	return l
}

// find returns the cell of a hash or nil. The stripe is locked.
func (t *table[T]) find(h uint64) *T {
	b := t.bucket(h)
	tag := uint32(h) | 1
	for i, x := range &t.heads[b].tag {
		if x == tag {
			return &t.cells[b*ways+uint64(i)]
		}
	}
	return nil
}

// get finds or makes the cell of a hash. A new one is zero. It returns nil when all cells of the bucket are pinned: then the
// caller goes on without. The stripe is locked.
func (t *table[T]) get(h uint64, now tick) (c *T, k *keep, fresh bool) {
	b := t.bucket(h)
	hd := &t.heads[b]
	tag := uint32(h) | 1
	for i, x := range &hd.tag {
		if x == tag {
			return &t.cells[b*ways+uint64(i)], &hd.keep[i], false
		}
	}
	l := &t.locks[b%stripes]
	least := -1
	for i, x := range &hd.tag {
		if x == 0 {
			least = i
			l.used++
			break
		}
		if pinned := hd.keep[i]&1 != 0; pinned && tick(hd.keep[i]) > now {
			continue
		}
		if least < 0 || hd.keep[i] < hd.keep[least] {
			least = i
		}
	}
	if least < 0 {
		l.refused++
		return nil, nil, false
	}
	if hd.tag[least] != 0 {
		l.evicted++
	}
	atomic.StoreUint32(&hd.tag[least], tag) // fetchCell reads without the lock
	hd.keep[least] = uint32(now) &^ 1
	c = &t.cells[b*ways+uint64(least)]
	var zero T
	*c = zero
	return c, &hd.keep[least], true
}

// touch notes a use of a cell whose content is worth keeping for a while longer.
func touch(k *keep, now, worth tick) {
	if *k&1 != 0 && tick(*k) > now+worth {
		return
	}
	*k = uint32(now+worth) &^ 1
}

// pin keeps a cell whatever comes until a moment.
func pin(k *keep, until tick) { *k = uint32(until) | 1 }

// fetch asks for the line in front of a bucket.
func (t *table[T]) fetch(h uint64) { prefetch(unsafe.Pointer(&t.heads[t.bucket(h)])) }

// fetchCell asks for the cell of a hash, if there is one. It takes no lock: a wrong guess costs a line.
func (t *table[T]) fetchCell(h uint64) {
	b := t.bucket(h)
	tag := uint32(h) | 1
	for i := range ways {
		if atomic.LoadUint32(&t.heads[b].tag[i]) == tag {
			prefetch(unsafe.Pointer(&t.cells[b*ways+uint64(i)]))
			return
		}
	}
}

// counts adds up the stripes.
func (t *table[T]) counts() (used, evicted, refused uint64) {
	for i := range t.locks {
		l := &t.locks[i]
		l.Lock()
		used, evicted, refused = used+l.used, evicted+l.evicted, refused+l.refused
		l.Unlock()
	}
	return used, evicted, refused
}

// look is find with the moment the cell is kept until.
func (t *table[T]) look(h uint64) (*T, *keep) {
	b := t.bucket(h)
	tag := uint32(h) | 1
	hd := &t.heads[b]
	for i, x := range &hd.tag {
		if x == tag {
			return &t.cells[b*ways+uint64(i)], &hd.keep[i]
		}
	}
	return nil, nil
}
