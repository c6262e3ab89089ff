package detect

import "net/netip"

// Purpose is why a message is sent. Only OTP sends are judged: the others have no outcome that could tell.
type Purpose uint8

// The purposes.
const (
	OTP Purpose = iota
	Transactional
	Marketing
)

// Country is an ISO 3166 alpha-2 code as a small integer, 0 when unknown. Make one with [CountryOf].
type Country uint16

// CountryOf packs "SG". Anything but two capital letters is the unknown country.
func CountryOf(iso2 string) Country {
	if len(iso2) != 2 || iso2[0] < 'A' || iso2[0] > 'Z' || iso2[1] < 'A' || iso2[1] > 'Z' {
		return 0
	}
	return 1 + Country(iso2[0]-'A')*26 + Country(iso2[1]-'A')
}

// String returns the ISO code, "??" when unknown.
func (c Country) String() string {
	if c == 0 || c >= countries {
		return "??"
	}
	return string([]byte{'A' + byte((c-1)/26), 'A' + byte((c-1)%26)})
}

const countries = 1 + 26*26

// Send is one message about to be sent.
type Send struct {
	// ID names the send in Outcome. Unique for about a day; a hash of a longer id will do. 0 means that no outcome will come.
	ID uint64
	// At is the time in nanoseconds since 1970. It should not go back by more than seconds between calls.
	At int64
	// Number is the destination: the digits of E.164 as an integer, country code first.
	Number uint64
	// CallingCode is the country calling code, such as 65.
	CallingCode uint16
	// Country is where the number belongs.
	Country Country
	// Client is the end user's address after trusted proxies were taken off, unmapped; invalid when there is none (a backend).
	Client netip.Addr
	// Account is a keyed hash of the account that pays.
	Account uint64
	// Endpoint is a hash of the caller's endpoint, 0 when there is none.
	Endpoint uint64
	Purpose  Purpose
	// Lookup says that the endpoint acts only for accounts that exist, such as login and password reset. Pumping through it
	// is called enumeration.
	Lookup bool
	// ChallengePassed says that the client has just solved a challenge for this send: it is not challenged again.
	ChallengePassed bool
	// Silent says that nobody reports what becomes of this account's sends. That a session was not verified means nothing then,
	// and what is seen is flagged; only blocks that others' sends made stop it.
	Silent bool
	// Exempt says that an allow list lets the send pass whatever is advised. It is still observed, and the advice is at most Flag.
	Exempt bool
	// Policy judges this send, made with [Policy.Ready]; nil for that of SetPolicy. A caller that swaps policies gives it, so that one
	// send meets one policy.
	Policy *Policy
}

// Result is the answer to a send. It holds no pointers into the engine.
type Result struct {
	// Advice is to be followed, or the engine told that it was not.
	Advice Advice
	// Kind and Scope say why, None where Advice is Allow.
	Kind  Kind
	Scope Scope
	// Blocked says that a block which was there before stopped the send, rather than this send's own evidence.
	Blocked bool
	// RetryAfter is how long the advice stands, in nanoseconds; 0 when unknown.
	RetryAfter int64
	// Signals holds what was seen, the deciding one first; Count of them are set. Shadow detectors report here too.
	Signals [MaxSignals]Signal
	Count   int

	undo undo
}

// MaxSignals is how many signals one send can carry.
const MaxSignals = 3

// Seen returns the signals.
func (r *Result) Seen() []Signal { return r.Signals[:r.Count] }

// OutcomeKind is what became of a send.
type OutcomeKind uint8

// The outcomes.
const (
	Verified OutcomeKind = iota
	Failed               // a wrong code was entered
	Expired
	Delivered
	Undelivered
	NotSent // the send did not happen after all
)

// ParseOutcome finds an outcome by its lower-case name, such as "verified".
func ParseOutcome(name string) (OutcomeKind, bool) {
	for i, n := range [...]string{"verified", "failed", "expired", "delivered", "undelivered", "not_sent"} {
		if n == name {
			return OutcomeKind(i), true
		}
	}
	return 0, false
}
