package lists

import (
	"hash/maphash"
	"slices"
)

// exact finds records by all 16 bytes of a target: an exact number, sealed or plain, or a single address. It is a hash table of many small open-addressed
// tables, each replaced as a whole when it changes: adding to a million copies one table of about 16 KiB and the 32 KiB of
// their list, and readers of the old snapshot see nothing of it. A map would have to be copied in full, and a trie of
// random keys was three times slower to read.
type exact struct {
	seed   maphash.Seed
	tables []exactTable // exactTables of them, or none
	n      int
}

// exactTable has a power of two of slots, at most 3/4 used. A slot is 32 bits of hash and a ref + 1; zero is empty.
type exactTable struct {
	slots []uint64
	used  int
}

const exactTables = 1 << 10

// hash has a seed, so that nobody who gets his addresses blocked can aim at one table. The top bits choose the table,
// the low 32 the slot.
func (x *exact) hash(raw *[16]byte) uint64 { return maphash.Bytes(x.seed, raw[:]) }

func tableOf(h uint64) int { return int(h >> 54) }

func (x *exact) find(records []record, raw *[16]byte) (ref, bool) {
	if x.n == 0 {
		return 0, false
	}
	h := x.hash(raw)
	slots := x.tables[tableOf(h)].slots
	mask := uint32(len(slots) - 1)
	if len(slots) == 0 {
		return 0, false
	}
	for at := uint32(h) & mask; slots[at] != 0; at = (at + 1) & mask {
		if uint32(slots[at]>>32) == uint32(h) {
			if r := ref(slots[at]) - 1; records[r.at()].target.raw == *raw {
				return r, true
			}
		}
	}
	return 0, false
}

// insert adds a record that is not there yet. Unless fresh, what it writes to is copied before.
func (x *exact) insert(raw *[16]byte, at ref, fresh bool) {
	if x.tables == nil {
		x.seed = maphash.MakeSeed()
	}
	h := x.hash(raw)
	t := x.own(h, fresh)
	if 4*(t.used+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]uint64, max(4, 2*len(old)))
		for _, slot := range old {
			if slot != 0 {
				t.put(slot)
			}
		}
	} else if !fresh {
		t.slots = slices.Clone(t.slots)
	}
	t.put(h<<32 | uint64(at+1))
	t.used++
	x.n++
}

// remove takes out a record that is there. It rebuilds the one small table, so there are no tombstones.
func (x *exact) remove(raw *[16]byte, at ref) {
	h := x.hash(raw)
	t := x.own(h, false)
	old := t.slots
	t.slots = make([]uint64, len(old))
	for _, slot := range old {
		if slot != 0 && ref(slot) != at+1 {
			t.put(slot)
		}
	}
	t.used--
	x.n--
}

// own returns the table for a hash, in a list of tables that may be written to.
func (x *exact) own(h uint64, fresh bool) *exactTable {
	if x.tables == nil {
		x.tables = make([]exactTable, exactTables)
	} else if !fresh {
		x.tables = slices.Clone(x.tables)
	}
	return &x.tables[tableOf(h)]
}

func (t *exactTable) put(slot uint64) {
	mask := uint32(len(t.slots) - 1)
	at := uint32(slot>>32) & mask
	for t.slots[at] != 0 {
		at = (at + 1) & mask
	}
	t.slots[at] = slot
}
