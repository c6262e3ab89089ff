package phone

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func reasonIn(err error) Reason {
	var p *ParseError
	if errors.As(err, &p) {
		return p.Reason
	}
	return 0
}

// spellings holds one number a line and ways to write it. A spelling is
// REGION:TEXT or, without a default region, :TEXT.
var spellings = []struct {
	e164, country string
	of            Type // UnknownType: possible, not valid
	written       []string
}{
	{"+6591234567", "SG", Mobile, []string{"SG:91234567", "SG:9123 4567", "SG:9123-4567", "SG:6591234567", "SG:006591234567", "SG:0016591234567",
		":+65 9123 4567", ":+65-9123-4567", ":(+65) 9123.4567", ":006591234567", ":6591234567", ":tel:+65-9123-4567", ":TEL:+6591234567",
		":tel:91234567;phone-context=+65", "SG:tel:91234567;phone-context=example.com", ":tel:%2B6591234567", ":tel:+6591234567;npdi", ":tel:+6591234567;phone-context=+1",
		"US:+6591234567", "US:01165 9123 4567", "GB:0065 9123 4567", "JP:0106591234567", "AU:0011 65 9123 4567", "US:006591234567",
		":＋６５ ９１２３ ４５６７", "SG:９１２３－４５６７", "SG:٩١٢٣٤٥٦٧", "SG:۹۱۲۳۴۵۶۷", "SG:९१२३४५६७", "SG:৯১২৩৪৫৬৭", "SG:９1٢३ ۴५６7",
		":\u200e+65 9123 4567\u200e", ":\u202a+6591234567\u202c", ":\ufeff+6591234567", ":\u200b+65\u200b9123\u00ad4567", ":\u2066+65\u00a09123\u202f4567\u2069",
		":  +6591234567 \r\n", ":+65\u20119123\u20134567", ":+65/9123/4567", ":+65 [9123] 4567", ":+65 9123\u30fc4567", ":+65・9123・4567", "SG:+65(9123)4567"}},
	{"+6561234567", "SG", Fixed, []string{"SG:6123 4567", ":+65 6123 4567"}},
	{"+12015550123", "US", FixedOrMobile, []string{"US:(201) 555-0123", "US:1-201-555-0123", "US:201.555.0123", "US:+1 (201) 555-0123", ":12015550123", "CA:2015550123", "GB:0012015550123"}},
	{"+15062345678", "CA", FixedOrMobile, []string{"CA:(506) 234-5678", "US:506-234-5678", ":+1 506 234 5678"}},
	{"+18762101234", "JM", Mobile, []string{"JM:(876) 210-1234", "US:876 210 1234", ":+1-876-210-1234"}},
	{"+12684641234", "AG", Mobile, []string{"AG:464-1234", "AG:268 464 1234", "US:1 (268) 464-1234"}},
	{"+18092345678", "DO", FixedOrMobile, []string{"DO:(809) 234-5678", ":+18092345678"}},
	{"+17872345678", "PR", FixedOrMobile, []string{"PR:787-234-5678"}},
	{"+18002345678", "US", TollFree, []string{"US:1 800 234 5678"}},
	{"+19002345678", "US", Premium, []string{"US:900 234 5678"}},
	{"+15555555555", "", UnknownType, []string{"US:555 555 5555"}},
	{"+447400123456", "GB", Mobile, []string{"GB:07400 123456", "GB:7400 123456", "GB:+44 (0)7400 123456", ":+4407400123456", ":0044 (0) 7400 123456", "GB:447400123456", "FR:00447400123456"}},
	{"+442079460018", "GB", Fixed, []string{"GB:020 7946 0018", "GB:(020) 7946 0018", ":+44 (0)20 7946 0018", ":tel:020-7946-0018;phone-context=+44"}},
	{"+447911123456", "GG", Mobile, []string{"GB:07911 123456", "GG:07911 123456"}},
	{"+447797712345", "JE", Mobile, []string{"JE:07797 712345", "GB:07797712345"}},
	{"+447624123456", "IM", Mobile, []string{"IM:07624 123456", "GB:07624 123456"}},
	{"+445612345678", "GB", VoIP, []string{"GB:056 1234 5678"}},
	{"+491806123456", "DE", SharedCost, []string{"DE:0180 6 123456"}},
	{"+447012345678", "GB", Personal, []string{"GB:070 1234 5678"}},
	{"+4915123456789", "DE", Mobile, []string{"DE:01512 3456789", "DE:0151/23456789", ":+49 (0) 151 23456789", ":+49 0151 23456789", ":+49 00151 23456789", "CH:0049 151 23456789"}},
	{"+4930123456", "DE", Fixed, []string{"DE:030/123456", ":+49-30-123456", ":+49 (030) 123456"}},
	{"+494930000", "DE", UnknownType, nil}, // the pattern of fixed numbers fits, the general one does not
	{"+491512345678901", "DE", UnknownType, []string{"AU:0011 49 1512 345678901", "DE:01512 345678901"}},
	{"+33612345678", "FR", Mobile, []string{"FR:06 12 34 56 78", "FR:06.12.34.56.78", ":+33 (0)6 12 34 56 78", "BE:0033612345678", "FR:33612345678"}},
	{"+393123456789", "IT", Mobile, []string{"IT:312 345 6789", ":+39 312 3456789"}},
	{"+390612345678", "IT", Fixed, []string{"IT:06 1234 5678", ":+39 06 1234 5678", ":0039 06 12345678", "IT:390612345678"}},
	{"+390669812345", "VA", Fixed, []string{"VA:06 698 12345", "IT:06 69812345"}},
	{"+34612345678", "ES", Mobile, []string{"ES:612 34 56 78", ":+34 612-345-678"}},
	{"+351912345678", "PT", Mobile, []string{"PT:912 345 678", ":00351 912345678"}},
	{"+31612345678", "NL", Mobile, []string{"NL:06-12345678", ":+31 (0)6 12345678"}},
	{"+32450001234", "BE", Mobile, []string{"BE:0450/00.12.34", ":+32 450 00 12 34"}},
	{"+41781234567", "CH", Mobile, []string{"CH:078 123 45 67", ":+41 (0)78 123 45 67"}},
	{"+43664123456", "AT", Mobile, []string{"AT:0664 123456", ":+43 664 123456"}},
	{"+46701234567", "SE", Mobile, []string{"SE:070-123 45 67", ":+46 (0)70 123 45 67"}},
	{"+4740612345", "NO", Mobile, []string{"NO:40 61 23 45", ":+47 406 12 345"}},
	{"+4779123456", "SJ", Fixed, []string{"SJ:79 12 34 56", "NO:79123456"}},
	{"+4534412345", "DK", Mobile, []string{"DK:34 41 23 45"}},
	{"+358412345678", "FI", Mobile, []string{"FI:041 2345678", ":+358 (0)41 2345678"}},
	{"+48512345678", "PL", Mobile, []string{"PL:512 345 678", ":+48 512-345-678"}},
	{"+420601123456", "CZ", Mobile, []string{"CZ:601 123 456"}},
	{"+36201234567", "HU", Mobile, []string{"HU:06 20 123 4567", ":+36 06 20 123 4567"}},
	{"+40712034567", "RO", Mobile, []string{"RO:0712 034 567"}},
	{"+306912345678", "GR", Mobile, []string{"GR:691 234 5678"}},
	{"+905012345678", "TR", Mobile, []string{"TR:0501 234 56 78", ":+90 (501) 234 56 78"}},
	{"+79123456789", "RU", Mobile, []string{"RU:8 (912) 345-67-89", "RU:9123456789", ":+7 912 345 67 89", "RU:7 912 345-67-89"}},
	{"+77710009998", "KZ", Mobile, []string{"KZ:8 (771) 000 9998", "RU:8 771 000 99 98"}},
	{"+380501234567", "UA", Mobile, []string{"UA:050 123 4567", ":+38 (050) 123-45-67"}},
	{"+375294911911", "BY", Mobile, []string{"BY:8 029 491-19-11"}},
	{"+37061234567", "LT", Mobile, []string{"LT:(0-612) 34567", "LT:8 612 34567"}},
	{"+918123456789", "IN", Mobile, []string{"IN:081234 56789", "IN:+91-81234-56789", "IN:८१२३४५६७८९", "IN:0091 8123456789"}},
	{"+923012345678", "PK", Mobile, []string{"PK:0301-2345678", "PK:۰۳۰۱ ۲۳۴۵۶۷۸"}},
	{"+8801812345678", "BD", Mobile, []string{"BD:01812-345678", "BD:০১৮১২৩৪৫৬৭৮"}},
	{"+94712345678", "LK", Mobile, []string{"LK:071 234 5678"}},
	{"+8613123456789", "CN", Mobile, []string{"CN:131 2345 6789", ":+86-131-2345-6789", "CN:0086 13123456789"}},
	{"+85251234567", "HK", Mobile, []string{"HK:5123 4567"}},
	{"+85366123456", "MO", Mobile, []string{"MO:6612 3456"}},
	{"+886912345678", "TW", Mobile, []string{"TW:0912-345-678"}},
	{"+819012345678", "JP", Mobile, []string{"JP:090-1234-5678", "JP:０９０－１２３４－５６７８", ":+81 (0)90 1234 5678"}},
	{"+821020000000", "KR", Mobile, []string{"KR:010-2000-0000", ":+82 010 2000 0000"}},
	{"+62812345678", "ID", Mobile, []string{"ID:0812-345-678"}},
	{"+6281234567890", "ID", Mobile, []string{"ID:0812 3456 7890", "ID:6281234567890"}},
	{"+60123456789", "MY", Mobile, []string{"MY:012-345 6789"}},
	{"+66812345678", "TH", Mobile, []string{"TH:081 234 5678", "TH:๐๘๑ ๒๓๔ ๕๖๗๘"}},
	{"+84912345678", "VN", Mobile, []string{"VN:0912 345 678"}},
	{"+639051234567", "PH", Mobile, []string{"PH:0905 123 4567"}},
	{"+61412345678", "AU", Mobile, []string{"AU:0412 345 678", ":+61 (0)412 345 678"}},
	{"+61891641234", "CX", Fixed, []string{"CX:08 9164 1234", "AU:(08) 9164 1234"}},
	{"+64211234567", "NZ", Mobile, []string{"NZ:021 123 4567"}},
	{"+5511961234567", "BR", Mobile, []string{"BR:(11) 96123-4567", "BR:011 96123 4567", "BR:0 15 11 96123-4567", ":+55 (11) 96123-4567"}},
	{"+5491123456789", "AR", Mobile, []string{"AR:011 15-2345-6789", "AR:9 11 2345 6789", ":+54 9 11 2345-6789", ":+54 11 15 2345 6789"}},
	{"+522221234567", "MX", FixedOrMobile, []string{"MX:222 123 4567"}},
	{"+56221234567", "CL", FixedOrMobile, []string{"CL:(2) 2123 4567"}},
	{"+573211234567", "CO", Mobile, []string{"CO:321 1234567"}},
	{"+51912345678", "PE", Mobile, []string{"PE:912 345 678"}},
	{"+27711234567", "ZA", Mobile, []string{"ZA:071 123 4567"}},
	{"+2348021234567", "NG", Mobile, []string{"NG:0802 123 4567"}},
	{"+254712123456", "KE", Mobile, []string{"KE:0712 123456"}},
	{"+201001234567", "EG", Mobile, []string{"EG:010 01234567", "EG:٠١٠٠١٢٣٤٥٦٧"}},
	{"+212650123456", "MA", Mobile, []string{"MA:06 50 12 34 56"}},
	{"+2250123456789", "CI", Mobile, []string{"CI:01 23 45 6789"}},
	{"+966512345678", "SA", Mobile, []string{"SA:051 234 5678", "SA:٠٥١٢٣٤٥٦٧٨"}},
	{"+971501234567", "AE", Mobile, []string{"AE:050 123 4567"}},
	{"+972502345678", "IL", Mobile, []string{"IL:050-234-5678", "IL:\u200f050-234-5678"}},
	{"+989123456789", "IR", Mobile, []string{"IR:۰۹۱۲ ۳۴۵ ۶۷۸۹"}},
	{"+6838884012", "NU", Mobile, []string{"NU:888 4012"}},
	{"+6834012", "NU", Fixed, []string{"NU:4012"}},
	{"+29051234", "SH", Mobile, []string{"SH:51234"}},
	{"+80012345678", "", TollFree, []string{":00800 1234 5678", ":+800 1234 5678"}},
}

