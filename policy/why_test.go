package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/policy"
)

func TestWhy(t *testing.T) {
	p := parse(t, `
version: 1
limits:
  - {name: everyone, by: [number, client], limit: 1, window: 60s}
  - {name: abroad, by: [country], limit: 10, window: 1h, match: {country: [ID, MY]}}
  - {name: at-home, by: [client/24], limit: 10, window: 1h, unless: {purpose: otp}}
  - {name: dear, by: [account], limit: 10, window: 1h, when: 'send.cost > 2 && send.number.hasPrefix("+6591")'}
  - {name: six, by: [client/48], limit: 10, window: 1h}
accounts: {acme: {limits: [{name: at-home, by: [client/24], limit: 3, window: 1h}]}}
delays: {otp: {}, marketing: {}}
spend: [{name: day, by: [account], budget: 10.00, currency: USD, window: 24h}]
`)
	s := policy.Send{Number: number(t, 1), Country: "SG", Client: netip.MustParseAddr("203.0.113.9"), Purpose: "otp", Channel: "sms", Cost: 1, Account: "acme"}
	said := map[string]policy.Reason{}
	for i := range p.Limits {
		said[p.Limits[i].StoreName()] = p.WhyLimit(i, &s)
	}
	for i := range p.Delays {
		said["delay "+p.Delays[i].Purpose] = p.WhyDelay(i, &s)
	}
	said["spend day"] = p.WhySpend(0, &s)
	for name, want := range map[string]policy.Reason{
		"everyone":             {true, "it is for every send", "client=203.0.113.9 number=+65****01"},
		"abroad":               {false, "it is for country ID or MY, and here country SG", ""},
		"at-home":              {false, "the account has a limit of this name of its own, or has it off", ""},
		"account:acme/at-home": {false, "unless purpose otp", ""},
		"dear":                 {false, `when send.cost > 2 && send.number.hasPrefix("+6591") does not hold`, ""},
		"six":                  {false, "it counts by client/48, which this client has not: no address, or of the other family", ""},
		"delay otp":            {true, "purpose otp", "number=+65****01"},
		"delay marketing":      {false, "it is for marketing, and this is otp", ""},
		"spend day":            {true, "it is for every send", "account=acme"},
	} {
		if said[name] != want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, said[name], want)
		}
	}
	for name, r := range said {
		if strings.Contains(r.Why+r.Key, s.Number.E164()[1:]) {
			t.Errorf("%s tells the number", name)
		}
	}
}
