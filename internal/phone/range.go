package phone

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// Digits that a [Range] can mask.
const (
	MinMasked = 2
	MaxMasked = 6
)

// Range is a block of neighbouring numbers: all that are equal but for the last
// digits. It is comparable; the zero value is no range.
type Range struct {
	prefix uint64 // the digits before the masked ones, calling code first
	masked uint8
}

// Range returns the block of 10^masked numbers that n is in. masked is held
// between 2 and 6, and to the national number: the calling code is never
// masked. Where the national number is shorter than masked, the result is the
// same Range as for the largest masked that fits, so count equal ones once.
func (n Number) Range(masked int) Range {
	if n.IsZero() {
		return Range{}
	}
	digits := n.Digits()
	_, national := plans.split(digits)
	masked = min(max(masked, MinMasked), MaxMasked, national)
	return Range{prefix: digits / pow10[masked], masked: uint8(masked)}
}

// IsZero reports whether r is no range.
func (r Range) IsZero() bool { return r == Range{} }

// Masked returns how many digits are masked, 0 for no range.
func (r Range) Masked() int { return int(r.masked) }

// Key returns a number that is unique to the range: its prefix and how many
// digits are masked. It fits 53 bits and is 0 for no range only.
func (r Range) Key() uint64 { return r.prefix<<3 | uint64(r.masked) }

// Contains reports whether n is in the range.
func (r Range) Contains(n Number) bool {
	return !r.IsZero() && n.Digits()/pow10[r.masked] == r.prefix
}

// String returns the range as +6591234***, a star for each masked digit.
func (r Range) String() string {
	if r.IsZero() {
		return "none"
	}
	return "+" + strconv.FormatUint(r.prefix, 10) + "******"[:r.masked]
}

// LogValue logs the range as [Range.String] writes it.
func (r Range) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText writes what [ParseRange] reads.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// ParseRange reads a range as [Range.String] writes it: +6591234***, with 2 to
// 6 stars, which must not reach into the calling code. The error does not
// contain the input.
func ParseRange(s string) (Range, error) {
	prefix := strings.TrimRight(s, "*")
	masked := len(s) - len(prefix)
	if !isE164(prefix) || masked < MinMasked || masked > MaxMasked {
		return Range{}, fmt.Errorf("not a number range: write a plus, the first digits and %d to %d stars, such as +6591***", MinMasked, MaxMasked)
	}
	first := prefix[1:] + "000000"[:masked]
	p := plans.find(first)
	if p == nil || len(prefix)-1 < p.digits {
		return Range{}, fmt.Errorf("not a number range: it %s", reasonTexts[UnknownCallingCode].text)
	}
	o := p.admit(first)
	if o.reason != 0 {
		return Range{}, fmt.Errorf("not a number range: a number in it %s", reasonTexts[o.reason].text)
	}
	return o.number.Range(masked), nil
}