func TestSpellings(t *testing.T) {
	cases, countries := 0, map[string]bool{}
	for _, want := range spellings {
		n, err := Parse(want.e164, "")
		if err != nil || n.E164() != want.e164 {
			t.Errorf("%s: %s, %v", want.e164, n.E164(), err)
			continue
		}
		info := n.Info()
		if info.Country != want.country || info.Type != want.of || info.Valid != (want.of != UnknownType) || !info.Possible ||
			!strings.HasPrefix(want.e164[1:], strconv.Itoa(info.CallingCode)) || n.CallingCode() != info.CallingCode || n.Country() != info.Country {
			t.Errorf("%s: %+v", want.e164, info)
		}
		cases++
		countries[want.country] = true
		for _, w := range want.written {
			region, text, _ := strings.Cut(w, ":")
			// Twice, for the answer may be remembered.
			for range 2 {
				if got, err := Parse(text, region); err != nil || got != n {
					t.Errorf("%q in %q: %s, %v; want %s", text, region, got.E164(), err, want.e164)
				}
			}
			cases++
		}
		if again, err := FromDigits(n.Digits()); err != nil || again != n {
			t.Errorf("%s: from digits: %s, %v", want.e164, again.E164(), err)
		}
	}
	if cases < 150 || len(countries) < 41 {
		t.Errorf("%d cases in %d countries", cases, len(countries))
	}
}

