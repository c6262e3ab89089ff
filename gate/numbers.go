package gate

import (
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/policy"
)

// numberRules says which numbers are sent to at all, ready to be asked on every send.
type numberRules struct {
	invalid   policy.Action
	types     [phone.Voicemail + 1]policy.Action // "" is allow
	countries *policy.Countries
	accounts  map[string]*policy.Account
	idle      bool // nothing is refused: do not ask
}

func newNumberRules(p *policy.Policy) numberRules {
	n := numberRules{invalid: p.Numbers.Invalid, countries: &p.Numbers.Countries, accounts: p.Accounts, idle: true}
	for t := range n.types {
		n.types[t] = p.Numbers.Types[phone.Type(t).String()]
		n.idle = n.idle && (n.types[t] == "" || n.types[t] == policy.Allow)
	}
	n.idle = n.idle && (n.invalid == "" || n.invalid == policy.Allow) && allowsAll(n.countries)
	for _, a := range p.Accounts {
		n.idle = n.idle && (a.Countries == nil || allowsAll(a.Countries))
	}
	return n
}

func allowsAll(c *policy.Countries) bool { return len(c.Allow)+len(c.Block)+len(c.Challenge) == 0 }

// judgeNumber answers a send to a number that the policy does not send to, or not without a step up. A deny wins over a
// challenge; among equals validity is told before type, and type before country.
func (r *rules) judgeNumber(send *policy.Send, v *Verdict) bool {
	n := &r.numbers
	if n.idle {
		return false
	}
	info := send.Number.Info()
	countries := n.countries
	if a := n.accounts[send.Account]; a != nil && a.Countries != nil {
		countries = a.Countries
	}
	invalid := policy.Allow
	if !info.Valid {
		invalid = n.invalid
	}
	for _, said := range [...]struct {
		action policy.Action
		reason string
	}{
		{invalid, "number:invalid"},
		{n.types[info.Type], "number:type"},
		{countries.Judge(info.Country), "number:country"},
	} {
		switch {
		case said.action == policy.Deny:
			v.Kind, v.Reason = Deny, said.reason
			return true
		case said.action == policy.Challenge && v.Kind == 0 && !send.ChallengePassed:
			v.Kind, v.Reason = Challenge, said.reason
		}
	}
	return v.Kind != 0
}
