package detect

import (
	"net/netip"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestCellSizes(t *testing.T) {
	for name, size := range map[string]uintptr{
		"head": unsafe.Sizeof(head{}), "lock": unsafe.Sizeof(lock{}), "number": unsafe.Sizeof(numberCell{}), "range": unsafe.Sizeof(rangeCell{}),
		"address": unsafe.Sizeof(addressCell{}), "origin": unsafe.Sizeof(originCell{}), "account": unsafe.Sizeof(accountCell{}),
		"session": unsafe.Sizeof(session{}), "ids": unsafe.Sizeof(idCell{}),
	} {
		if size != 64 {
			t.Errorf("%s is %d bytes, want 64", name, size)
		}
	}
}

// Whatever is asked of a table, a pinned cell stays until its moment, and a cell that is found holds what was put there.
func TestTableKeepsPinned(t *testing.T) {
	mem, err := newMemory(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.free() }()
	rapid.Check(t, func(t *rapid.T) {
		mem.used = 0
		clear(mem.all)
		tab := newTable[accountCell](mem, 4*bucketBytes)
		pinned := map[uint64]tick{}
		now := tick(100)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += tick(rapid.IntRange(0, 3).Draw(t, "passes"))
			h := e0.hash(aboutNumber, rapid.Uint64Range(0, 200).Draw(t, "key"))
			c, k, fresh := tab.get(h, now)
			if c == nil {
				continue
			}
			if !fresh && c.minutes != float32(h>>40) {
				t.Fatalf("key %x found the cell of another", h)
			}
			c.minutes = float32(h >> 40)
			if rapid.IntRange(0, 9).Draw(t, "pin") == 0 {
				until := now + tick(rapid.IntRange(2, 60).Draw(t, "long"))
				pin(k, until)
				pinned[h] = until
			} else {
				touch(k, now, 0)
			}
			for h, until := range pinned {
				if until > now && tab.find(h) == nil {
					t.Fatalf("a cell pinned until %d was gone at %d", until, now)
				}
			}
		}
	})
}

var e0 = &Engine{seed: 1, seed2: 2}

// A flood of random numbers from random addresses evicts strangers, not the blocks in force nor a range under suspicion.
func TestFloodEvictsOnlyStrangers(t *testing.T) {
	w := newWorld(t, Options{Size: MinSize, Seed: 5})
	w.people("SG", 65, 500, 2*hours)
	w.pump("UZ", 9982001, 60, 120, 0)
	victim := w.regular[0]
	w.bots("SG", 60, hours, func(int) uint64 { return victim }, func(int) netip.Addr { return w.home("ZZ") })
	blocks := w.e.Blocks(w.now)
	ranges, numbers := 0, 0
	for _, b := range blocks {
		switch {
		case b.Subject.Scope == ScopeNumber:
			numbers++
		case b.Subject.Scope.Masked() > 0:
			ranges++
		}
	}
	if ranges == 0 || numbers == 0 {
		t.Fatalf("%d ranges and %d numbers blocked before the flood", ranges, numbers)
	}

	// Five times as many strangers as there are cells, within 20 minutes.
	cells := w.e.Stats().Numbers.Cells
	from := w.now
	for i := range 5 * cells {
		s := Send{Number: 49_1000_000_000 + w.rnd.Uint64N(1e9), Country: CountryOf("DE"), Account: 2, At: from + int64(i)*20*minutes/int64(5*cells),
			Client: netip.AddrFrom4([4]byte{byte(w.rnd.IntN(200)), byte(w.rnd.IntN(256)), byte(w.rnd.IntN(256)), 1})}
		w.e.Observe(&s)
	}
	w.now = from + 20*minutes
	if st := w.e.Stats(); st.Numbers.Evicted < cells || st.Ranges.Evicted == 0 {
		t.Fatalf("the flood evicted only %+v", st)
	}

	w.count()
	w.pump("UZ", 9982001, 60, 20, 120)
	if w.share("bots") < 1 {
		t.Errorf("after the flood %d of 20 messages into a blocked range went out", w.sent["bots"]-w.stopped["bots"])
	}
	w.count()
	w.bots("SG", 10, minutes, func(int) uint64 { return victim }, func(int) netip.Addr { return w.home("ZZ") })
	if w.share("bots") < 1 {
		t.Errorf("after the flood %d of 10 messages to a held number went out", w.sent["bots"]-w.stopped["bots"])
	}
	w.count()
	known := 0
	for _, number := range w.regular[:200] {
		if w.e.known.has(w.e.hash(aboutNumber, number)) {
			known++
		}
	}
	if known < 120 {
		t.Errorf("only %d of 200 regular numbers are still known after the flood", known)
	}
}
