package phone

import (
	"math/bits"
	"slices"
	"strconv"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// plan is the numbering plan behind one country calling code. It is read-only;
// its automata are built when first needed, or by [Warm].
type plan struct {
	code    int
	digits  int      // of the calling code, 1 to 3
	lengths uint32   // bit n: the plan uses national numbers of n digits
	regions []string // who shares the plan, the main one first; none for +800 and the like

	numbers func() automaton // verdicts on national numbers
	trunk   func() automaton // recognizes what is dialled before a national number
}

// planTable finds plans by calling code and by region.
type planTable struct {
	// byLead is indexed by the first three digits of a number. Calling codes are
	// prefix-free, so one look decides.
	byLead [1000]*plan
	// byRegion is indexed by the two letters, each from A=0 to Z=25.
	byRegion [26 * 26]*home
}

// plans is read-only. libphonenumber has parsed its metadata by the time that
// this package is initialized.
var plans = newPlanTable()

func newPlanTable() *planTable {
	t := &planTable{}
	for code, regions := range metadataByCode() {
		p := &plan{code: code, digits: countDigits(uint64(code))}
		for _, m := range regions {
			if m.GetId() != phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
				p.regions = append(p.regions, m.GetId())
				t.byRegion[regionIndex(m.GetId())] = newHome(p, m)
			}
		}
		// As in libphonenumber, the main region speaks for all in lengths and trunk prefix.
		for _, n := range regions[0].GetGeneralDesc().GetPossibleLength() {
			if int(n) <= maxDigits-p.digits {
				p.lengths |= 1 << n
			}
		}
		p.numbers = sync.OnceValue(func() automaton { return numberAutomaton(regions, maxDigits-p.digits) })
		p.trunk = sync.OnceValue(func() automaton { return prefixAutomaton(regions[0].GetNationalPrefixForParsing()) })
		width := int(pow10[3-p.digits])
		for lead := code * width; lead < (code+1)*width; lead++ {
			t.byLead[lead] = p
		}
	}
	return t
}

// Warm builds all tables now, which takes some 60 ms and under a megabyte. Without it
// the first number of each calling code waits for its table, 7 ms for +1 and well
// under 1 ms for most.
func Warm() {
	for _, p := range plans.byLead {
		if p != nil {
			p.numbers()
			p.trunk()
		}
	}
	for _, h := range plans.byRegion {
		if h != nil {
			h.special()
		}
	}
}

// metadataByCode returns the metadata of each calling code, the main region first.
func metadataByCode() map[int][]*phonenumbers.PhoneMetadata {
	byCode := map[int][]*phonenumbers.PhoneMetadata{}
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return byCode // cannot be: the library would not have started
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

// find returns the plan of a number in E.164 digits, or nil if no calling code
// is assigned or there are fewer than three digits.
func (t *planTable) find(digits string) *plan {
	if len(digits) < 3 {
		return nil
	}
	return t.byLead[int(digits[0]-'0')*100+int(digits[1]-'0')*10+int(digits[2]-'0')]
}

// split returns the plan of a Number and how many of its digits are national.
func (t *planTable) split(digits uint64) (*plan, int) {
	n := countDigits(digits)
	p := t.byLead[digits/pow10[n-3]]
	return p, n - p.digits
}

// region returns what an ISO 3166-1 alpha-2 code stands for, nil if unknown.
func (t *planTable) region(iso string) *home {
	if i := regionIndex(iso); i >= 0 {
		return t.byRegion[i]
	}
	return nil
}

func regionIndex(iso string) int {
	if len(iso) != 2 || iso[0]-'A' > 25 || iso[1]-'A' > 25 {
		return -1
	}
	return int(iso[0]-'A')*26 + int(iso[1]-'A')
}

// possible returns 0 if the plan uses national numbers of that many digits, and
// else the reason to refuse one.
func (p *plan) possible(national int) Reason {
	switch longer := p.lengths >> national; {
	case longer&1 != 0:
		return 0
	case longer == 0:
		return TooLong
	case p.lengths&(1<<national-1) == 0:
		return TooShort
	default:
		return BadLength
	}
}

// maybeTrunk reports whether the digits after the calling code may begin with a
// trunk prefix. It is never wrong when it says no.
func (p *plan) maybeTrunk(national string) bool { return p.trunk().recognizes(national) }

// pow10 holds the powers of ten that fit a uint64.
var pow10 = [20]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// countDigits returns how many decimal digits d has; 0 has none.
func countDigits(d uint64) int {
	n := bits.Len64(d) * 1233 >> 12 // log10(2) is about 1233/4096
	if d >= pow10[n] {
		n++
	}
	return n
}

func appendDigits(b []byte, digits uint64) []byte { return strconv.AppendUint(b, digits, 10) }
