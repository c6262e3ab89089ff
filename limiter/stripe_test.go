package limiter

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestStripes_holdNoMoreThanN_admitAllOfN(t *testing.T) {
	const n = 1003 // divides over no number of stripes evenly
	for _, stripes := range []int{1, 2, 5, 16} {
		tab, r := open1(t, Options{Size: 4 << 20}, Limit{Name: "account", Group: "account", N: n, Window: time.Minute, Stripes: stripes})
		k := tab.Key([]byte("acme"))
		var units atomic.Int64
		var wg sync.WaitGroup
		for g := range 32 {
			wg.Go(func() {
				for i := range 200 {
					cost := int64(1 + (g+i)%3)
					d, err := tab.Take(context.Background(), t0, []Charge{{r[0], k, cost}})
					if err != nil {
						t.Error(err)
						return
					}
					if d.Allowed {
						units.Add(cost)
					}
				}
			})
		}
		wg.Wait()
		for {
			d, err := tab.Take(context.Background(), t0, []Charge{{r[0], k, 1}})
			if err != nil {
				t.Fatal(err)
			}
			if !d.Allowed {
				break
			}
			units.Add(1)
		}
		if units.Load() != n {
			t.Errorf("%d stripes admitted %d units, want %d", stripes, units.Load(), n)
		}
	}
}

func BenchmarkTake_hotKey(b *testing.B) {
	for _, c := range []struct {
		name    string
		n       int64
		stripes int
	}{{"permits/denied", 10, 1}, {"buckets", 1e12, 1}, {"buckets/striped", 1e12, 4}, {"buckets/denied", 100, 1}, {"buckets/striped/denied", 100, 4}} {
		b.Run(c.name, func(b *testing.B) {
			tab, r := open1(b, Options{Size: 16 << 20}, Limit{Name: "x", Group: "account", N: c.n, Window: time.Minute, Stripes: c.stripes})
			k := tab.Key([]byte("a"))
			ctx := context.Background()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				// Every caller has a reading of its own, as clocks give them.
				for now := t0; pb.Next(); now = now.Add(time.Duration(rand.IntN(3)) * time.Microsecond) {
					if _, err := tab.Take(ctx, now, []Charge{{r[0], k, 1}}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
