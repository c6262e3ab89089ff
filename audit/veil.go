package audit

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"unicode"

	"github.com/sendgate/sendgate/internal/phone"
)

// Veil writes numbers and addresses so that they are the same each time, share their beginning with their neighbours, and cannot be
// read without the secret. It is safe for concurrent use.
type Veil struct{ block cipher.Block }

// NewVeil makes the veil of a secret.
func NewVeil(secret []byte) (*Veil, error) {
	block, err := aes.NewCipher(derive(secret, "veil")[:16])
	if err != nil {
		return nil, err
	}
	return &Veil{block}, nil
}

// veiledDigits of a number are hidden: detection shows as much of a range.
const veiledDigits = 6

// Number writes a number as "+6581" and six letters. The letter of a digit depends on all digits before it.
func (v *Veil) Number(n phone.Number) string {
	if n.IsZero() {
		return ""
	}
	text := n.AppendE164(make([]byte, 0, 16))
	code := 2 // the sign and a digit
	for c := n.CallingCode(); c >= 10; c /= 10 {
		code++
	}
	for i := len(text) - 1; i >= max(code, len(text)-veiledDigits); i-- {
		text[i] = 'a' + v.letters(text[1:i])[text[i]-'0']
	}
	return string(text)
}

// Unveil writes digits for the letters of Number that stand in the same order each time but are not those of the number: a stand-in
// for replay, in the same country and with the same neighbours.
func Unveil(number string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'j' {
			return '0' + r - 'a'
		}
		return r
	}, number)
}

// letters is which letter each digit gets behind a beginning: one of the 10! orders, chosen by a keyed function of the beginning. That
// 2^64 is no multiple of 10! favours some orders by one in a million millions.
func (v *Veil) letters(before []byte) (order [10]byte) {
	var in [aes.BlockSize]byte
	copy(in[1:], before) // at most 15 digits
	in[0] = byte(len(before))
	v.block.Encrypt(in[:], in[:])
	pick := binary.LittleEndian.Uint64(in[:8])
	for i := range order {
		order[i] = byte(i)
	}
	for i := uint64(10); i > 1; i-- {
		j := pick % i
		pick /= i
		order[i-1], order[j] = order[j], order[i-1]
	}
	return order
}

// Address writes an address as letters, two for each byte: an IPv4 address, or the first half of an IPv6 address, which is what
// networks are told apart by. Addresses of one network share the leading letters.
func (v *Veil) Address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap()
	bytes, kind := a.AsSlice(), byte(0x80)
	if a.Is6() {
		bytes, kind = bytes[:8], 0xc0
	}
	out := []byte("ip4:")
	if a.Is6() {
		out = []byte("ip6:")
	}
	for i, b := range bytes {
		var in [aes.BlockSize]byte
		in[0] = kind + byte(i)
		copy(in[1:], bytes[:i])
		if i > 0 { // the first says which registry it is from; replay must not get a loopback or multicast address
			v.block.Encrypt(in[:], in[:])
			b ^= in[0]
		}
		out = append(out, 'a'+b>>4, 'a'+b&15)
	}
	return string(out)
}

// UnveilAddress makes a stand-in address for replay out of what Address wrote.
func UnveilAddress(text string) (netip.Addr, error) {
	kind, letters, ok := strings.Cut(text, ":")
	size := map[string]int{"ip4": 4, "ip6": 16}[kind]
	if !ok || size == 0 || len(letters) != min(2*size, 16) || strings.Trim(letters, "abcdefghijklmnop") != "" {
		return netip.Addr{}, errors.New("not an address of an audit log")
	}
	bytes := make([]byte, size)
	for i := range len(letters) / 2 {
		bytes[i] = (letters[2*i]-'a')<<4 | (letters[2*i+1] - 'a')
	}
	a, _ := netip.AddrFromSlice(bytes)
	return a, nil
}

// sampled says whether a number is among the share of all that is looked at: the same numbers each time, so that of each the whole
// story is there.
func (v *Veil) sampled(n phone.Number, share float64) bool {
	switch {
	case share <= 0:
		return false
	case share >= 1:
		return true
	}
	in := [aes.BlockSize]byte{0: 0xff}
	binary.BigEndian.PutUint64(in[1:], n.Digits())
	v.block.Encrypt(in[:], in[:])
	return float64(binary.LittleEndian.Uint64(in[:8])) < share*(1<<64)
}

// Clean takes what may be a phone number out of a text that somebody else wrote: each run of 7 digits or more, however they are parted.
func Clean(text string) string {
	if !strings.ContainsFunc(text, unicode.IsDigit) {
		return text
	}
	runes := []rune(text)
	var out []rune
	for i := 0; i < len(runes); {
		end, digits := i, 0
		for j := i; j < len(runes) && (unicode.IsDigit(runes[j]) || digits > 0 && parts(runes[j])); j++ {
			if unicode.IsDigit(runes[j]) {
				end, digits = j+1, digits+1
			}
		}
		switch {
		case digits >= 7:
			out = append(out, '#')
			i = end
		case end > i: // too few to be one
			out = append(out, runes[i:end]...)
			i = end
		default:
			out = append(out, runes[i])
			i++
		}
	}
	return string(out)
}

// parts says whether a rune may stand between the digits of a number.
func parts(r rune) bool {
	return strings.ContainsRune(" .-()/\u00a0\u2010\u2011\u2012\u2013", r)
}
