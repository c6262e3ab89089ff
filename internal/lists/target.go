package lists

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Kind is what an entry is about.
type Kind uint8

// The kinds. KindAddress is a single address or a CIDR.
const (
	KindNumber Kind = iota + 1
	KindRange
	KindPrefix
	KindCountry
	KindAddress
	KindAccount
)

func (k Kind) String() string {
	switch k {
	case KindNumber:
		return "number"
	case KindRange:
		return "range"
	case KindPrefix:
		return "prefix"
	case KindCountry:
		return "country"
	case KindAddress:
		return "address"
	case KindAccount:
		return "account"
	}
	return "none"
}

const (
	minDigits       = 7  // of a full number; shorter ones are short codes, which have no E.164 form
	maxDigits       = 15 // E.164
	minMasked       = 2  // of a range: one hidden digit would leave a number to be guessed in ten tries
	maxPrefixDigits = 9  // a longer prefix could be somebody's full number
)

// Target is what one entry is about. It is comparable. Exact numbers print masked.
type Target struct {
	plain
	account string // KindAccount
}

// plain is a target without its text: it holds no pointers, so a million of them cost the collector nothing.
type plain struct {
	kind   Kind
	bits   uint8    // digits that are fixed, or the prefix length of an address
	total  uint8    // KindRange: digits of the whole number
	sealed bool     // KindNumber: raw is the seal, not the digits
	v4     bool     // KindAddress
	ends   [2]uint8 // KindNumber: the first and last two digits, for the mask
	key    keyID    // of a seal
	raw    key      // seal; digits, big endian in the last 8 bytes; country in the first 2; address, IPv4 as mapped
}

// ParseTarget reads the text of an entry:
//
//	+6591234567           a number in E.164
//	+6591234***           a range: all numbers of that length; 2 masked digits at least
//	+6591*                a prefix: all numbers that begin so; 9 digits at most
//	SG                    a country, ISO 3166 alpha-2
//	203.0.113.7           an address
//	2001:db8::/48         a CIDR
//	account:acme          an account
//	hmac:5f1c2e90:...     a number as the journal and Target.ID write it
//
// Errors say what to write instead and never carry the text, which may be a number.
func ParseTarget(text string) (Target, error) {
	switch {
	case text == "":
		return Target{}, errors.New("no target: write a number like +6591234567, a range like +6591234***, a prefix like +6591*, a country like SG, an address, a CIDR or account:NAME")
	case text[0] == '+':
		return parseNumber(text[1:])
	case strings.HasPrefix(text, sealPrefix):
		return parseSeal(text)
	case strings.HasPrefix(text, accountPrefix):
		return parseAccount(text[len(accountPrefix):])
	case strings.ContainsAny(text, ".:/"):
		return parseAddress(text)
	case len(text) == 2 && isLetter(text[0]) && isLetter(text[1]):
		return parseCountry(text)
	case text[0] >= '0' && text[0] <= '9':
		return Target{}, errors.New("a number without +: write it in E.164, like +6591234567")
	}
	return Target{}, errors.New("neither number, country nor address: write +6591234567, +6591234***, +6591*, SG, 203.0.113.7 or 2001:db8::/48")
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func parseNumber(text string) (Target, error) {
	known := strings.TrimRight(text, "*")
	masked := len(text) - len(known)
	if len(text) > 2*maxDigits {
		return Target{}, errors.New("too long: a number has 15 digits at most")
	}
	for _, c := range []byte(known) {
		if c == '*' {
			return Target{}, errors.New("a star before a digit: stars stand at the end, like +6591234***")
		}
		if c < '0' || c > '9' {
			return Target{}, errors.New("a number has only digits after the +, like +6591234567")
		}
	}
	if known == "" || known[0] == '0' {
		return Target{}, errors.New("a number begins with a country calling code after the +, like +65")
	}
	digits, err := strconv.ParseUint(known, 10, 64)
	if err != nil || len(known) > maxDigits {
		return Target{}, errors.New("too long: a number has 15 digits at most")
	}
	t := Target{plain: plain{bits: uint8(len(known)), raw: plainKey(digits)}}
	switch {
	case masked == 0 && len(known) < minDigits:
		return Target{}, errors.New("too short for a full number: for all numbers that begin so put a star behind it, like +6591*")
	case masked == 0:
		t.kind = KindNumber
		first := digits
		for first > 99 {
			first /= 10
		}
		t.ends = [2]uint8{uint8(first), uint8(digits % 100)}
	case masked == 1 && len(known) > maxPrefixDigits:
		return Target{}, errors.New("a prefix has 9 digits at most, more could be a full number: write a range with 2 or more stars, like +6591234***")
	case masked == 1:
		t.kind = KindPrefix
	case len(text) < minDigits || len(text) > maxDigits:
		return Target{}, errors.New("the stars of a range stand for one digit each and the whole has 7 to 15: write +6591234*** or, for any length, a prefix with one star like +6591*")
	default:
		t.kind, t.total = KindRange, uint8(len(text))
	}
	return t, nil
}

func parseCountry(text string) (Target, error) {
	code := strings.ToUpper(text)
	if code == "UK" {
		return Target{}, errors.New("UK is no ISO 3166 code: write GB")
	}
	t := Target{plain: plain{kind: KindCountry}}
	copy(t.raw[:], code)
	return t, nil
}

func parseAddress(text string) (Target, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return Target{}, errors.New("not an address: write one like 203.0.113.7 or 2001:db8::7, without port and zone")
		}
		addr = addr.Unmap()
		return addressTarget(netip.PrefixFrom(addr, addr.BitLen())), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return Target{}, errors.New("not a CIDR: write one like 203.0.113.0/24 or 2001:db8::/48")
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return Target{}, errors.New("a CIDR of IPv4-mapped addresses: write it as IPv4, like 203.0.113.0/24")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Bits() == 0 {
		return Target{}, errors.New("a CIDR of length 0 is everybody: write a longer prefix")
	}
	if p != p.Masked() {
		return Target{}, fmt.Errorf("a CIDR with bits behind its length: write %s", p.Masked())
	}
	return addressTarget(p), nil
}

