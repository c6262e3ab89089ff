package lists_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
)

const million = 1_000_000

// worlds are lists of a million entries of one kind each, and the queries that hit them.
var worlds = []struct {
	name string
	text func(i uint64) string
	hit  func(i uint64) lists.Query
}{
	{"numbers", func(i uint64) string { return fmt.Sprintf("+65%010d", i*7919%1e10) },
		func(i uint64) lists.Query { return lists.Query{Number: 65e10 + i*7919%1e10, Country: "SG"} }},
	{"ranges", func(i uint64) string { return fmt.Sprintf("+65%07d***", i*7919%1e7) },
		func(i uint64) lists.Query {
			return lists.Query{Number: 65e10 + i*7919%1e7*1000 + i%1000, Country: "SG"}
		}},
	{"prefixes", func(i uint64) string { return fmt.Sprintf("+65%07d*", i*7919%1e7) },
		func(i uint64) lists.Query {
			return lists.Query{Number: 65e10 + i*7919%1e7*1000 + i%1000, Country: "SG"}
		}},
	{"ipv4", func(i uint64) string { return v4(i).String() }, func(i uint64) lists.Query { return lists.Query{Address: v4(i)} }},
	{"ipv6", func(i uint64) string { return netip.PrefixFrom(v6(i), 64).String() },
		func(i uint64) lists.Query { return lists.Query{Address: v6(i).Next()} }},
	{"cidr4", func(i uint64) string { return mixed(v4(i), i, 18, 31).String() }, func(i uint64) lists.Query { return lists.Query{Address: v4(i)} }},
	{"cidr6", func(i uint64) string { return mixed(v6(i), i, 29, 64).String() }, func(i uint64) lists.Query { return lists.Query{Address: v6(i)} }},
}

// mixed is a network of a length from shortest to longest that holds the address; the longer ones are the more frequent.
func mixed(a netip.Addr, i uint64, shortest, longest int) netip.Prefix {
	n := longest - int(i%7*(i%11)*(i%uint64(longest-shortest+1))/60)
	return netip.PrefixFrom(a, max(n, shortest)).Masked()
}

func v4(i uint64) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i*2654435761)|1<<24)
	return netip.AddrFrom4(b)
}

func v6(i uint64) netip.Addr {
	b := [16]byte{0x20, 0x01}
	binary.BigEndian.PutUint64(b[:8], 0x2000_0000_0000_0000|i*0x9e3779b97f4a7c15>>4)
	return netip.AddrFrom16(b)
}

func millionEntries(b *testing.B, text func(uint64) string) []lists.Entry {
	out := make([]lists.Entry, million)
	seen := make(map[lists.Target]bool, million)
	n := 0
	for i := uint64(0); n < million; i++ {
		e := lists.Entry{List: lists.Block, Target: target(b, text(i)), Reason: "bench", Author: "kim"}
		if !seen[e.Target] {
			seen[e.Target], out[n] = true, e
			n++
		}
	}
	return out
}

// One list with a million entries beside two small ones. "plain" is a policy's set, which needs no HMAC.
func BenchmarkLookup(b *testing.B) {
	small := []lists.Entry{entry(b, lists.Allow, "+6598*"), entry(b, lists.Allow, "198.51.100.0/24"), entry(b, lists.Test, "+6599999999")}
	for _, w := range worlds {
		var before, after runtime.MemStats
		entries := append(millionEntries(b, w.text), small...)
		runtime.GC()
		runtime.ReadMemStats(&before)
		set := newSet(b, entries...)
		runtime.GC()
		runtime.ReadMemStats(&after)
		for _, c := range []struct {
			name string
			want bool
			at   func(i uint64) lists.Query
		}{
			{"hit", true, w.hit},
			{"miss", false, func(i uint64) lists.Query {
				return lists.Query{Number: 4420_0000_0000 + i, Country: "GB", Address: netip.AddrFrom4([4]byte{0, byte(i), byte(i >> 8), byte(i >> 16)})}
			}},
			{"near", false, func(i uint64) lists.Query { // the same kind, and begins as what is listed
				for {
					if q := w.hit(i + 2*million); !set.Lookup(q, noon).Block.OK() {
						return q
					}
					i++
				}
			}},
		} {
			queries := make([]lists.Query, 1<<16)
			for i := range queries {
				queries[i] = c.at(rand.Uint64N(million / 2))
			}
			b.Run("plain/"+w.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if set.Lookup(queries[i&(len(queries)-1)], noon).Block.OK() != c.want {
						b.Fatal("wrong answer")
					}
					i++
				}
				b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/million, "B/entry")
			})
		}
		runtime.KeepAlive(entries)
	}
}

// A store with a million sealed numbers: what the HMAC costs, what a change costs, and how long opening takes.
func BenchmarkStore(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir)
	entries := millionEntries(b, worlds[0].text)
	start := time.Now()
	if _, err := s.Add(noon, entries...); err != nil {
		b.Fatal(err)
	}
	b.Logf("import of %d: %v", million, time.Since(start).Round(time.Millisecond))
	closeStore(b, s)
	start = time.Now()
	s = open(b, dir)
	b.Logf("open with %d: %v, journal of %d MB", million, time.Since(start).Round(time.Millisecond), len(journal(b, dir))>>20)

	b.Run("sealed/hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !s.Lookup(worlds[0].hit(rand.Uint64N(million)), noon).Block.OK() {
				b.Fatal("not found")
			}
		}
	})
	b.Run("add-and-sync", func(b *testing.B) {
		b.ReportAllocs()
		i := uint64(million)
		for b.Loop() {
			i++
			add(b, s, lists.Entry{List: lists.Block, Target: target(b, worlds[0].text(i)), Author: "kim"})
		}
	})
	b.Run("remove-and-sync", func(b *testing.B) {
		i := uint64(0)
		for b.Loop() {
			if _, _, err := s.Remove(noon, lists.Block, target(b, worlds[0].text(i)), "", "kim"); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}
