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

// description is the part of a plan that describes the numbers of one type.
type description struct {
	pattern int // in the builder, -1 for no such numbers
	lengths uint32
	of      Type
}

// country is one region of a plan.
type country struct {
	prefix       int // pattern that decides alone who has the number, -1 for none
	general      description
	types        []description // the first one that matches counts
	fixed        description
	mobile       description
	sameForFixed bool // mobile and fixed numbers look alike
}

// numberAutomaton builds the automaton for national numbers of up to longest
// digits. It gives what libphonenumber gives, some hundred times faster; a test
// holds them together.
func numberAutomaton(regions []*phonenumbers.PhoneMetadata, longest int) automaton {
	var b builder
	countries := make([]country, len(regions))
	for i, m := range regions {
		c := &countries[i]
		c.prefix = -1
		if m.GetLeadingDigits() != "" {
			c.prefix = b.add(m.GetLeadingDigits(), true)
		}
		c.general = b.describe(m.GetGeneralDesc(), UnknownType)
		c.types = []description{
			b.describe(m.GetPremiumRate(), Premium),
			b.describe(m.GetTollFree(), TollFree),
			b.describe(m.GetSharedCost(), SharedCost),
			b.describe(m.GetVoip(), VoIP),
			b.describe(m.GetPersonalNumber(), Personal),
			b.describe(m.GetPager(), Pager),
			b.describe(m.GetUan(), UAN),
			b.describe(m.GetVoicemail(), Voicemail),
		}
		c.fixed = b.describe(m.GetFixedLine(), Fixed)
		c.mobile = b.describe(m.GetMobile(), Mobile)
		c.sameForFixed = m.GetSameMobileAndFixedLinePattern()
	}
	b.verdict = func(matched []bool, digits int) uint16 {
		for i := range countries {
			c := &countries[i]
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

// describe adds the pattern of one type of number.
func (b *builder) describe(d *phonenumbers.PhoneNumberDesc, of Type) description {
	if d.GetNationalNumberPattern() == "" {
		return description{pattern: -1}
	}
	out := description{pattern: b.add(d.GetNationalNumberPattern(), false), of: of}
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

func (c *country) typeOf(matched []bool, digits int) Type {
	if !c.general.matches(matched, digits) {
		return UnknownType
	}
	for _, d := range c.types {
		if d.matches(matched, digits) {
			return d.of
		}
	}
	fixed, mobile := c.fixed.matches(matched, digits), c.mobile.matches(matched, digits)
	switch {
	case fixed && (mobile || c.sameForFixed):
		return FixedOrMobile
	case fixed:
		return Fixed
	case mobile && !c.sameForFixed:
		return Mobile
	}
	return UnknownType
}

// prefixAutomaton recognizes digits that begin with one of the patterns, empty
// beginnings apart.
func prefixAutomaton(patterns ...string) automaton {
	var b builder
	for _, p := range patterns {
		if p != "" {
			b.add(p, false)
		}
	}
	b.verdict = func(matched []bool, digits int) uint16 {
		if digits > 0 && slices.Contains(matched, true) {
			return 1
		}
		return 0
	}
	return b.build(maxSpelled)
}