var refusals = []struct {
	region, text string
	want         Reason
}{
	{"", "", Empty},
	{"SG", "  \t\n", Empty},
	{"SG", "()-", Empty},
	{"SG", "\u200e\u200f", Empty},
	{"", "tel:", Empty},
	{"", "+", TooShort},
	{"", "＋", TooShort},
	{"", "+6", TooShort},
	{"", "+65", TooShort},
	{"", "+65 9123", TooShort},
	{"", "+1 555 0123", TooShort},
	{"", "00", TooShort},
	{"SG", "00", TooShort},
	{"SG", "0", TooShort},
	{"SG", "5", TooShort},
	{"SG", "9123456", TooShort},
	{"US", "555-0123", TooShort},
	{"", "+659123456789012", TooLong},
	{"", "+65912345678", BadLength},
	{"", "+6591234567000000", TooLong},
	{"", "+1234567890123456", TooLong},
	{"", "+49 1512 34567890123", TooLong},
	{"", "+" + strings.Repeat("9", 100), TooLong},
	{"SG", "912345678901234567890", TooLong},
	{"SG", "91234567 / 98765432", TooLong},
	{"SG", strings.Repeat("9", 10_000), TooLong},
	{"SG", "9123" + strings.Repeat(" ", 300) + "4567", TooLong},
	{"", "+49116", TooShort},
	{"", "+9991234567", UnknownCallingCode},
	{"", "+2101234567", UnknownCallingCode},
	{"", "+0", TooShort},
	{"", "+006591234567", UnknownCallingCode},
	{"SG", "+06591234567", UnknownCallingCode},
	{"US", "+0", TooShort},
	{"", "009991234567", UnknownCallingCode},
	{"SG", "009991234567", UnknownCallingCode},
	{"", "91234567", NoRegion},
	{"", "0912345678", NoRegion},
	{"", "(555) 555-0123", NoRegion},
	{"", "9123456789012345", TooLong},
	{"US", "911", ShortCode},
	{"US", "40404", ShortCode},
	{"GB", "999", ShortCode},
	{"GB", "112", ShortCode},
	{"DE", "110", ShortCode},
	{"DE", "116117", ShortCode},
	{"SG", "995", ShortCode},
	{"IN", "112", ShortCode},
	{"AU", "000", ShortCode},
	{"SG", "9123 4567 ext. 12", Extension},
	{"SG", "9123 4567 x12", Extension},
	{"SG", "9123 4567ｘ12", Extension},
	{"SG", "9123 4567#12", Extension},
	{"SG", "9123 4567,,12", Extension},
	{"SG", "9123 4567;12", Extension},
	{"RU", "8 912 345-67-89 доб. 5", Extension},
	{"", "tel:+6591234567;ext=12", Extension},
	{"", "tel:+6591234567;isub=12", Extension},
	{"", "+6591234567;ext=12", Extension},
	{"US", "1-800-FLOWERS", Letters},
	{"US", "1-800-EXTRACT", Letters},
	{"", "+1 800 ABC DEFG", Letters},
	{"SG", "phone", Letters},
	{"SG", "call 91234567", Letters},
	{"SG", "９１２３ＡＢＣＤ", Letters},
	{"", "++6591234567", BadCharacter},
	{"", "+65+91234567", BadCharacter},
	{"", "0065+91234567", BadCharacter},
	{"", "+6591234567 / +6598765432", BadCharacter},
	{"SG", "91234567\n98765432", BadCharacter},
	{"SG", "*31#91234567", BadCharacter},
	{"SG", "9123*4567", BadCharacter},
	{"SG", "9123_4567", BadCharacter},
	{"SG", "'91234567", BadCharacter},
	{"SG", "91234567\x00", BadCharacter},
	{"SG", "9123\xff4567", BadCharacter},
	{"SG", "9123½4567", BadCharacter},
	{"SG", "91234567²", BadCharacter},
	{"", "tel:%zz", BadCharacter},
}

func TestRefusals(t *testing.T) {
	seen := map[Reason]bool{}
	for _, c := range refusals {
		for range 2 {
			n, err := Parse(c.text, c.region)
			if !n.IsZero() || reasonIn(err) != c.want {
				t.Errorf("%q in %q: %s, %v; want %s", c.text, c.region, n.E164(), err, c.want)
			}
		}
		seen[c.want] = true
	}
	seen[UnknownRegion] = true // TestRegions
	for r := Empty; r <= UnknownRegion; r++ {
		if !seen[r] {
			t.Errorf("no case for %s", r)
		}
		if text := refuse(r).Error(); !strings.Contains(text, ": ") || r.String() == "unknown" {
			t.Errorf("%s: %q does not say what to write instead", r, text)
		}
	}
}
