package phone

import (
	"slices"

	"github.com/nyaruka/phonenumbers"
)

// plan is the numbering plan behind one country calling code.
type plan struct {
	code    int
	digits  int      // of the calling code, 1 to 3
	lengths uint32   // bit n: the plan uses national numbers of n digits
	regions []string // who shares the plan, the main one first; none for +800 and the like
}

// planTable finds plans by calling code and regions by name.
type planTable struct {
	// byLead is indexed by the first three digits of a number. Calling codes are
	// prefix-free, so one look decides.
	byLead  [1000]*plan
	regions map[string]*plan
}

// plans is read-only. libphonenumber has parsed its metadata by the time that
// this package is initialized.
var plans = newPlanTable()

func newPlanTable() *planTable {
	t := &planTable{regions: map[string]*plan{}}
	meta := metadataByCode()
	for code := range phonenumbers.GetSupportedCallingCodes() {
		p := &plan{code: code, digits: countDigits(uint64(code))}
		for _, m := range meta[code] {
			if m.GetId() != phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
				p.regions = append(p.regions, m.GetId())
				t.regions[m.GetId()] = p
			}
		}
		// As libphonenumber does, the main region speaks for all that share the plan.
		for _, n := range meta[code][0].GetGeneralDesc().GetPossibleLength() {
			if int(n) <= maxDigits-p.digits {
				p.lengths |= 1 << n
			}
		}
		width := int(pow10[3-p.digits])
		for lead := code * width; lead < (code+1)*width; lead++ {
			t.byLead[lead] = p
		}
	}
	return t
}

// metadataByCode returns the metadata of each calling code, the main region first.
func metadataByCode() map[int][]*phonenumbers.PhoneMetadata {
	byCode := map[int][]*phonenumbers.PhoneMetadata{}
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return byCode // cannot be: the library itself would not have started
	}
	for _, m := range all.GetMetadata() {
		code := int(m.GetCountryCode())
		byCode[code] = append(byCode[code], m)
	}
	for code, list := range byCode {
		order := phonenumbers.GetRegionCodesForCountryCode(code)
		slices.SortFunc(list, func(a, b *phonenumbers.PhoneMetadata) int {
			return slices.Index(order, a.GetId()) - slices.Index(order, b.GetId())
		})
	}
	return byCode
}

// find returns the plan of the digits and how many of them are the national
// number, or nil if no calling code is assigned.
func (t *planTable) find(digits uint64) (*plan, int) {
	n := countDigits(digits)
	if n < 3 || n > maxDigits {
		return nil, 0
	}
	p := t.byLead[digits/pow10[n-3]]
	if p == nil {
		return nil, 0
	}
	return p, n - p.digits
}

// possible returns 0 if the plan uses national numbers of that many digits, and
// else the reason to refuse it.
func (p *plan) possible(national int) Reason {
	switch above := p.lengths >> national; {
	case above&1 != 0:
		return 0
	case above == 0:
		return TooLong
	case p.lengths&(1<<national-1) == 0:
		return TooShort
	default:
		return BadLength
	}
}

// splitCallingCode returns the calling code and the count of national digits.
func splitCallingCode(digits uint64) (code, national int) {
	p, national := plans.find(digits)
	if p == nil {
		return 0, 0
	}
	return p.code, national
}
