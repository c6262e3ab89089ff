package limiter

import (
	"fmt"
	"testing"

	"github.com/sendgate/sendgate/internal/mapped"
)

// OpenHeap is a memory table on the Go heap, where the race detector sees it. It is never unmapped, so Close only closes it.
func OpenHeap(t testing.TB, o Options) Store {
	t.Helper()
	if o.Shares == [3]int{} {
		o.Shares = [3]int{20, 60, 20}
	}
	geo, err := plan(o.Size, o.Shares)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := newTable(make([]uint64, (geo.size-mapped.Page)/8), geo, [32]byte{1}, o.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return heapTable{tab}
}

type heapTable struct{ *Table }

func (h heapTable) Close() error {
	h.closed.Store(true)
	return nil
}

// Undecided names the words of a table that a living check or recycler has not decided. There are none when nobody calls it.
func Undecided(s Store) (words []string) {
	t, ok := s.(*Table)
	if !ok {
		t = s.(heapTable).Table
	}
	banks := *t.banks.Load()
	for class := range classes {
		for i := range t.geo.slots[class] {
			slot := t.base[class] + i*classWords[class]
			tag := t.mem[slot]
			switch {
			case tag == emptyTag:
			case tag&bankMask == reservedBank:
				if tag == t.reservedTag() {
					words = append(words, fmt.Sprintf("slot %d is reserved", slot))
				}
			case banks[tag&bankMask].past.width > 0:
				if a := t.mem[slot+announcedWord]; a&genMask == t.gen && (a&takenBit != 0 || count(a) != 0) {
					words = append(words, fmt.Sprintf("slot %d announces %#x", slot, a))
				}
			default:
				for j := int64(1); j < classWords[class]; j++ {
					if w := t.mem[slot+j]; w&undecided != 0 && w&genMask == t.gen {
						words = append(words, fmt.Sprintf("slot %d word %d is %#x", slot, j, w))
					}
				}
			}
		}
	}
	return words
}
