package phone

import (
	"strconv"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// home is the region that a spelling without a plus is dialled in.
type home struct {
	*plan
	iso string
	// zeroTrunk: 0 and nothing else is dialled before a national number.
	zeroTrunk bool
	// special recognizes what does not dial a national number as it is: an
	// international prefix, the calling code, a trunk prefix other than 0.
	special func() automaton
}

func newHome(p *plan, m *phonenumbers.PhoneMetadata) *home {
	trunk := m.GetNationalPrefixForParsing()
	h := &home{plan: p, iso: m.GetId(), zeroTrunk: trunk == "0"}
	if h.zeroTrunk {
		trunk = ""
	}
	h.special = sync.OnceValue(func() automaton {
		return prefixAutomaton(m.GetInternationalPrefix(), strconv.Itoa(p.code), trunk)
	})
	return h
}

// plain reads the usual national spellings, 9123 4567 and 07400 123456, as
// libphonenumber would, without it. It returns false for all that it is not sure of.
func (h *home) plain(digits string) (Number, bool) {
	if h.special().recognizes(digits) {
		return Number{}, false
	}
	trunk := h.zeroTrunk && digits[0] == '0'
	if trunk {
		digits = digits[1:]
	}
	var b [2 * maxSpelled]byte
	o := international(string(append(appendDigits(b[:0], uint64(h.code)), digits...)))
	if o.reason != 0 {
		return Number{}, false
	}
	// libphonenumber takes a 0 off only if that makes a number of this region,
	// and what is no such number may be a short code.
	if trunk || len(digits) <= longestShortCode {
		if info := o.number.Info(); !info.Valid || info.Country != h.iso {
			return Number{}, false
		}
	}
	return o.number, true
}
