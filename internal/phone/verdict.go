package phone

import (
	"slices"

	"github.com/nyaruka/phonenumbers"
)

// A verdict is what the automaton of a plan says about a national number: bits 0
// to 3 the Type, bit 4 whether the number is valid, from bit 5 on 1 + the index in
// plan.regions of the country that shares the plan and has the number, 0 for none.
const (
	verdictType    = 1<<4 - 1
	verdictValid   = 1 << 4
	verdictCountry = 5
)

// description is the part of a plan that describes the numbers of one type. The
// lengths rule out some of what the pattern matches.
type description struct {
	pattern int    // index in the builder, -1 for no such numbers
	lengths uint32 // bit n: numbers of n digits
}

// country is one region of a plan.
type country struct {
	prefix  int // index of a pattern that decides alone who has the number, or -1
	general description
	types   [Voicemail + 1]description
	// sameMobile: mobile and fixed numbers look alike.
	sameMobile bool
}

// numberAutomaton builds the automaton for national numbers of up to longest
// digits. It gives what libphonenumber gives, some hundred times faster; a test
// holds them together.
func numberAutomaton(regions []*phonenumbers.PhoneMetadata, longest int) automaton {
	var b builder
	countries := make([]country, len(regions))
	for i, m := range regions {
		countries[i] = country{
			prefix:  b.addSome(m.GetLeadingDigits(), true),
			general: b.describe(m.GetGeneralDesc()),
			types: [...]description{
				UnknownType: {pattern: -1}, FixedOrMobile: {pattern: -1},
				Mobile: b.describe(m.GetMobile()), Fixed: b.describe(m.GetFixedLine()), TollFree: b.describe(m.GetTollFree()),
				Premium: b.describe(m.GetPremiumRate()), SharedCost: b.describe(m.GetSharedCost()), VoIP: b.describe(m.GetVoip()),
				Personal: b.describe(m.GetPersonalNumber()), Pager: b.describe(m.GetPager()), UAN: b.describe(m.GetUan()),
				Voicemail: b.describe(m.GetVoicemail()),
			},
			sameMobile: m.GetSameMobileAndFixedLinePattern(),
		}
	}
	b.verdict = func(matched []bool, digits int) uint16 {
		for i, c := range countries {
			t := c.typeOf(matched, digits)
			mine := t != UnknownType
			if c.prefix >= 0 && len(countries) > 1 {
				mine = matched[c.prefix]
			}
			if !mine {
				continue
			}
			v := uint16(i+1)<<verdictCountry | uint16(t)
			if t != UnknownType {
				v |= verdictValid
			}
			return v
		}
		return 0
	}
	return b.build(longest)
}

func (b *builder) describe(d *phonenumbers.PhoneNumberDesc) description {
	out := description{pattern: b.addSome(d.GetNationalNumberPattern(), false)}
	for _, n := range d.GetPossibleLength() {
		if n > 0 { // -1 stands for no number at all
			out.lengths |= 1 << n
		}
	}
	if len(d.GetPossibleLength()) == 0 { // those of the general description
		out.lengths = 1<<32 - 1
	}
	return out
}

func (d description) matches(matched []bool, digits int) bool {
	return d.pattern >= 0 && matched[d.pattern] && d.lengths>>digits&1 != 0
}

// addSome adds a pattern, or returns -1 if it is empty.
func (b *builder) addSome(pattern string, prefixes bool) int {
	if pattern == "" {
		return -1
	}
	return b.add(pattern, prefixes)
}

// typeOf takes the first type that matches, in the order of libphonenumber.
func (c *country) typeOf(matched []bool, digits int) Type {
	if !c.general.matches(matched, digits) {
		return UnknownType
	}
	for _, t := range []Type{Premium, TollFree, SharedCost, VoIP, Personal, Pager, UAN, Voicemail} {
		if c.types[t].matches(matched, digits) {
			return t
		}
	}
	switch fixed, mobile := c.types[Fixed].matches(matched, digits), c.types[Mobile].matches(matched, digits); {
	case fixed && (mobile || c.sameMobile):
		return FixedOrMobile
	case fixed:
		return Fixed
	case mobile && !c.sameMobile:
		return Mobile
	default:
		return UnknownType
	}
}

// prefixAutomaton recognizes digits that begin with one of the patterns, empty
// beginnings apart.
func prefixAutomaton(patterns ...string) automaton {
	var b builder
	for _, p := range patterns {
		b.addSome(p, false)
	}
	b.verdict = func(matched []bool, digits int) uint16 {
		if digits > 0 && slices.Contains(matched, true) {
			return 1
		}
		return 0
	}
	return b.build(maxSpelled)
}
