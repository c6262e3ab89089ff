package policy

import (
	"fmt"
	"strings"
)

// countries is every ISO 3166-1 alpha-2 code that has telephone numbers, with XK (Kosovo), AC (Ascension) and TA (Tristan da
// Cunha), which have numbers but no code of their own, and ZZ for numbers of no country.
const countries = " AC AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TG TH TJ TK TL TM TN TO TR TT TV TW TZ " +
	"UA UG US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW ZZ "

// notCodes is what people write for a code, and the code.
var notCodes = map[string]string{"UK": "GB", "EN": "GB", "EL": "GR", "KO": "KR", "JA": "JP", "SU": "RU"}

func isCountry(code string) bool { return len(code) == 2 && strings.Contains(countries, " "+code+" ") }

func country(dst *string) value {
	return scalar("country", "an ISO 3166-1 alpha-2 code, such as SG", func(text string, _ bool) error { return readCountry(dst, text) })
}

func readCountry(dst *string, text string) error {
	upper := strings.ToUpper(text)
	switch {
	case isCountry(text):
		*dst = text
		return nil
	case isCountry(upper):
		return fmt.Errorf("%s is not upper case: write %s", quote(text), upper)
	case notCodes[upper] != "":
		return fmt.Errorf("%s is no country code: write %s", quote(text), notCodes[upper])
	}
	return fmt.Errorf("%s is no country: write an ISO 3166-1 alpha-2 code, such as SG", quote(text))
}

// region reads a country that numbers are written in: a real one.
func region(dst *string) value {
	return scalar("country", "an ISO 3166-1 alpha-2 code, such as SG", func(text string, _ bool) error {
		if text == NoCountry {
			return fmt.Errorf("%s is no country to write numbers in: write one such as SG", quote(text))
		}
		return readCountry(dst, text)
	})
}
