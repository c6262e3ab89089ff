package phone

import (
	"fmt"

	"github.com/nyaruka/phonenumbers"
)

// Type is what a number is used for, by its numbering plan.
type Type uint8

// The types. In some plans, such as +1, the digits do not tell mobile from
// fixed: those are FixedOrMobile.
const (
	UnknownType Type = iota
	Mobile
	Fixed
	FixedOrMobile
	TollFree
	Premium
	SharedCost
	VoIP
	Personal
	Pager
	UAN // universal access number of a company
	Voicemail
)

var typeNames = [...]string{"unknown", "mobile", "fixed", "fixed_or_mobile", "toll_free", "premium",
	"shared_cost", "voip", "personal", "pager", "uan", "voicemail"}

// String returns the stable name, such as "fixed_or_mobile".
func (t Type) String() string {
	if int(t) >= len(typeNames) {
		return typeNames[UnknownType]
	}
	return typeNames[t]
}

// MarshalText writes the stable name.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a stable name.
func (t *Type) UnmarshalText(text []byte) error {
	for i, name := range typeNames {
		if name == string(text) {
			*t = Type(i)
			return nil
		}
	}
	return fmt.Errorf("unknown number type %q: write one of %q", text, typeNames)
}

// Info is what the numbering plan says about a number.
type Info struct {
	Country     string // ISO 3166-1 alpha-2, upper case; "" where the digits name none (+800, unused +1 codes)
	CallingCode int    // 1 to 999; 0 for no number
	Type        Type   // UnknownType unless Valid
	Possible    bool   // the length is one that the plan uses
	Valid       bool   // the plan uses these digits; never says that a subscriber has them
}

// Info returns what the numbering plan says about n. It does not allocate.
func (n Number) Info() Info {
	if n.IsZero() {
		return Info{}
	}
	p, national := plans.split(n.Digits())
	v := p.judge(n.Digits(), national)
	return Info{
		Country:     p.country(v),
		CallingCode: p.code,
		Type:        Type(v & verdictType),
		Possible:    p.possible(national) == 0,
		Valid:       v&verdictValid != 0,
	}
}

// Country returns Info().Country. It costs next to nothing where a calling code
// is of one country, which most are.
func (n Number) Country() string {
	if n.IsZero() {
		return ""
	}
	p, national := plans.split(n.Digits())
	if len(p.regions) < 2 {
		return p.country(0)
	}
	return p.country(p.judge(n.Digits(), national))
}

// judge returns the verdict on the last digits, the national ones.
func (p *plan) judge(digits uint64, national int) uint16 {
	var b [maxDigits]byte
	for i := national - 1; i >= 0; i-- {
		b[i] = '0' + byte(digits%10)
		digits /= 10
	}
	return p.numbers().read(b[:national])
}

func (p *plan) country(verdict uint16) string {
	switch i := verdict >> verdictCountry; {
	case len(p.regions) == 0:
		return ""
	case len(p.regions) == 1: // it has all numbers, those not in use too
		return p.regions[0]
	case i == 0:
		return ""
	default:
		return p.regions[i-1]
	}
}

// NationalPrefixLen returns how many digits of the national number name its area
// or network, 2 for 020 7946 0018 in GB, or 0 where the plan has no such digits.
// It asks libphonenumber, which takes some 30 us: for people, not for each send.
func (n Number) NationalPrefixLen() int {
	if n.IsZero() {
		return 0
	}
	m, err := phonenumbers.Parse(n.E164(), "")
	if err != nil {
		return 0
	}
	return phonenumbers.GetLengthOfNationalDestinationCode(m)
}
