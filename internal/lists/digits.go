package lists

import (
	"encoding/binary"
	"math/bits"
)

// tens are the powers of ten that are needed to cut digits off a number.
var tens = [maxDigits + 1]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// digitCount is the number of decimal digits, 0 for 0; more than 15 are told as 16.
func digitCount(digits uint64) int {
	n := bits.Len64(digits) * 1233 >> 12 // digits of the power of two below, by 1233/4096 for log10(2)
	if n > maxDigits {
		return maxDigits + 1
	}
	if digits >= tens[n] {
		n++
	}
	return n
}

// digitKey is the key of the numbers of a length, 0 for any, that begin with n digits. No other key of digits is the same: 15
// digits have 50 bits.
func digitKey(digits uint64, n, length int) (k key) {
	binary.BigEndian.PutUint64(k[8:], digits<<8|uint64(n)<<4|uint64(length))
	return k
}

// digitTarget is the key of a range, whose total is its length, or of a prefix, whose total is 0.
func digitTarget(t Target) key { return digitKey(t.digits(), int(t.bits), int(t.total)) }

// plainKey is the raw of a plain number.
func plainKey(digits uint64) (k key) {
	binary.BigEndian.PutUint64(k[8:], digits)
	return k
}
