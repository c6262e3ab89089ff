package replies

import (
	"hash/crc32"
	"unsafe"
)

// MaxReply is the longest reply that fits, in bytes.
const MaxReply = 448

// reach is how many records a set has. A key may lie in two sets, and takes the emptier one, which fills them evenly (Azar, Broder,
// Karlin, Upfal: Balanced Allocations, 1999): measured, filling it up, the first key that finds no room comes at 0.7 of
// the capacity; at 0.85 it is one in 400. With records that come and go at 0.57 it is two in a million.
const reach = 8

// set is what is looked through together: the heads, one cache line each, then the replies. A set is a page.
type set struct {
	heads   [reach]head
	replies [reach][MaxReply]byte
}

// head is what is known of one key. The zero head is free.
type head struct {
	key      Sum
	body     Sum
	expires  int64  // in microseconds since 1970
	epoch    uint64 // of the process that wrote it
	sequence uint64 // of the call, within its epoch and region
	state    State  // 0, InFlight or Done; their values are part of the file
	_        uint8
	length   uint16 // of the reply
	sum      uint32 // of all before it and the reply; only of a record that is Done
}

// checksum finds records that a power failure left half written, or that lie in damaged pages. A record in flight needs none:
// only the process that wrote it believes it.
func (s *set) checksum(i int) uint32 {
	h := &s.heads[i]
	table := crc32.MakeTable(crc32.Castagnoli)
	all := (*[unsafe.Sizeof(head{})]byte)(unsafe.Pointer(h))
	sum := crc32.Update(0, table, all[:unsafe.Offsetof(h.sum)])
	return crc32.Update(sum, table, s.replies[i][:min(h.length, MaxReply)])
}

func (s *set) whole(i int) bool {
	return s.heads[i].length <= MaxReply && s.heads[i].sum == s.checksum(i)
}

// live reports whether a record still counts. One that ends later than any could have been written to end comes from a clock
// that went wrong since; it must not fill the table for years.
func (t *Table) live(h *head, now int64) bool {
	left := h.expires - now
	switch h.state {
	case InFlight: // of a process that died: free
		return h.epoch == t.epoch && left > 0
	case Done:
		return left > 0 && left <= 2*t.keep
	}
	return false
}
