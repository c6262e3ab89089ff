package server

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// keyCount is how often a key was refused, fading, and when last.
type keyCount struct {
	refused float32
	last    int64 // unix
}

// limitedKey is a key of a rule, with no more of an address than is shown: it is never kept beside a number.
type limitedKey struct {
	reason string
	number phone.Number
	block  netip.Prefix
	rest   string // the other parts, in words
}

// keyOf is the key of a rule that a send meets there.
func keyOf(reason string, by []policy.Part, s *policy.Send) limitedKey {
	k := limitedKey{reason: reason}
	var rest []string
	for _, p := range by {
		switch p {
		case policy.ByNumber, policy.ByRange2:
			k.number = s.Number
		case policy.ByRange3:
			rest = append(rest, "range "+s.Number.Range(3).String())
		case policy.ByRange4:
			rest = append(rest, "range "+s.Number.Range(4).String())
		case policy.ByClient, policy.ByClient24, policy.ByClient48, policy.ByClient56:
			k.block = blockOf(s.Client)
		case policy.ByCountry:
			rest = append(rest, named("country", s.Number.Country()))
		case policy.ByAccount:
			rest = append(rest, named("account", s.Account))
		case policy.BySubaccount:
			rest = append(rest, named("subaccount", s.Subaccount))
		case policy.ByEndpoint:
			rest = append(rest, named("endpoint", s.Endpoint))
		case policy.ByChannel:
			rest = append(rest, named("channel", s.Channel))
		case policy.ByPurpose:
			rest = append(rest, named("purpose", s.Purpose))
		}
	}
	if !k.number.IsZero() {
		k.block = netip.Prefix{} // an address next to a number would name a person
	}
	k.rest = strings.Join(rest, ", ")
	return k
}

// longDigits finds what could be a number in a name that a caller gave.
var longDigits = regexp.MustCompile(`[0-9]{7}`)

// named masks what callers may have written: a name that holds a number is not shown.
func named(part, value string) string {
	switch {
	case value == "":
		value = "(none)"
	case longDigits.MatchString(value):
		value = "(hidden)"
	}
	return part + " " + value
}

func (k limitedKey) String() string {
	var parts []string
	if !k.number.IsZero() {
		parts = append(parts, "number "+k.number.String())
	}
	if k.block.IsValid() {
		parts = append(parts, "client "+k.block.String())
	}
	if k.rest != "" {
		parts = append(parts, k.rest)
	}
	return strings.Join(parts, ", ")
}

// blockOf is the network of an address: an IPv4 /24 or an IPv6 /48.
func blockOf(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// countKey counts a refusal by the key of the rule that decided it.
func (b *Board) countKey(e *gate.Event, weight float32) {
	if weight == 0 {
		return
	}
	by := b.byOf(e.Verdict.Reason)
	if by == nil {
		return
	}
	k := keyOf(e.Verdict.Reason, by, &e.Send)
	c := b.keys.rows[k]
	c.refused += weight
	c.last = b.now
	b.keys.set(k, c)
}

// byOf are the parts that a rule of the policy in force counts by; nil where it has no such rule.
func (b *Board) byOf(reason string) []policy.Part {
	kind, name, _ := strings.Cut(reason, ":")
	if b.inForce == nil {
		return nil
	}
	p := b.inForce()
	switch kind {
	case "delay":
		if i := slices.IndexFunc(p.Delays, func(y policy.Delay) bool { return y.Purpose == name }); i >= 0 {
			return p.Delays[i].By
		}
	case "spend":
		if i := slices.IndexFunc(p.Spend, func(y policy.Spend) bool { return y.Name == name }); i >= 0 {
			return p.Spend[i].By
		}
	default:
		if i := slices.IndexFunc(p.Limits, func(l policy.Limit) bool { return l.Name == name }); i >= 0 {
			return p.Limits[i].By
		}
	}
	return nil
}

// keysShown is how many keys are told.
const keysShown = 20

// limited are the keys that were refused most lately.
func (b *Board) limited() *sendgatev1.BoardKeys {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := new(sendgatev1.BoardKeys)
	for _, k := range b.keys.top(keysShown) {
		c := b.keys.rows[k]
		out.Keys = append(out.Keys, &sendgatev1.BoardKey{Rule: k.reason, Key: k.String(), Refused: uint32(c.refused + .5), Last: c.last})
	}
	return out
}
