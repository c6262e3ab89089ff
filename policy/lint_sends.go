package policy

import (
	"slices"

	"github.com/sendgate/sendgate/internal/phone"
)

// question is what a rule asks of a send.
type question struct {
	Match, Unless Match
	When          *Condition
}

// maxTried is how many sends a question is tried with; rules that ask for more are not judged.
const maxTried = 20_000

// everySend calls visit with a send for each combination of what the questions tell apart, and that can reach a limit at all, until it
// returns false. It reports false when there are too many.
func (p *Policy) everySend(asked []question, visit func(*Send) bool) bool {
	values := make([][]string, dimensions)
	total := 1
	for d := range dimensions {
		values[d] = p.valuesToTry(d, asked)
		if total *= len(values[d]); total > maxTried {
			return false
		}
	}
	types := make(map[string]phone.Type)
	for t := phone.UnknownType; t <= phone.Voicemail; t++ {
		types[t.String()] = t
	}
	pick := make([]int, dimensions)
	for {
		s := Send{Account: values[byAccount][pick[byAccount]], Subaccount: values[bySubaccount][pick[bySubaccount]], Endpoint: values[byEndpoint][pick[byEndpoint]],
			Channel: values[byChannel][pick[byChannel]], Purpose: values[byPurpose][pick[byPurpose]], Country: values[byCountry][pick[byCountry]],
			NumberType: types[values[byNumberType][pick[byNumberType]]], KnownGood: pick[byKnownGood] == 1, ChallengePassed: pick[byChallengePassed] == 1}
		if s.Country == NoCountry {
			s.Country = ""
		}
		if p.reaches(&s) && !visit(&s) {
			return true
		}
		d := 0
		for ; d < len(pick); d++ {
			if pick[d]++; pick[d] < len(values[d]) {
				break
			}
			pick[d] = 0
		}
		if d == len(pick) {
			return true
		}
	}
}

// reaches reports whether limits are asked about a send, or its number is refused before.
func (p *Policy) reaches(s *Send) bool {
	countries := &p.Numbers.Countries
	if a := p.Accounts[s.Account]; a != nil && a.Countries != nil {
		countries = a.Countries
	}
	return countries.Judge(s.Country) != Deny && p.Numbers.Types[s.NumberType.String()] != Deny
}

// valuesToTry is what the questions name in a dimension, and one that none names.
func (p *Policy) valuesToTry(d dimension, asked []question) []string {
	switch d {
	case byKnownGood, byChallengePassed:
		return []string{"false", "true"}
	case byPurpose:
		return []string{"otp", "transactional", "marketing"}
	}
	var out []string
	for _, q := range asked {
		out = append(append(out, q.Match.values(d)...), q.Unless.values(d)...)
		if q.When != nil {
			out = append(out, q.When.compared[d]...)
		}
	}
	slices.Sort(out)
	return append(slices.Compact(out), p.otherThan(d, out))
}

// otherThan is a value of a dimension that nobody names.
func (p *Policy) otherThan(d dimension, named []string) string {
	switch d {
	case byCountry:
		for i := 1; i+2 < len(countries); i += 3 {
			code := countries[i : i+2]
			if !slices.Contains(named, code) && p.Numbers.Countries.Judge(code) != Deny {
				return code
			}
		}
		return NoCountry
	case byNumberType:
		for t := phone.Mobile; t <= phone.Voicemail; t++ {
			if !slices.Contains(named, t.String()) && p.Numbers.Types[t.String()] != Deny {
				return t.String()
			}
		}
		return phone.UnknownType.String()
	case byChannel:
		return "another-channel"
	}
	return "\x00" // no name has such a byte
}
