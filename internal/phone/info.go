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

// Info returns what the numbering plan says about n.
func (n Number) Info() Info {
	if n.IsZero() {
		return Info{}
	}
	m, err := phonenumbers.Parse(n.E164(), "")
	if err != nil {
		return Info{}
	}
	country := phonenumbers.GetRegionCodeForNumber(m)
	if country == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
		country = ""
	}
	return Info{
		Country:     country,
		CallingCode: int(m.GetCountryCode()),
		Type:        typeOf(phonenumbers.GetNumberType(m)),
		Possible:    phonenumbers.IsPossibleNumber(m),
		Valid:       phonenumbers.IsValidNumber(m),
	}
}

// Country returns Info().Country.
func (n Number) Country() string { return n.Info().Country }

func typeOf(t phonenumbers.PhoneNumberType) Type {
	switch t {
	case phonenumbers.MOBILE:
		return Mobile
	case phonenumbers.FIXED_LINE:
		return Fixed
	case phonenumbers.FIXED_LINE_OR_MOBILE:
		return FixedOrMobile
	}
	return UnknownType
}
