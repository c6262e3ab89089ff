package phone

import "strings"

// Parse reads a number as people and machines write it. defaultRegion is the
// ISO 3166-1 alpha-2 code, upper case, of the country that a national spelling
// belongs to, or "" if only international spellings are expected. The error is
// always a [*ParseError] and never holds the input.
//
// A spelling without a plus is read as one dials it in the default region:
// international prefix (00, 011, ...), trunk zero, own calling code. Only if that
// is impossible there, a number that is valid with a plus put before it is taken
// as such. Without a default region that is the only reading, and 00 is the plus;
// so set one where clients write national numbers: 201 555 0123 is in Egypt too.
func Parse(s, defaultRegion string) (Number, error) {
	var home *home
	if defaultRegion != "" {
		if home = plans.region(defaultRegion); home == nil {
			return Number{}, refuse(UnknownRegion)
		}
	}
	if isE164(s) {
		return international(s[1:]).unpack()
	}
	var spelled spelling
	if reason := spelled.scan(s); reason != 0 {
		return Number{}, refuse(reason)
	}
	digits := string(spelled.digits[:spelled.n])
	if spelled.plus {
		return international(digits).unpack()
	}
	if home == nil {
		return homeless(digits).unpack()
	}
	return home.national(digits).unpack()
}

// FromDigits is the way back from [Number.Digits]. Other integers are read as
// Parse reads them after a plus.
func FromDigits(digits uint64) (Number, error) {
	var b [20]byte
	return international(string(appendDigits(b[:0], digits))).unpack()
}

// outcome is what a spelling comes to: a number, or the reason why not.
type outcome struct {
	number Number
	reason Reason
}

func (o outcome) unpack() (Number, error) {
	if o.reason != 0 {
		return Number{}, refuse(o.reason)
	}
	return o.number, nil
}

// isE164 reports whether s is a plus and digits, and not too many to be read.
func isE164(s string) bool {
	if len(s) < 2 || len(s) > maxSpelled || s[0] != '+' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return true
}

// international reads the ASCII digits after a plus.
func international(digits string) outcome {
	p := plans.find(digits)
	switch {
	case len(digits) < 3:
		return outcome{reason: TooShort}
	case p == nil:
		return outcome{reason: UnknownCallingCode}
	case p.maybeTrunk(digits[p.digits:]):
		// +44 (0)20 ...: the digits may not be E.164 yet.
		return remember("", digits, func() outcome { return untrunk(digits) })
	}
	return p.admit(digits)
}

// admit makes a number of digits that need no change.
func (p *plan) admit(digits string) outcome {
	if reason := p.possible(len(digits) - p.digits); reason != 0 {
		return outcome{reason: reason}
	}
	var d uint64
	for i := 0; i < len(digits); i++ {
		d = d*10 + uint64(digits[i]-'0')
	}
	return outcome{number: fromDigits(d)}
}

// homeless reads digits that came without plus and without default region. What
// is not a valid number could be a national one.
func homeless(digits string) outcome {
	if strings.HasPrefix(digits, "00") {
		return international(digits[2:])
	}
	o := international(digits)
	switch {
	case o.reason == 0 && o.number.Info().Valid:
		return o
	case len(digits) > maxDigits:
		return outcome{reason: TooLong}
	default:
		return outcome{reason: NoRegion}
	}
}

// national reads digits that came without a plus, as dialled in the region.
func (h *home) national(digits string) outcome {
	if n, ok := h.plain(digits); ok {
		return outcome{number: n}
	}
	return remember(h.iso, digits, func() outcome {
		dialled := dial(digits, h.iso)
		if dialled.reason == 0 || dialled.reason == ShortCode {
			return dialled
		}
		if o := homeless(digits); o.reason == 0 {
			return o
		}
		return dialled
	})
}
