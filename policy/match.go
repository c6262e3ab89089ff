package policy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// Send is what a policy has to know of one message about to be sent.
type Send struct {
	Number     phone.Number
	Country    string // ISO 3166-1 alpha-2, upper case; "" where the number has none
	NumberType phone.Type
	Client     netip.Addr // canonical; the zero Addr for none
	Account    string
	Subaccount string
	Endpoint   string
	Channel    string // "sms"
	Purpose    string // "otp", "transactional" or "marketing"
	// KnownGood says that the number verified recently; see otp.known_good.
	KnownGood bool
	// ChallengePassed says that the user has just passed a challenge.
	ChallengePassed bool
	// What only conditions ask for: how many units are sent, what else the caller says, and when it is.
	Cost       int64
	Attributes map[string]string
	At         time.Time
}

// Match picks sends. Each field that is not empty must hold the send's value; an empty Match picks every send.
type Match struct {
	Account    []string `json:",omitempty"`
	Subaccount []string `json:",omitempty"`
	Endpoint   []string `json:",omitempty"`
	Channel    []string `json:",omitempty"`
	Purpose    []string `json:",omitempty"`
	// Country holds ISO 3166-1 alpha-2 codes, and ZZ for numbers without a country.
	Country []string `json:",omitempty"`
	// NumberType holds the names of [phone.Type].
	NumberType []string `json:",omitempty"`
	// KnownGood and ChallengePassed are nil when it does not matter.
	KnownGood       *bool `json:",omitempty"`
	ChallengePassed *bool `json:",omitempty"`
}

// dimension is one thing a Match can ask about.
type dimension uint8

const (
	byAccount dimension = iota
	bySubaccount
	byEndpoint
	byChannel
	byPurpose
	byCountry
	byNumberType
	byKnownGood
	byChallengePassed
	dimensions
)

// NoCountry is how a match spells a number that belongs to no country, such as +800.
const NoCountry = "ZZ"

// value is what a send has in a dimension.
func (s *Send) value(d dimension) string {
	switch d {
	case byAccount:
		return s.Account
	case bySubaccount:
		return s.Subaccount
	case byEndpoint:
		return s.Endpoint
	case byChannel:
		return s.Channel
	case byPurpose:
		return s.Purpose
	case byCountry:
		if s.Country == "" {
			return NoCountry
		}
		return s.Country
	case byNumberType:
		return s.NumberType.String()
	case byKnownGood:
		return truth(s.KnownGood)
	case byChallengePassed:
		return truth(s.ChallengePassed)
	}
	return ""
}

// values is what a match accepts in a dimension; nil for everything.
func (m *Match) values(d dimension) []string {
	switch d {
	case byAccount:
		return m.Account
	case bySubaccount:
		return m.Subaccount
	case byEndpoint:
		return m.Endpoint
	case byChannel:
		return m.Channel
	case byPurpose:
		return m.Purpose
	case byCountry:
		return m.Country
	case byNumberType:
		return m.NumberType
	case byKnownGood:
		return truths(m.KnownGood)
	case byChallengePassed:
		return truths(m.ChallengePassed)
	}
	return nil
}

func truth(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func truths(b *bool) []string {
	if b == nil {
		return nil
	}
	return []string{truth(*b)}
}

// empty reports whether m asks about nothing.
func (m *Match) empty() bool {
	for d := range dimensions {
		if m.values(d) != nil {
			return false
		}
	}
	return true
}

// Holds reports whether m picks s.
func (m *Match) Holds(s *Send) bool {
	for d := range dimensions {
		if v := m.values(d); v != nil && !slices.Contains(v, s.value(d)) {
			return false
		}
	}
	return true
}
