package detect

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is one anonymous mapping that all tables are cut from. The garbage collector never looks into it, and pages that were
// never used cost nothing.
type memory struct {
	all  []byte
	used int
}

func newMemory(size int64) (*memory, error) {
	all, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("detect: mapping %d bytes: %w", size, err)
	}
	hugePages(all)
	return &memory{all: all}, nil
}

// carve cuts n values off, each beginning on a cache line. T holds no pointers.
func carve[T any](m *memory, n int) []T {
	var t T
	size := (int(unsafe.Sizeof(t))*n + 63) &^ 63
	if m.used+size > len(m.all) {
		panic("detect: internal error: tables larger than the memory")
	}
	p := unsafe.Pointer(&m.all[m.used])
	m.used += size
	return unsafe.Slice((*T)(p), n)
}

func (m *memory) free() error {
	if m.all == nil {
		return nil
	}
	err := unix.Munmap(m.all)
	m.all = nil
	return err
}
