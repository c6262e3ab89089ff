package policy

import (
	"net/netip"
	"strings"

	"github.com/sendgate/sendgate/internal/clientip"
)

// Reason says whether a rule applies to a send, and why, in words for the operator. Plan is the same question at full speed.
type Reason struct {
	Applies bool
	Why     string
	// Key is what the send is counted under, a number masked: "number=+65****67 client=203.0.113.7". Empty where the rule does not
	// apply.
	Key string
}

// WhyLimit explains Limits[i].
func (p *Policy) WhyLimit(i int, s *Send) Reason {
	l := &p.Limits[i]
	for d := range dimensions {
		switch {
		case !has(l.replacedFor(d), s.value(d)):
		case d == byAccount:
			return Reason{Why: "the account has a limit of this name of its own, or has it off"}
		case d == byKnownGood:
			return Reason{Why: "the number is known good: the limit of this name in otp.known_good stands in for it"}
		default:
			return Reason{Why: "the user passed a challenge: the limits of after_challenge hold"}
		}
	}
	return p.why(&l.Match, &l.Unless, l.When, l.By, s)
}

// WhyDelay explains Delays[i].
func (p *Policy) WhyDelay(i int, s *Send) Reason {
	y := &p.Delays[i]
	switch {
	case y.Purpose != s.Purpose:
		return Reason{Why: "it is for " + y.Purpose + ", and this is " + s.Purpose}
	case y.OnLimit == Challenge && s.ChallengePassed:
		return Reason{Why: "it asks for a challenge, and the user has just passed one"}
	}
	return p.why(&Match{Purpose: []string{y.Purpose}}, &Match{}, y.When, y.By, s)
}

// WhySpend explains Spend[i].
func (p *Policy) WhySpend(i int, s *Send) Reason {
	b := &p.Spend[i]
	return p.why(&b.Match, &b.Unless, b.When, b.By, s)
}

func (p *Policy) why(match, unless *Match, when *Condition, by []Part, s *Send) Reason {
	var holds []string
	for d := range dimensions {
		v := match.values(d)
		switch {
		case v == nil:
		case !has(v, s.value(d)):
			return Reason{Why: "it is for " + claim(d, v) + ", and here " + claim(d, []string{s.value(d)})}
		default:
			holds = append(holds, claim(d, []string{s.value(d)}))
		}
	}
	if !unless.empty() && unless.Holds(s) {
		var but []string
		for d := range dimensions {
			if unless.values(d) != nil {
				but = append(but, claim(d, []string{s.value(d)}))
			}
		}
		return Reason{Why: "unless " + strings.Join(but, " and ")}
	}
	if when != nil {
		switch when.answer(s) {
		case no:
			return Reason{Why: "when " + when.String() + " does not hold"}
		case failed:
			holds = append(holds, "when "+when.String()+" cannot be answered, so it applies")
		default:
			holds = append(holds, "when "+when.String()+" holds")
		}
	}
	key, ok := p.keyText(by, s)
	if !ok {
		return Reason{Why: "it counts by " + groupName(by) + ", which this client has not: no address, or of the other family"}
	}
	if len(holds) == 0 {
		holds = []string{"it is for every send"}
	}
	return Reason{Applies: true, Why: strings.Join(holds, ", "), Key: key}
}

// answer is Holds for whoever only looks: nothing is counted.
func (c *Condition) answer(s *Send) outcome {
	if c.test != nil {
		return c.test(s)
	}
	return evaluate(c.program, s)
}

// claim says that a dimension has one of some values.
func claim(d dimension, values []string) string {
	switch d {
	case byKnownGood:
		if values[0] == "true" {
			return "known-good numbers"
		}
		return "numbers that are not known good"
	case byChallengePassed:
		if values[0] == "true" {
			return "users who passed a challenge"
		}
		return "users who passed no challenge"
	}
	name := [...]string{byAccount: "account", bySubaccount: "subaccount", byEndpoint: "endpoint", byChannel: "channel", byPurpose: "purpose",
		byCountry: "country", byNumberType: "number type"}[d]
	const shown = 8
	more := ""
	if len(values) > shown {
		values, more = values[:shown], ", ..."
	}
	words := make([]string, len(values))
	for i, v := range values {
		if words[i] = v; v == "" {
			words[i] = "none"
		}
	}
	return name + " " + strings.Join(words, " or ") + more
}

// keyText is AppendKey for people, a number masked.
func (p *Policy) keyText(by []Part, s *Send) (string, bool) {
	if _, ok := p.AppendKey(nil, by, s); !ok {
		return "", false
	}
	words := make([]string, len(by))
	for i, part := range by {
		words[i] = string(part) + "=" + p.partText(part, s)
	}
	return strings.Join(words, " "), true
}

func (p *Policy) partText(part Part, s *Send) string {
	text := ""
	client := func(prefix netip.Prefix) string {
		switch {
		case !prefix.IsValid():
			return ""
		case prefix.IsSingleIP():
			return prefix.Addr().String()
		}
		return prefix.String()
	}
	switch part {
	case ByAccount:
		text = s.Account
	case ByChannel:
		text = s.Channel
	case ByClient:
		text = client(p.index.tier.Prefix(s.Client))
	case ByClient24:
		text = client(clientip.Block(s.Client, 24))
	case ByClient48:
		text = client(clientip.Block(s.Client, 48))
	case ByClient56:
		text = client(clientip.Block(s.Client, 56))
	case ByCountry:
		text = s.Country
	case ByEndpoint:
		text = s.Endpoint
	case ByNumber:
		text = s.Number.String()
	case ByPurpose:
		text = s.Purpose
	case ByRange2:
		text = s.Number.Range(2).String()
	case ByRange3:
		text = s.Number.Range(3).String()
	case ByRange4:
		text = s.Number.Range(4).String()
	case BySubaccount:
		text = s.Subaccount
	}
	if text == "" {
		return "(none)"
	}
	return text
}
