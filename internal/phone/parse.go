package phone

import "github.com/nyaruka/phonenumbers"

// Parse reads a number as people and machines write it. defaultRegion is the
// ISO 3166-1 alpha-2 code, upper case, of the country that a national spelling
// belongs to; "" if only international spellings are expected. The error is
// always a [*ParseError].
func Parse(s, defaultRegion string) (Number, error) {
	if defaultRegion != "" && plans.regions[defaultRegion] == nil {
		return Number{}, refuse(UnknownRegion)
	}
	if digits, err := readDigits(s); err == nil {
		if r := judge(digits); r != 0 {
			return Number{}, refuse(r)
		}
	}
	m, err := phonenumbers.Parse(s, defaultRegion)
	if err != nil {
		return Number{}, refuse(BadCharacter)
	}
	digits, _ := readDigits(phonenumbers.Format(m, phonenumbers.E164))
	return FromDigits(digits)
}

// FromDigits is the way back from [Number.Digits].
func FromDigits(digits uint64) (Number, error) {
	if r := judge(digits); r != 0 {
		return Number{}, refuse(r)
	}
	return fromDigits(digits), nil
}

// readDigits reads "+digits" and nothing else.
func readDigits(s string) (uint64, error) {
	if len(s) < 2 || s[0] != '+' || s[1] == '0' {
		return 0, refuse(BadCharacter)
	}
	if len(s) > maxDigits+1 {
		return 0, refuse(TooLong)
	}
	var digits uint64
	for i := 1; i < len(s); i++ {
		d := s[i] - '0'
		if d > 9 {
			return 0, refuse(BadCharacter)
		}
		digits = digits*10 + uint64(d)
	}
	return digits, nil
}

// judge returns 0 if the digits are a possible number.
func judge(digits uint64) Reason {
	p, national := plans.find(digits)
	if p == nil {
		return UnknownCallingCode
	}
	return p.possible(national)
}
