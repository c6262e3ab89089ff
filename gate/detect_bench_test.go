package gate_test

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
)

// cpuTime is what the process has used, in nanoseconds: it says more than the wall clock where others share the machine.
func cpuTime() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkDetection is one check of the built-in policy with and without detection, in one run, so that their difference is what
// detection costs on the road: half of the numbers are new, sends come 2000 a second, seven in ten verify.
func BenchmarkDetection(b *testing.B) {
	for _, c := range []struct {
		name string
		mib  int64
	}{{"off", 0}, {"64MiB", 64}} {
		b.Run(c.name, func(b *testing.B) {
			store, err := limiter.Open(limiter.Options{Size: 256 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			now := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
			o := gate.Options{Store: store, Clock: func() time.Time { return now }}
			if c.mib > 0 {
				if o.Detect, err = detect.New(detect.Options{Size: c.mib << 20, Seed: 1}); err != nil {
					b.Fatal(err)
				}
				defer o.Detect.Close()
			}
			g, err := gate.New(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			reqs := make([]gate.Request, 1<<17)
			for i := range reqs {
				n := uint64(i)
				if i%2 == 1 {
					n %= 1 << 12
				}
				n = n * 0x9e3779b97f4a7c15 >> 20
				reqs[i] = gate.Request{Number: fmt.Sprintf("+659%07d", n%1e7), Account: "acme", Endpoint: "login", Cost: 1,
					ClientAddress: netip.AddrFrom4([4]byte{20, byte(n >> 8), byte(n >> 16), byte(n >> 24)}).String()}
			}
			i := 0
			check := func(report bool) {
				now = now.Add(500 * time.Microsecond)
				v, err := g.Check(b.Context(), &reqs[i%len(reqs)])
				if err != nil {
					b.Fatal(err)
				}
				if report && v.Kind == gate.Allow && i%10 < 7 {
					if _, err := g.Report(b.Context(), &gate.Report{CheckID: v.CheckID, Account: "acme", Outcome: gate.Verified}); err != nil {
						b.Fatal(err)
					}
				}
				i++
			}
			for range 1 << 16 {
				check(true)
			}
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				check(false)
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
