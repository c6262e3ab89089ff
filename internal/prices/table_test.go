package prices

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive is the table as one would say it: of the prefixes that the number begins with, the longest.
type naive map[string]int64

func (n naive) lookup(number uint64) (micros int64, known bool) {
	text := strconv.FormatUint(number, 10)
	if number > 0 && len(text) <= maxDigits {
		for cut := len(text); cut > 0; cut-- {
			if micros, ok := n[text[:cut]]; ok {
				return micros, true
			}
		}
	}
	for _, p := range n {
		micros = max(micros, p)
	}
	return micros, false
}

func (n naive) csv() []byte {
	var b strings.Builder
	b.WriteString("prefix,price,currency\n")
	for prefix, micros := range n {
		fmt.Fprintf(&b, "+%s,%d.%06d,USD\n", prefix, micros/1e6, micros%1e6)
	}
	return []byte(b.String())
}

func TestLookup_agreesWithNaiveLongestMatch(t *testing.T) {
	// Few different digits, so that prefixes nest, touch and share ends.
	digits := rapid.StringMatching(`[139][019]{0,14}`)
	rapid.Check(t, func(t *rapid.T) {
		want := naive(rapid.MapOfN(digits, rapid.Int64Range(0, maxPrice), 1, 40).Draw(t, "table"))
		table, err := Parse("prices.csv", want.csv())
		if err != nil {
			t.Fatal(err)
		}
		numbers := []uint64{0, 1, 9, 10, 999_999_999_999_999, 1_000_000_000_000_000, math.MaxUint64, rapid.Uint64().Draw(t, "number")}
		for prefix := range want { // each prefix, what is around it, and what begins with it
			v, _ := strconv.ParseUint(prefix, 10, 64)
			numbers = append(numbers, v-1, v, v+1, v/10, v*10, v*10+9, v*100+10)
		}
		for _, number := range numbers {
			wantMicros, wantKnown := want.lookup(number)
			if micros, known := table.Lookup(number); micros != wantMicros || known != wantKnown {
				t.Fatalf("Lookup(%d) = %d, %v, want %d, %v in %v", number, micros, known, wantMicros, wantKnown, want)
			}
		}
		if micros, _ := want.lookup(0); table.Dearest() != micros || table.Len() != len(want) {
			t.Fatalf("dearest %d of %d, want %d of %d", table.Dearest(), table.Len(), micros, len(want))
		}
	})
}

func TestCost(t *testing.T) {
	table, err := Parse("prices.csv", []byte("prefix,price,currency\n65,0.042,USD\n7,0,USD\n8,1000000,USD"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		number   uint64
		segments int64
		want     int64
		err      error
	}{
		{6591234567, 1, 42_000, nil},
		{6591234567, 3, 126_000, nil},
		{6591234567, 0, 42_000, nil},
		{6591234567, -5, 42_000, nil},
		{79991234567, math.MaxInt64, 0, nil},
		{0, 1, maxPrice, nil},
		{4912345678, 2, 2 * maxPrice, nil},
		{81312345678, math.MaxInt64 / maxPrice, math.MaxInt64 / maxPrice * maxPrice, nil},
		{81312345678, math.MaxInt64/maxPrice + 1, 0, ErrOverflow},
		{81312345678, math.MaxInt64, 0, ErrOverflow},
	} {
		if got, err := table.Cost(c.number, c.segments); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Cost of %d segments to a price of %d: %d, %v, want %d, %v", c.segments, c.want, got, err, c.want, c.err)
		}
	}
}

func TestLookup_doesNotAllocate(t *testing.T) {
	table := hundredThousand(t)
	if n := testing.AllocsPerRun(100, func() { _, _ = table.Cost(6591234567, 2) }); n != 0 {
		t.Errorf("%v allocations a lookup", n)
	}
}

func hundredThousand(t testing.TB) *Table {
	random := rand.New(rand.NewPCG(1, 2))
	rows := naive{}
	for len(rows) < 100_000 {
		prefix := strconv.FormatUint(1+random.Uint64N(9_999_999_999), 10)
		rows[prefix[:min(len(prefix), 2+random.IntN(8))]] = random.Int64N(500_000)
	}
	table, err := Parse("prices.csv", rows.csv())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func BenchmarkLookup(b *testing.B) {
	table := hundredThousand(b)
	random := rand.New(rand.NewPCG(3, 4))
	numbers := make([]uint64, 1<<16)
	for i := range numbers {
		numbers[i] = 1e9 + random.Uint64N(1e12)
	}
	b.ReportAllocs()
	i, sum := 0, int64(0)
	for b.Loop() {
		micros, _ := table.Lookup(numbers[i&(1<<16-1)])
		sum += micros
		i++
	}
	b.ReportMetric(float64(sum)/float64(i), "micros/lookup")
}
