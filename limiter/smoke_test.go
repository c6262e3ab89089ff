package limiter

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open1(t testing.TB, o Options, limits ...Limit) (*Table, []*Rule) {
	t.Helper()
	tab, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	rules, err := tab.Define(context.Background(), limits)
	if err != nil {
		t.Fatal(err)
	}
	return tab, rules
}

func TestSmoke(t *testing.T) {
	tab, r := open1(t, Options{Size: 4 << 20},
		Limit{Name: "minute", Group: "number", N: 1, Window: time.Minute},
		Limit{Name: "30m", Group: "number", N: 10, Window: 30 * time.Minute},
		Limit{Name: "second", Group: "account", N: 1800, Window: time.Second},
	)
	k, a := tab.Key([]byte("k")), tab.Key([]byte("a"))
	ctx := context.Background()
	now := t0
	for i := range 12 {
		d, err := tab.Take(ctx, now, []Charge{{r[0], k, 1}, {r[1], k, 1}, {r[2], a, 1}})
		t.Logf("%d %+v %v", i, d, err)
		d, err = tab.Take(ctx, now.Add(time.Second), []Charge{{r[0], k, 1}, {r[1], k, 1}, {r[2], a, 1}})
		t.Logf("%d %+v %v", i, d, err)
		now = now.Add(time.Minute)
	}
	n := 0
	for i := range 4000 {
		d, err := tab.Take(ctx, now.Add(time.Duration(i)*100*time.Microsecond), []Charge{{r[2], a, 1}})
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			n++
		} else if i%500 == 0 {
			t.Logf("%d %+v", i, d)
		}
	}
	t.Log(n, tab.Stats())
}

func BenchmarkOne(b *testing.B) {
	for _, n := range []int{1_000_000} {
		tab, r := open1(b, Options{Size: 256 << 20, Shares: [3]int{0, 1, 0}}, Limit{Name: "30m", Group: "number", N: 10, Window: 30 * time.Minute})
		ctx := context.Background()
		run := func(b *testing.B, rnd *rand.Rand) {
			var buf [8]byte
			for range b.N {
				binary.LittleEndian.PutUint64(buf[:], rnd.Uint64N(uint64(n)))
				if _, err := tab.Take(ctx, t0, []Charge{{r[0], tab.Key(buf[:]), 1}}); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run("warm", func(b *testing.B) { b.N = 3_000_000; run(b, rand.New(rand.NewPCG(1, 2))) })
		b.Run("serial", func(b *testing.B) { b.ReportAllocs(); run(b, rand.New(rand.NewPCG(3, 2))) })
	}
}

func BenchmarkFour(b *testing.B) {
	tab, r := open1(b, Options{Size: 512 << 20},
		Limit{Name: "minute", Group: "number", N: 1, Window: time.Minute},
		Limit{Name: "30m", Group: "number", N: 10, Window: 30 * time.Minute},
		Limit{Name: "client", Group: "client", N: 10, Window: time.Minute},
		Limit{Name: "second", Group: "account", N: 1_000_000_000, Window: time.Second},
	)
	ctx := context.Background()
	a := tab.Key([]byte("a"))
	now := t0
	run := func(b *testing.B, rnd *rand.Rand) {
		var buf [8]byte
		b.ReportAllocs()
		for range b.N {
			now = now.Add(20 * time.Microsecond)
			binary.LittleEndian.PutUint64(buf[:], rnd.Uint64N(uint64(1_000_000)))
			k := tab.Key(buf[:])
			binary.LittleEndian.PutUint64(buf[:], rnd.Uint64N(uint64(1_000_000)))
			c := tab.Key(buf[:])
			if _, err := tab.Take(ctx, now, []Charge{{r[0], k, 1}, {r[1], k, 1}, {r[2], c, 1}, {r[3], a, 1}}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("serial", func(b *testing.B) { run(b, rand.New(rand.NewPCG(3, 2))) })
	b.Logf("%+v", tab.Stats())
}
