package phone

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/nyaruka/phonenumbers"
)

// assignedCodes is the list of assigned calling codes, written down from the
// annex to ITU Operational Bulletin 1114 and its amendments.
const assignedCodes = `
1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66
81 82 84 86 90 91 92 93 94 95 98
211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239
240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269
290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378
380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509
590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679
680 681 682 683 685 686 687 688 689 690 691 692
800 808 850 852 853 855 856 870 878 880 881 882 883 886 888
960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993 994 995 996 998`

func TestCallingCodes(t *testing.T) {
	var want []int
	var code int
	for rest := assignedCodes; ; {
		n, _ := fmt.Sscan(rest, &code)
		if n == 0 {
			break
		}
		want = append(want, code)
		for rest[0] == ' ' || rest[0] == '\n' {
			rest = rest[1:]
		}
		rest = rest[len(fmt.Sprint(code)):]
	}
	library := callingCodes()
	if !slices.Equal(slices.Sorted(slices.Values(want)), library) {
		t.Errorf("libphonenumber has %v, the ITU list %v", library, want)
	}
	for lead, p := range plans.byLead {
		var code int
		for _, c := range want {
			n := countDigits(uint64(c))
			if uint64(lead)/pow10[3-n] == uint64(c) {
				code = c
			}
		}
		if code == 0 != (p == nil) || p != nil && p.code != code {
			t.Errorf("%03d: plan %v, want calling code %d", lead, p, code)
		}
	}
}

func TestRegions(t *testing.T) {
	for region := range phonenumbers.GetSupportedRegions() {
		if p := plans.region(region); p == nil || p.code != phonenumbers.GetCountryCodeForRegion(region) {
			t.Errorf("%s: %v", region, p)
		}
	}
	for _, bad := range []string{"sg", "Sg", "ZZ", "001", "SGP", "S", "UK", "XX", " SG", "S\xff", "65"} {
		if _, err := Parse("+6591234567", bad); reasonIn(err) != UnknownRegion {
			t.Errorf("default region %q: %v", bad, err)
		}
	}
}

// TestPatternsBuild: builder.add relies on it.
func TestPatternsBuild(t *testing.T) {
	start := time.Now()
	Warm()
	took, states := time.Since(start), 0
	for _, code := range callingCodes() {
		p := plans.find(strconv.Itoa(code) + "00")
		if len(p.numbers()) < 3 {
			t.Errorf("+%d: only %d states", code, len(p.numbers()))
		}
		states += len(p.numbers()) + len(p.trunk())
	}
	for region := range phonenumbers.GetSupportedRegions() {
		states += len(plans.region(region).special())
	}
	t.Logf("%d states, %d KB, built in %v", states, states*int(unsafe.Sizeof(state{}))/1024, took)
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all.GetMetadata() {
		for _, pattern := range []string{m.GetLeadingDigits(), m.GetNationalPrefixForParsing(), m.GetInternationalPrefix(), m.GetGeneralDesc().GetNationalNumberPattern()} {
			if _, err := regexp.Compile(pattern); err != nil {
				t.Errorf("%s: %v", m.GetId(), err)
			}
		}
	}
}

func TestCountDigits(t *testing.T) {
	for d, want := uint64(1), 1; want < 20; d, want = d*10, want+1 {
		for d, want := range map[uint64]int{d: want, d*10 - 1: want, d - 1: want - 1} {
			if want < 19 && countDigits(d) != want {
				t.Errorf("%d has %d digits, got %d", d, want, countDigits(d))
			}
		}
	}
}
