package lists

import (
	"hash/maphash"
	"slices"
)

// exact finds records by all 16 bytes of a target: an exact number, sealed or plain, or a single address. It is a hash
// table of many small open-addressed tables, each replaced as a whole when it changes: adding to a million copies some
// 80 KiB, and readers of the old snapshot see nothing of it. A map would have to be copied in full, and a trie of random
// keys was three times slower to read. The key is in the slot, so that a lookup costs one cache miss.
type exact struct {
	seed   maphash.Seed // so that nobody who gets his addresses blocked can aim at one table
	tables []exactTable // exactTables of them, or none
	n      int
}

// exactTable has a power of two of slots, at most 3/4 used.
type exactTable struct {
	slots []exactSlot
	used  int
}

// exactSlot is 24 bytes. taken is the ref + 1, zero in an empty slot.
type exactSlot struct {
	key   [16]byte
	hash  uint32
	taken ref
}

const exactTables = 1 << 10

// hash gives the table and the bits that choose the slot.
func (x *exact) hash(key *[16]byte) (table int, low uint32) {
	h := maphash.Bytes(x.seed, key[:])
	return int(h >> 54), uint32(h)
}

func (x *exact) find(key *[16]byte) (ref, bool) {
	if x.n == 0 {
		return 0, false
	}
	table, low := x.hash(key)
	slots := x.tables[table].slots
	if len(slots) == 0 {
		return 0, false
	}
	mask := uint32(len(slots) - 1)
	for i := low & mask; slots[i].taken != 0; i = (i + 1) & mask {
		if slots[i].key == *key {
			return slots[i].taken - 1, true
		}
	}
	return 0, false
}

// insert adds a key that is not there yet. Unless fresh, what it writes to is copied before.
func (x *exact) insert(key *[16]byte, at ref, fresh bool) {
	if x.tables == nil {
		x.seed = maphash.MakeSeed()
	}
	table, low := x.hash(key)
	t := x.own(table, fresh)
	if 4*(t.used+1) > 3*len(t.slots) {
		t.rebuild(max(4, 2*len(t.slots)), nil)
	} else if !fresh {
		t.slots = slices.Clone(t.slots)
	}
	t.put(exactSlot{*key, low, at + 1})
	t.used++
	x.n++
}

// remove takes out a key that is there. It rebuilds the one small table, so there are no tombstones.
func (x *exact) remove(key *[16]byte) {
	table, _ := x.hash(key)
	t := x.own(table, false)
	t.rebuild(len(t.slots), key)
	t.used--
	x.n--
}

// own returns a table in a list of tables that may be written to.
func (x *exact) own(table int, fresh bool) *exactTable {
	if x.tables == nil {
		x.tables = make([]exactTable, exactTables)
	} else if !fresh {
		x.tables = slices.Clone(x.tables)
	}
	return &x.tables[table]
}

// rebuild copies all slots but the one of a key into a table of another size.
func (t *exactTable) rebuild(size int, without *[16]byte) {
	old := t.slots
	t.slots = make([]exactSlot, size)
	for i := range old {
		if old[i].taken != 0 && (without == nil || old[i].key != *without) {
			t.put(old[i])
		}
	}
}

func (t *exactTable) put(s exactSlot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].taken != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}