func addressTarget(p netip.Prefix) Target {
	return Target{plain: plain{kind: KindAddress, bits: uint8(p.Bits()), v4: p.Addr().Is4(), raw: p.Addr().As16()}}
}

const (
	accountPrefix = "account:"
	maxAccount    = 128 // bytes, as in a request
)

func parseAccount(name string) (Target, error) {
	if name == "" || checkText("", name, maxAccount) != nil {
		return Target{}, errors.New("not an account: write its name behind account:, like account:acme; at most 128 bytes, one line, no phone number")
	}
	return Target{plain{kind: KindAccount}, name}, nil
}

const sealPrefix = "hmac:"

func parseSeal(text string) (Target, error) {
	bad := errors.New("not a sealed number: copy it as it is shown, like hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+65****67")
	part := strings.Split(text, ":")
	if len(part) != 4 {
		return Target{}, bad
	}
	id, err := strconv.ParseUint(part[1], 16, 32)
	if err != nil || len(part[1]) != 8 {
		return Target{}, bad
	}
	seal, err := base64.RawURLEncoding.Strict().DecodeString(part[2])
	if err != nil || len(seal) != 16 {
		return Target{}, bad
	}
	mask := part[3]
	if len(mask) != len("+65****67") || mask[0] != '+' || mask[3:7] != "****" {
		return Target{}, bad
	}
	first, err1 := strconv.ParseUint(mask[1:3], 10, 8)
	last, err2 := strconv.ParseUint(mask[7:], 10, 8)
	if err1 != nil || err2 != nil || first < 10 {
		return Target{}, bad
	}
	t := Target{plain: plain{kind: KindNumber, sealed: true, key: keyID(id), raw: [16]byte(seal), ends: [2]uint8{uint8(first), uint8(last)}}}
	if t.ID() != text {
		return Target{}, bad // upper-case hex and the like: one number has one text
	}
	return t, nil
}

// Account is the name of an account, "" for other kinds.
func (t Target) Account() string { return t.account }

// Kind tells what the target is.
func (t Target) Kind() Kind { return t.kind }

// String is the target as written, except for exact numbers, which are masked like +65****67.
func (t Target) String() string {
	switch t.kind {
	case KindNumber:
		return fmt.Sprintf("+%02d****%02d", t.ends[0], t.ends[1])
	case KindRange:
		return fmt.Sprintf("+%d%s", t.digits(), strings.Repeat("*", int(t.total-t.bits)))
	case KindPrefix:
		return fmt.Sprintf("+%d*", t.digits())
	case KindCountry:
		return string(t.raw[:2])
	case KindAddress:
		if p := t.prefix(); !p.IsSingleIP() {
			return p.String()
		}
		return t.prefix().Addr().String()
	case KindAccount:
		return accountPrefix + t.account
	}
	return ""
}

// Format prints String for every verb, so that %d and %x do not show what is masked.
func (t Target) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// ID is a text that ParseTarget reads back, except for an exact number that was never in a Store: that has only its mask.
func (t Target) ID() string {
	if !t.sealed {
		return t.String()
	}
	return fmt.Sprintf("%s%08x:%s:%s", sealPrefix, uint32(t.key), base64.RawURLEncoding.EncodeToString(t.raw[:]), t.String())
}

func (t Target) digits() uint64 { return binary.BigEndian.Uint64(t.raw[8:]) }

func (t Target) prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16(t.raw).Unmap(), int(t.bits))
}

// rank orders targets of one dimension: the higher is the more specific.
func (t plain) rank() int {
	switch t.kind {
	case KindNumber:
		return 255
	case KindRange:
		return 2*int(t.bits) + 1 // fixes the length, too
	case KindPrefix:
		return 2 * int(t.bits)
	case KindAddress:
		return int(t.bits)
	}
	return 0 // a country: every prefix lies within one, or nearly
}
