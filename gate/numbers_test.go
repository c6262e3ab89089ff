package gate_test

import (
	"fmt"
	"testing"

	"github.com/sendgate/sendgate/gate"
)

func TestCheck_numbersThatAreNotSentTo(t *testing.T) {
	const (
		singapore = "+6581234567"
		premiumGB = "+449012345678"
		voipGB    = "+445612345678"
		invalidSG = "+6511234567"
		indonesia = "+6281234567890"
		satellite = "+80012345678" // of no country
	)
	f := open(t, `limits: [{name: all, by: [account], limit: 1, window: 1h, count_denied: true}]
numbers:
  invalid: deny
  types: {premium: deny, voip: challenge}
  countries: {block: [ID], challenge: [ZZ]}
accounts:
  indonesian: {countries: {allow: [ID, GB]}}
  plain: {}`)
	for _, tt := range []struct {
		number, account string
		kind            gate.Kind
		reason          string
	}{
		{invalidSG, "plain", gate.Deny, "number:invalid"},
		{premiumGB, "plain", gate.Deny, "number:type"},
		{voipGB, "plain", gate.Challenge, "number:type"},
		{indonesia, "plain", gate.Deny, "number:country"},
		{satellite, "plain", gate.Challenge, "number:country"},
		{singapore, "indonesian", gate.Deny, "number:country"},
		{satellite, "indonesian", gate.Deny, "number:country"},
		{premiumGB, "indonesian", gate.Deny, "number:type"},
		// Nothing above was charged, denied or not: one unit is left.
		{singapore, "plain", gate.Allow, ""},
		{indonesia, "indonesian", gate.Allow, ""},
		{singapore, "plain", gate.Deny, "limit:all"},
	} {
		req := ask(tt.number, "203.0.113.7")
		req.Account = tt.account
		v := f.check(t, req)
		if v.Kind != tt.kind || v.Reason != tt.reason {
			t.Errorf("%s for %s: %v %q, want %v %q", tt.number, tt.account, v.Kind, v.Reason, tt.kind, tt.reason)
		}
	}
}

func TestCheck_recommendedNumbers(t *testing.T) {
	f := open(t, "numbers: {recommended: 2026-11}")
	for number, reason := range map[string]string{"+449012345678": "number:type", "+6511234567": "number:invalid", "+6581234567": ""} {
		if v := f.check(t, ask(number, "")); v.Reason != reason {
			t.Errorf("%s: %v %q, want %q", number, v.Kind, v.Reason, reason)
		}
	}
}

// However a number is spelled, in whatever default region, it is one key.
func TestCheck_spellingsAreOneKey(t *testing.T) {
	f := open(t, `limits: [{name: one, by: [number], limit: 1, window: 1h}]
numbers: {default_region: SG}
accounts: {british: {default_region: GB}, plain: {}}`)
	for first, spellings := range map[[2]string][][2]string{
		{"+6581234567", "plain"}:     {{"8123 4567", "plain"}, {"65 8123-4567", "plain"}, {"006581234567", "british"}, {"００65 ８１２３ ４５６７", "british"}, {"tel:+65-8123-4567", ""}, {"+٦٥٨١٢٣٤٥٦٧", ""}},
		{"020 7946 0018", "british"}: {{"+442079460018", "plain"}, {"+44 (0)20 7946 0018", "plain"}, {"0044 20 7946 0018", "british"}},
	} {
		for i, spelling := range append([][2]string{first}, spellings...) {
			req := ask(spelling[0], "")
			req.Account = spelling[1]
			v := f.check(t, req)
			if wanted := map[bool]gate.Kind{true: gate.Allow, false: gate.Deny}[i == 0]; v.Kind != wanted {
				t.Errorf("%q for %q: %v, want %v", spelling[0], spelling[1], v.Kind, wanted)
			}
		}
	}
	// The same digits are other numbers in other regions.
	for i, account := range []string{"plain", "british"} {
		req := ask(fmt.Sprint("6", "7412345"), "")
		req.Account = account
		if v, err := f.Check(t.Context(), &req); err == nil && v.Kind != gate.Allow {
			t.Errorf("%d: national digits of one region were counted for another", i)
		}
	}
}
