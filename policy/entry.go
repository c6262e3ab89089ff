package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sendgate/sendgate/internal/phone"
)

// Entry is one value of a list. Exactly one field is set. It masks numbers when it is printed.
type Entry struct {
	Number  phone.Number
	Range   phone.Range
	Prefix  string // the digits after the +, 1 to 7 of them
	Country string
	Address netip.Prefix
}

// String writes the entry as a policy does, a number masked.
func (e Entry) String() string {
	switch {
	case !e.Number.IsZero():
		return e.Number.String()
	case !e.Range.IsZero():
		return e.Range.String()
	case e.Prefix != "":
		return "+" + e.Prefix + "*"
	case e.Country != "":
		return e.Country
	}
	return e.Address.String()
}

// MarshalText is String.
func (e Entry) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// maxPrefix keeps a prefix from being a number: the shortest numbers have 7 digits behind the +.
const maxPrefix = 7

var prefixPattern = regexp.MustCompile(`^\+[1-9][0-9]*\*$`)

// entry reads any entry of a list. Its errors never show the text: it may be somebody's number.
func entry(dst *Entry) value {
	return scalar("entry", "a number (+6591234567), range (+6591234***), prefix (+6591*), country (SG), address or CIDR", func(text string, _ bool) error {
		switch {
		case strings.HasPrefix(text, "+"):
			return dst.readNumber(text)
		case len(text) == 2:
			return readCountry(&dst.Country, text)
		case !strings.ContainsAny(text, ".:"):
			return errors.New("not an entry: write a number or range with its + (+6591234567, +6591234***), a prefix (+6591*), a country (SG), an address or a CIDR")
		}
		p, err := parsePrefix(text)
		if err == nil && p.Bits() == 0 {
			return fmt.Errorf("%s is every address: write a narrower CIDR", p)
		}
		dst.Address = p
		return err
	})
}

// testNumber reads the entries that a list of test numbers takes.
func testNumber(dst *Entry) value {
	return scalar("number", "a number (+6591234567), range (+6591234***) or prefix (+6591*)", func(text string, _ bool) error {
		if !strings.HasPrefix(text, "+") {
			return errors.New("not a number: write a number or range with its + (+6591234567, +6591234***) or a prefix (+6591*)")
		}
		return dst.readNumber(text)
	})
}

func (e *Entry) readNumber(text string) (err error) {
	switch {
	case prefixPattern.MatchString(text):
		if e.Prefix = text[1 : len(text)-1]; len(e.Prefix) > maxPrefix {
			e.Prefix = ""
			return fmt.Errorf("a prefix has at most %d digits: write a range, a star for each digit that may differ, such as +6591234***", maxPrefix)
		}
	case strings.Contains(text, "*"):
		e.Range, err = phone.ParseRange(text)
	default:
		e.Number, err = phone.Parse(text, "")
	}
	return err
}

// clear is the entry with nothing masked, for the version of a policy.
func (e Entry) clear() string {
	if e.Number.IsZero() {
		return e.String()
	}
	return e.Number.E164()
}

func has(set []string, s string) bool { return slices.Contains(set, s) }
