package detect

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// cpuTime is what the process has used, in nanoseconds: it says more than the wall clock where others share the machine.
func cpuTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// benchSends makes a mix like a busy day: half of the sends go to returning numbers, half to new ones, from gateways and homes.
func benchSends(n int) []Send {
	sends := make([]Send, n)
	x := uint64(88172645463325252)
	rnd := func(n uint64) uint64 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		return x % n
	}
	codes := [...]struct {
		code uint64
		iso  string
	}{{65, "SG"}, {62, "ID"}, {60, "MY"}, {63, "PH"}, {66, "TH"}, {91, "IN"}, {49, "DE"}, {33, "FR"}}
	for i := range sends {
		c := codes[rnd(8)]
		number := c.code*1e9 + rnd(1e9)
		if i > 1000 && rnd(2) == 0 {
			number, c.iso = sends[rnd(uint64(i))].Number, sends[0].Country.String()
		}
		ip := [4]byte{10, byte(rnd(64)), byte(rnd(256)), byte(rnd(256))}
		if rnd(2) == 0 {
			ip[1], ip[2] = 7, byte(rnd(3))
		}
		sends[i] = Send{ID: uint64(i) + 1, Number: number, Country: CountryOf(c.iso), Client: netip.AddrFrom4(ip), Account: rnd(3)}
	}
	return sends
}

// BenchmarkObserve is a check at 2000 sends a second of which none verifies, so that each session is also judged a minute later.
func BenchmarkObserve(b *testing.B) { benchSizes(b, false) }

// BenchmarkLifecycle adds the verification of seven sends in ten, 20 seconds later.
func BenchmarkLifecycle(b *testing.B) { benchSizes(b, true) }

func benchSizes(b *testing.B, outcomes bool) {
	sends := benchSends(1 << 21)
	for _, mib := range []int64{8, 64, 128} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			e, err := New(Options{Size: mib << 20, Seed: 7})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			one := func(i int, outcomes bool) {
				s := &sends[i%len(sends)]
				s.At, s.ID = benchStart+int64(i)*500_000, uint64(i)+1
				e.Observe(s)
				if outcomes && i > 40000 && i%10 < 7 {
					e.Outcome(s.At, uint64(i-40000)+1, Verified)
				}
			}
			const warm = 1 << 20
			for i := range warm {
				one(i, true)
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime()
			for i := range b.N {
				one(warm+i, outcomes)
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

const benchStart = 1_700_000_000e9

// BenchmarkObserveParallel shows what a second core brings: compare -cpu 1 and 2. Where others use the machine, compare cpu-ns/op,
// which stays the same when the cores do not hinder each other.
func BenchmarkObserveParallel(b *testing.B) {
	sends := benchSends(1 << 20)
	e, err := New(Options{Size: 128 << 20, Seed: 7})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	var next atomic.Int64
	b.ResetTimer()
	before := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		for from := next.Add(1 << 10); pb.Next(); from++ {
			if from%(1<<10) == 0 {
				from = next.Add(1 << 10)
			}
			s := sends[from%int64(len(sends))]
			s.At, s.ID = benchStart+from*500_000, uint64(from)+1
			e.Observe(&s)
			if from > 40000 && from%10 < 7 {
				e.Outcome(s.At, uint64(from-40000)+1, Verified)
			}
		}
	})
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}
