package prices

import (
	"errors"
	"math/bits"
)

// ErrOverflow is returned for a cost that is beyond what 64 bits hold, and so beyond any budget.
var ErrOverflow = errors.New("prices: so many segments cost more than can be counted: ask for fewer")

// maxDigits is the longest E.164 number (ITU-T E.164, 6.1).
const maxDigits = 15

// Table holds the price of every prefix. Make one with [Parse].
//
// Prefixes nest, so they cut the line of all numbers into intervals, each with the price of the longest prefix around it. To
// look up is to find the last interval that begins at or before the number: one binary search, however many lengths there are.
type Table struct {
	currency string
	prefixes int
	dearest  int64
	bounds   []bound            // in ascending order
	first    [leading + 1]int32 // of bounds, by the first three digits
}

// bound is where an interval begins.
type bound struct {
	at     uint64
	micros int64 // unknown if no prefix fits
}

const (
	unknown = -1
	leading = 1000
)

// place puts digits on the line of all numbers: as if they had 15 digits, then how many they have. So 65 comes before 650,
// 6500 and 651, and not among what begins with 650.
func place(digits uint64, n int) uint64 { return digits*powers[maxDigits-n]<<4 | uint64(n) }

// past is where the numbers that begin with these digits end.
func past(digits uint64, n int) uint64 { return (digits + 1) * powers[maxDigits-n] << 4 }

// lead is the first three digits of a place.
func lead(at uint64) int { return int(at >> 4 / powers[maxDigits-3]) }

var powers = [maxDigits + 1]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// digitCount is the number of decimal digits; 16 for more than 15.
func digitCount(v uint64) int {
	if v >= powers[maxDigits] {
		return maxDigits + 1
	}
	n := bits.Len64(v) * 1233 >> 12 // log10(2) as a fraction: right, or one too few
	if v >= powers[n] {
		n++
	}
	return n
}

// newTable cuts the line at the entries, which are sorted by their place and differ.
func newTable(currency string, entries []entry) *Table {
	t := &Table{currency: currency, prefixes: len(entries)}
	for _, e := range entries {
		t.dearest = max(t.dearest, e.micros)
	}
	var around []entry // the prefixes that hold where we are, the longest last
	outside := func() int64 {
		if len(around) == 0 {
			return unknown
		}
		return around[len(around)-1].micros
	}
	leave := func(until uint64) {
		for len(around) > 0 {
			end := around[len(around)-1].end
			if end > until {
				break
			}
			around = around[:len(around)-1]
			t.cut(end, outside())
		}
	}
	for _, e := range entries {
		leave(e.at)
		t.cut(e.at, e.micros)
		around = append(around, e)
	}
	leave(^uint64(0))

	next := 0
	for k := range t.first {
		for next < len(t.bounds) && lead(t.bounds[next].at) < k {
			next++
		}
		t.first[k] = int32(next)
	}
	return t
}

// cut begins an interval. What ends at the same place ends from the longest prefix to the shortest; the last word counts.
func (t *Table) cut(at uint64, micros int64) {
	if last := len(t.bounds) - 1; last >= 0 && t.bounds[last].at == at {
		t.bounds[last].micros = micros
		return
	}
	t.bounds = append(t.bounds, bound{at, micros})
}

// Currency is the ISO 4217 code of every price in the table.
func (t *Table) Currency() string { return t.currency }

// Len is how many prefixes the table has, at least 1.
func (t *Table) Len() int { return t.prefixes }

// Dearest is the highest price of the table, in millionths of the currency.
func (t *Table) Dearest() int64 { return t.dearest }

// Lookup returns what one segment to a number costs, in millionths of the currency, 0 or more. The number is its E.164 digits
// as an integer. If no prefix fits, known is false and the price is the dearest. It does not allocate.
func (t *Table) Lookup(number uint64) (micros int64, known bool) {
	n := digitCount(number)
	if number == 0 || n > maxDigits {
		return t.dearest, false
	}
	at := place(number, n)
	k := lead(at)
	lo, hi := t.first[k], t.first[k+1]
	for lo < hi { // the first bound behind the number
		if mid := (lo + hi) / 2; t.bounds[mid].at <= at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 || t.bounds[lo-1].micros == unknown {
		return t.dearest, false
	}
	return t.bounds[lo-1].micros, true
}

// Cost returns what a message of so many segments to a number costs, in millionths of the currency. Less than one segment costs
// as much as one. The only error is [ErrOverflow]. It does not allocate.
func (t *Table) Cost(number uint64, segments int64) (int64, error) {
	micros, _ := t.Lookup(number)
	high, low := bits.Mul64(uint64(micros), uint64(max(segments, 1)))
	if high != 0 || int64(low) < 0 {
		return 0, ErrOverflow
	}
	return int64(low), nil
}
