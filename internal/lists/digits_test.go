package lists

import (
	"strconv"
	"testing"
)

func TestDigitCount_atEachPowerOfTen(t *testing.T) {
	if got := digitCount(0); got != 0 {
		t.Errorf("0: %d", got)
	}
	for power := uint64(1); power <= 1e19; power *= 10 {
		for _, n := range []uint64{power - 1, power, power + 1} {
			if want := min(len(strconv.FormatUint(n, 10)), maxDigits+1); n > 0 && digitCount(n) != want {
				t.Errorf("%d: %d digits, want %d", n, digitCount(n), want)
			}
		}
		if power == 1e19 {
			break // ten times that is no uint64
		}
	}
	if got := digitCount(1<<64 - 1); got != maxDigits+1 {
		t.Errorf("the largest: %d", got)
	}
}
