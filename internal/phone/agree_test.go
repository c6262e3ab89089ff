package phone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

// example is a number of libphonenumber's own, one for each region and type.
type example struct {
	region string // "001" for calling codes of no country
	of     phonenumbers.PhoneNumberType
	number *phonenumbers.PhoneNumber
}

func (e example) e164() string { return phonenumbers.Format(e.number, phonenumbers.E164) }

func examples(t testing.TB) []example {
	t.Helper()
	var out []example
	for region := range phonenumbers.GetSupportedRegions() {
		for of := phonenumbers.FIXED_LINE; of <= phonenumbers.VOICEMAIL; of++ {
			if m := phonenumbers.GetExampleNumberForType(region, of); m != nil {
				out = append(out, example{region, of, m})
			}
		}
	}
	for code := range phonenumbers.GetSupportedGlobalNetworkCallingCodes() {
		if m := phonenumbers.GetExampleNumberForNonGeoEntity(code); m != nil {
			out = append(out, example{region: "001", number: m})
		}
	}
	if len(out) < 1000 {
		t.Fatalf("only %d examples: the metadata is not read right", len(out))
	}
	slices.SortFunc(out, func(a, b example) int { return int(a.number.GetCountryCode()) - int(b.number.GetCountryCode()) })
	return out
}

// randomDigits returns digits that are likely to be near the border of a plan:
// mostly an assigned calling code and a plausible length.
func randomDigits(r *rand.Rand, codes []int) string {
	switch r.IntN(10) {
	case 0:
		return randomTail(r, 1+r.IntN(18))
	case 1:
		return strconv.Itoa(codes[r.IntN(len(codes))]) + "0" + randomTail(r, r.IntN(14))
	default:
		return strconv.Itoa(codes[r.IntN(len(codes))]) + randomTail(r, 3+r.IntN(10))
	}
}

func randomTail(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(r.IntN(10))
	}
	return string(b)
}

// randomWalk returns digits that keep off the dead end of the automaton as long as
// may be, so that it comes to the rare states.
func randomWalk(r *rand.Rand, code int) string {
	digits := strconv.Itoa(code)
	p := plans.find(digits + "00")
	a := p.numbers()
	at := len(a) - 1
	for range 4 + r.IntN(10) {
		d := r.IntN(10)
		for range 10 {
			if a[at].next[d] != 0 {
				break
			}
			d = (d + 1) % 10
		}
		at = int(a[at].next[d])
		digits += strconv.Itoa(d)
	}
	return digits
}

