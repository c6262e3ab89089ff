package lists

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// key is what an index finds records by: a number, sealed or plain, a single address, or a [digitKey].
type key [16]byte

// exact finds records by their whole key. It is a hash table of many small tables, each replaced as a whole when it changes:
// adding to a million copies some 90 KiB, and readers of the old snapshot see nothing of it. A map would have to be copied in
// full.
//
// The small tables are those of Abseil's Swiss map: a byte of hash for each slot stands apart from the slots, eight in a word.
// The bytes of a million keys are 1.3 MB, which a processor keeps near, and nearly always they tell by themselves that a key is
// not there. So a key that is there costs one cache miss, and one that is not costs none.
type exact struct {
	seed   maphash.Seed // so that nobody who gets his addresses blocked can aim at one table
	tables []exactTable // exactTables of them, or none
	n      int
}

// exactTable is 64 bytes. Of the slots at most 7/8 are used, so that each search ends.
type exactTable struct {
	tags  []uint64 // of 8 slots each, the first in the lowest byte: 0 is empty, else 0x80 and 7 bits of the hash
	slots []exactSlot
	used  int
	_     int
}

type exactSlot struct {
	key key
	at  ref
}

const (
	exactTables = 1 << 10
	group       = 8 // slots of one word of tags
	eachByte    = 0x0101010101010101
	highBits    = 0x8080808080808080
)

// place is where a key belongs: bits of the hash that are independent of each other.
type place struct {
	table int
	group uint32 // to be scaled to the number of groups
	tag   uint64 // in each of the 8 bytes
}

func (x *exact) place(k *key) place {
	h := maphash.Bytes(x.seed, k[:])
	return place{int(h >> 54), uint32(h >> 16), (h&0x7f | 0x80) * eachByte}
}

// first is the group at which a search begins.
func (t *exactTable) first(p place) int { return int(uint64(p.group) * uint64(len(t.tags)) >> 32) }

func (t *exactTable) next(g int) int {
	if g++; g < len(t.tags) {
		return g
	}
	return 0
}

// empty marks the empty slots of a word of tags by their highest bits.
func empty(tags uint64) uint64 { return ^tags & highBits }

func (x *exact) find(k *key) (ref, bool) {
	if x.n == 0 {
		return 0, false
	}
	p := x.place(k)
	t := &x.tables[p.table]
	if i := t.find(k, p); i >= 0 {
		return t.slots[i].at, true
	}
	return 0, false
}

// find is the slot of a key, or -1.
func (t *exactTable) find(k *key, p place) int {
	if len(t.tags) == 0 {
		return -1
	}
	for g := t.first(p); ; g = t.next(g) {
		tags := t.tags[g]
		// The well-known trick marks the bytes that are zero, and rarely one above such a byte: the key tells.
		differ := tags ^ p.tag
		for m := (differ - eachByte) &^ differ & highBits; m != 0; m &= m - 1 {
			if i := g*group + bits.TrailingZeros64(m)/8; t.slots[i].key == *k {
				return i
			}
		}
		if empty(tags) != 0 {
			return -1
		}
	}
}

// insert adds a key that is not there yet. Unless fresh, what it writes to is copied before.
func (x *exact) insert(k *key, at ref, fresh bool) {
	if x.tables == nil {
		x.seed = maphash.MakeSeed()
	}
	p := x.place(k)
	t := x.own(p.table, fresh)
	if 8*(t.used+1) > 7*len(t.slots) {
		x.rebuild(t, len(t.tags)+len(t.tags)/4+1, -1)
	} else if !fresh {
		t.tags, t.slots = slices.Clone(t.tags), slices.Clone(t.slots)
	}
	t.put(exactSlot{*k, at}, p)
	t.used++
	x.n++
}

// remove takes out a key that is there. It rebuilds the one small table, so there are no tombstones.
func (x *exact) remove(k *key) {
	p := x.place(k)
	t := x.own(p.table, false)
	x.rebuild(t, len(t.tags), t.find(k, p))
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

// rebuild copies all slots but one into a table of that many groups.
func (x *exact) rebuild(t *exactTable, groups, without int) {
	tags, slots := t.tags, t.slots
	t.tags, t.slots = make([]uint64, groups), make([]exactSlot, groups*group)
	for g, word := range tags {
		for m := word & highBits; m != 0; m &= m - 1 {
			if i := g*group + bits.TrailingZeros64(m)/8; i != without {
				t.put(slots[i], x.place(&slots[i].key))
			}
		}
	}
}

func (t *exactTable) put(s exactSlot, p place) {
	g := t.first(p)
	for empty(t.tags[g]) == 0 {
		g = t.next(g)
	}
	low := bits.TrailingZeros64(empty(t.tags[g])) &^ 7
	t.tags[g] |= p.tag & 0xff << low
	t.slots[g*group+low/8] = s
}
