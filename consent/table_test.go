package consent

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/internal/phone"
)

func TestSlotSize(t *testing.T) {
	if n := unsafe.Sizeof(slot{}); n != 24 {
		t.Errorf("a slot takes %d bytes: the memory that is promised for each entry is 24", n)
	}
}

// Any history of changes leaves the table with what a map holds. Seals crowd into one part and few homes, the last one among
// them, so that runs wrap and holes are filled.
func TestTable_model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type key struct {
			seal  seal
			scope scopeID
		}
		var tab table
		want := map[key]uint32{}
		for range rapid.IntRange(1, 200).Draw(t, "changes") {
			var k key
			binary.BigEndian.PutUint64(k.seal[1:9], rapid.SampledFrom([]uint64{0, 1, 1 << 60, 1 << 63, ^uint64(0) - 1, ^uint64(0)}).Draw(t, "home"))
			k.seal[15] = rapid.Byte().Draw(t, "seal") % 8
			k.scope = scopeID(rapid.IntRange(1, 3).Draw(t, "scope"))
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				_, there := want[k]
				if tab.drop(&k.seal, k.scope) != there {
					t.Fatalf("drop of %v: was there %v", k, there)
				}
				delete(want, k)
			} else {
				since := rapid.Uint32().Draw(t, "since")
				tab.put(slot{k.seal, k.scope, since})
				want[k] = since
			}
			got := map[key]uint32{}
			for k := range want {
				for _, e := range tab.look(&k.seal, nil) {
					got[key{e.seal, e.scope}] = e.since
				}
			}
			if !maps.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			all := 0
			tab.each(func(slot) bool { all++; return true })
			if n, _ := tab.size(); n != len(want) || all != n {
				t.Fatalf("size %d, seen %d, want %d", n, all, len(want))
			}
		}
	})
}

// What one question costs beside 10,000,000 entries: the HMAC of the number and one look. Run with -bench=Judge.
func BenchmarkJudge(b *testing.B) {
	const entries = 10_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := &Ledger{sealers: []*sealer{newSealer(make([]byte, 16))}}
	scope := l.scopes.id(place{Scope: Scope{Account: "acme"}})
	for i := range uint64(entries) {
		l.outs.put(slot{l.sealers[0].number(6590_0000_0000 + i), scope, 1})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for _, c := range []struct {
		name string
		base uint64
		want bool
	}{{"hit", 6590_0000_0000, true}, {"miss", 4470_0000_0000, false}} {
		numbers := make([]phone.Number, 1<<16)
		for i := range numbers {
			var err error
			if numbers[i], err = phone.Parse(fmt.Sprintf("+%d", c.base+rand.Uint64N(entries)), ""); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, out := l.OptedOut(numbers[i&(len(numbers)-1)], Scope{Account: "acme", Sender: "12345"}); out != c.want {
					b.Fatal("wrong answer")
				}
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
		})
	}
	runtime.KeepAlive(l)
}