func callingCodes() []int {
	var codes []int
	for code := range phonenumbers.GetSupportedCallingCodes() {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return codes
}

// TestFastPathAgreesWithLibphonenumber: whatever Parse answers without asking
// libphonenumber is what libphonenumber would have answered.
func TestFastPathAgreesWithLibphonenumber(t *testing.T) {
	check := func(digits string) {
		fast, slow := international(digits), untrunk(digits)
		if fast != slow {
			t.Errorf("+%s: fast %v %v, slow %v %v", digits, fast.number.E164(), fast.reason, slow.number.E164(), slow.reason)
		}
	}
	kept := 0
	all := examples(t)
	for _, e := range all {
		digits := e.e164()[1:]
		check(digits)
		check(digits[:len(digits)-1])
		check(digits + "7")
		if p := plans.find(digits); !p.maybeTrunk(digits[p.digits:]) {
			kept++
		}
	}
	t.Logf("%d of %d examples need no libphonenumber", kept, len(all))
	r, codes := rand.New(rand.NewPCG(1, 2)), callingCodes()
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	for range n {
		check(randomDigits(r, codes))
	}
}

// TestPlainAgreesWithLibphonenumber is the same for national spellings.
func TestPlainAgreesWithLibphonenumber(t *testing.T) {
	plain, asked := 0, 0
	check := func(h *home, digits string) {
		asked++
		fast, ok := h.plain(digits)
		if !ok {
			return
		}
		plain++
		if slow := dial(digits, h.iso); slow != (outcome{number: fast}) {
			t.Errorf("%s in %s: fast %v, slow %v %v", digits, h.iso, fast.E164(), slow.number.E164(), slow.reason)
		}
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, e := range examples(t) {
		h := plans.region(e.region)
		if h == nil {
			continue
		}
		digits := phonenumbers.NormalizeDigitsOnly(phonenumbers.Format(e.number, phonenumbers.NATIONAL))
		check(h, digits)
		check(h, phonenumbers.GetNationalSignificantNumber(e.number))
		near := []byte(digits)
		for range 20 {
			near[r.IntN(len(near))] = '0' + byte(r.IntN(10))
			check(h, string(near))
		}
		for range 20 {
			check(h, randomTail(r, 2+r.IntN(12)))
		}
		for range 5 {
			check(h, "0"+randomTail(r, 2+r.IntN(12)))
		}
	}
	t.Logf("%d of %d need no libphonenumber", plain, asked)
	if plain < asked/4 {
		t.Error("too few: the test compares little")
	}
}

// TestInfoAgreesWithLibphonenumber holds the automata to the patterns that they
// were built from.
func TestInfoAgreesWithLibphonenumber(t *testing.T) {
	valid := 0
	check := func(digits string) {
		o := international(digits)
		if o.reason != 0 {
			return
		}
		got, want := o.number.Info(), infoByLibphonenumber(t, o.number)
		if got != want {
			t.Errorf("+%s: got %+v, want %+v", digits, got, want)
		}
		if got.Valid {
			valid++
		}
		if c := o.number.Country(); c != got.Country {
			t.Errorf("+%s: country %q, info %q", digits, c, got.Country)
		}
	}
	all := examples(t)
	for _, e := range all {
		check(e.e164()[1:])
	}
	r, codes := rand.New(rand.NewPCG(3, 4)), callingCodes()
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	for i := range n {
		switch i % 4 {
		case 0:
			check(randomDigits(r, codes))
			continue
		case 1, 2:
			check(randomWalk(r, codes[r.IntN(len(codes))]))
			continue
		}
		// Near an example: the last digits, or one digit anywhere, differ.
		digits := []byte(all[r.IntN(len(all))].e164()[1:])
		for range 1 + r.IntN(3) {
			digits[len(digits)-1-r.IntN(min(8, len(digits)-3))] = '0' + byte(r.IntN(10))
		}
		check(string(digits))
	}
	if valid < n/10 {
		t.Errorf("only %d of %d numbers were valid: the test compares little", valid, n)
	}
}

func infoByLibphonenumber(t *testing.T, n Number) Info {
	t.Helper()
	m, err := phonenumbers.Parse(n.E164(), "")
	if err != nil {
		t.Fatal(err)
	}
	types := map[phonenumbers.PhoneNumberType]Type{
		phonenumbers.FIXED_LINE: Fixed, phonenumbers.MOBILE: Mobile, phonenumbers.FIXED_LINE_OR_MOBILE: FixedOrMobile,
		phonenumbers.TOLL_FREE: TollFree, phonenumbers.PREMIUM_RATE: Premium, phonenumbers.SHARED_COST: SharedCost,
		phonenumbers.VOIP: VoIP, phonenumbers.PERSONAL_NUMBER: Personal, phonenumbers.PAGER: Pager,
		phonenumbers.UAN: UAN, phonenumbers.VOICEMAIL: Voicemail, phonenumbers.UNKNOWN: UnknownType,
	}
	country := phonenumbers.GetRegionCodeForNumber(m)
	if country == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
		country = ""
	}
	return Info{
		Country:     country,
		CallingCode: int(m.GetCountryCode()),
		Type:        types[phonenumbers.GetNumberType(m)],
		Possible:    phonenumbers.IsPossibleNumber(m),
		Valid:       phonenumbers.IsValidNumber(m),
	}
}

// TestExamplesHowEverSpelled: each example is one Number, spelled nationally and
// internationally.
func TestExamplesHowEverSpelled(t *testing.T) {
	for _, e := range examples(t) {
		if phonenumbers.IsPossibleNumberWithReason(e.number) != phonenumbers.IS_POSSIBLE {
			// 310-1234 in Canada cannot be dialled from abroad, so it has no E.164 form.
			if _, err := Parse(e.e164(), ""); err == nil {
				t.Errorf("%s %d: %s is read, but not possible", e.region, e.of, e.e164())
			}
			continue
		}
		want, err := Parse(e.e164(), "")
		if err != nil {
			t.Errorf("%s %d: %v", e.region, e.of, err)
			continue
		}
		if want.E164() != e.e164() {
			t.Errorf("%s %d: example %s became %s", e.region, e.of, e.e164(), want.E164())
		}
		region := e.region
		if region == "001" {
			region = ""
		}
		spellings := []string{
			phonenumbers.Format(e.number, phonenumbers.INTERNATIONAL),
			phonenumbers.Format(e.number, phonenumbers.RFC3966),
			fmt.Sprintf("00%d", want.Digits()),
			fmt.Sprintf("%d", want.Digits()),
		}
		for _, s := range spellings {
			if got, err := Parse(s, ""); got != want || err != nil {
				t.Errorf("%s %d: %q is %s, %v; want %s", e.region, e.of, s, got.E164(), err, want.E164())
			}
		}
		if region == "" {
			continue
		}
		s := phonenumbers.Format(e.number, phonenumbers.NATIONAL)
		if e.region == "AR" && e.of == phonenumbers.MOBILE {
			s = "011 15-2345-6789" // the Go port writes 09 15-2345-6789, which drops the area code
		}
		if got, err := Parse(s, region); got != want || err != nil {
			t.Errorf("%s %d: %q is %s, %v; want %s", e.region, e.of, s, got.E164(), err, want.E164())
		}
	}
}
