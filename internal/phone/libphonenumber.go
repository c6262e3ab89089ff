package phone

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// dial asks libphonenumber what a national spelling, as ASCII digits, reaches in
// the region. It takes some 10 us.
func dial(digits, region string) outcome {
	kept := strings.Clone(digits) // the library's hold on it would cost each caller an allocation
	m, err := phonenumbers.Parse(kept, region)
	if err != nil {
		if phonenumbers.IsEmergencyNumber(kept, region) {
			return outcome{reason: ShortCode}
		}
		return outcome{reason: reasonOf(err)}
	}
	o := settle(m)
	// A few small countries have subscriber numbers as short as service codes.
	if len(kept) <= longestShortCode && (o.reason != 0 || !o.number.Info().Valid) &&
		(phonenumbers.IsEmergencyNumber(kept, region) || phonenumbers.IsValidShortNumberForRegion(m, region)) {
		return outcome{reason: ShortCode}
	}
	return o
}

// longestShortCode is the most digits of a short code in libphonenumber's metadata.
const longestShortCode = 8

// untrunk asks libphonenumber to take off a trunk prefix after the calling code.
func untrunk(digits string) outcome {
	m, err := phonenumbers.Parse("+"+digits, "")
	if err != nil {
		return outcome{reason: reasonOf(err)}
	}
	return settle(m)
}

// settle makes a number of libphonenumber's answer. A number with two trunk
// zeros, +49 0030..., loses one each time it is read, so it is read until it
// stays as it is: else one number had two keys.
func settle(m *phonenumbers.PhoneNumber) outcome {
	digits := phonenumbers.Format(m, phonenumbers.E164)[1:]
	for range maxDigits {
		p := plans.find(digits)
		if p == nil {
			return outcome{reason: UnknownCallingCode}
		}
		if !p.maybeTrunk(digits[p.digits:]) {
			return p.admit(digits)
		}
		again, err := phonenumbers.Parse("+"+digits, "")
		if err != nil {
			return outcome{reason: reasonOf(err)}
		}
		next := phonenumbers.Format(again, phonenumbers.E164)[1:]
		if next == digits {
			return p.admit(digits)
		}
		digits = next
	}
	return outcome{reason: BadLength}
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
		return UnknownCallingCode
	case errors.Is(err, phonenumbers.ErrNumTooLong):
		return TooLong
	default: // the input is digits, so there can only be too few
		return TooShort
	}
}
