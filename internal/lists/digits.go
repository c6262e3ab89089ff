package lists

import (
	"encoding/binary"
	"net/netip"
)

// Longest-prefix matching of numbers is done by a routing table for IPv6. A number becomes an address of 4 bits a digit:
//
//	+6591234567   ->   a659:1234:5670::      "a": a number of 10 digits, then the digits
//	+6591234***   ->   a659:1234::/32        all numbers of 10 digits that begin so
//	+6591*        ->   0659:1000::/20        numbers of any length, in a table of their own
//
// The length and 15 digits are 64 bits; the other half of the address stays zero.

// digitCount is the number of decimal digits, 0 for 0; more than 15 are told as 16.
func digitCount(digits uint64) int {
	n, limit := 0, uint64(1)
	for n <= maxDigits && digits >= limit {
		n++
		limit *= 10
	}
	return n
}

// digitBits writes n digits, 15 at most, behind the length.
func digitBits(length int, digits uint64, n int) uint64 {
	v := uint64(length) << 60
	for shift := 60 - 4*n; shift < 60; shift += 4 {
		v |= digits % 10 << shift
		digits /= 10
	}
	return v
}

// anyLength turns the bits of a number into those with which prefixes are found.
func anyLength(v uint64) uint64 { return v << 4 >> 4 }

func digitAddr(v uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], v)
	return netip.AddrFrom16(b)
}

// digitPrefix is the key of a range, whose total is its length, or of a prefix, whose total is 0.
func digitPrefix(t Target) netip.Prefix {
	return netip.PrefixFrom(digitAddr(digitBits(int(t.total), t.digits(), int(t.bits))), 4+4*int(t.bits))
}

// plainKey is the raw of a plain number.
func plainKey(digits uint64) (raw [16]byte) {
	binary.BigEndian.PutUint64(raw[8:], digits)
	return raw
}
