package bench

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

func openTable(b *testing.B, o limiter.Options, limits ...limiter.Limit) (*limiter.Table, []*limiter.Rule) {
	b.Helper()
	table, err := limiter.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { table.Close() })
	rules, err := table.Define(context.Background(), limits)
	if err != nil {
		b.Fatal(err)
	}
	return table, rules
}

// BenchmarkLimiter_oneRule takes for a million keys: admitted by windows that are over, denied by ones that are full. The clock is
// passed in; bench/peers has the same beside other limiters, with the clock read.
func BenchmarkLimiter_oneRule(b *testing.B) {
	const keys = 1_000_000
	for _, c := range []struct {
		name   string
		n      int64
		window time.Duration
		shares [3]int
	}{
		{"admitted/7", 7, time.Millisecond, [3]int{1, 0, 0}},
		{"admitted/15", 15, time.Millisecond, [3]int{0, 1, 0}},
		{"denied/1", 1, 24 * time.Hour, [3]int{1, 0, 0}},
	} {
		b.Run(c.name, func(b *testing.B) {
			table, rules := openTable(b, limiter.Options{Size: 256 << 20, Shares: c.shares}, limiter.Limit{Name: "x", Group: "number", N: c.n, Window: c.window})
			ctx, now := context.Background(), time.Unix(1.8e9, 0)
			take := func(i uint64) {
				var buf [8]byte
				binary.LittleEndian.PutUint64(buf[:], i)
				if _, err := table.Take(ctx, now, []limiter.Charge{{Rule: rules[0], Key: table.Key(buf[:]), Cost: 1}}); err != nil {
					b.Error(err)
				}
			}
			for i := range uint64(keys) {
				take(i)
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				now = now.Add(time.Microsecond)
				take(rnd.Uint64N(keys))
			}
		})
	}
}

// BenchmarkLimiter_hotKey takes for one key from many goroutines.
func BenchmarkLimiter_hotKey(b *testing.B) {
	for _, c := range []struct {
		name    string
		n       int64
		stripes int
	}{{"permits denied", 7, 0}, {"buckets", 1e9, 0}, {"4 stripes", 1e9, 4}} {
		b.Run(c.name, func(b *testing.B) {
			table, rules := openTable(b, limiter.Options{Size: 16 << 20}, limiter.Limit{Name: "x", Group: "account", N: c.n, Window: time.Second, Stripes: c.stripes})
			key, now := table.Key([]byte("acme")), time.Unix(1.8e9, 0)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := table.Take(context.Background(), now, []limiter.Charge{{Rule: rules[0], Key: key, Cost: 1}}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkLimiter_fourRules is a check as a send makes it: two rules by number, one by client, one for the account.
func BenchmarkLimiter_fourRules(b *testing.B) {
	const keys = 1_000_000
	for _, c := range []struct {
		name   string
		window time.Duration
	}{{"admitted", time.Millisecond}, {"denied", 24 * time.Hour}} {
		b.Run(c.name, func(b *testing.B) {
			table, rules := openTable(b, limiter.Options{Size: 256 << 20, Shares: [3]int{95, 0, 5}},
				limiter.Limit{Name: "minute", Group: "number", N: 1, Window: c.window},
				limiter.Limit{Name: "half hour", Group: "number", N: 6, Window: c.window},
				limiter.Limit{Name: "client", Group: "client", N: 7, Window: c.window},
				limiter.Limit{Name: "second", Group: "account", N: 1e9, Window: time.Second},
			)
			account, now := table.Key([]byte("acme")), time.Unix(1.8e9, 0)
			rnd := rand.New(rand.NewPCG(1, 2))
			take := func(number, client uint64) {
				var buf [9]byte
				binary.LittleEndian.PutUint64(buf[:], number)
				k := table.Key(buf[:8])
				binary.LittleEndian.PutUint64(buf[:], client)
				cl := table.Key(buf[:])
				if _, err := table.Take(context.Background(), now, []limiter.Charge{
					{Rule: rules[0], Key: k, Cost: 1}, {Rule: rules[1], Key: k, Cost: 1}, {Rule: rules[2], Key: cl, Cost: 1}, {Rule: rules[3], Key: account, Cost: 1},
				}); err != nil {
					b.Error(err)
				}
			}
			for i := range uint64(keys) {
				now = now.Add(time.Microsecond)
				take(i, i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				now = now.Add(time.Microsecond)
				take(rnd.Uint64N(keys), rnd.Uint64N(keys))
			}
		})
	}
}
