package detect

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Subject is what a signal or a block is about. It names a full number only for ScopeNumber, and its String masks that.
type Subject struct {
	Scope   Scope
	Country Country
	// Digits are the leading digits that are left when Scope.Masked() digits are taken off; the whole number for ScopeNumber; which class of strangers for ScopeNewcomers.
	Digits uint64
	addr   [16]byte
	bits   uint8
	is4    bool
}

// Prefix returns the address block of an address scope, invalid for other scopes.
func (s Subject) Prefix() netip.Prefix {
	if s.Scope != ScopeAddress && s.Scope != ScopeAddrBlock {
		return netip.Prefix{}
	}
	if s.is4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(s.addr[:4])), int(s.bits))
	}
	return netip.PrefixFrom(netip.AddrFrom16(s.addr), int(s.bits))
}

// String prints +6591234***, 203.0.113.0/24, SG or a masked number.
func (s Subject) String() string {
	switch s.Scope {
	case ScopeNumber:
		if s.Digits < 1e6 {
			return "+****"
		}
		d := fmt.Sprint(s.Digits)
		return "+" + d[:2] + "****" + d[len(d)-2:]
	case ScopeRange2, ScopeRange3, ScopeRange4, ScopeRange5, ScopeOperator:
		return fmt.Sprintf("+%d%s", s.Digits, "******"[:s.Scope.Masked()])
	case ScopeAddress, ScopeAddrBlock:
		return s.Prefix().String()
	case ScopeNewcomers:
		return s.Country.String() + " " + classNames[min(class(s.Digits), classes-1)]
	}
	return s.Scope.String()
}

// Signal is what a detector saw.
type Signal struct {
	Kind    Kind
	Subject Subject
	// Advice is what this detector alone would do.
	Advice Advice
	// Confirmed says that outcomes prove it; otherwise it is a suspicion, which only challenges.
	Confirmed bool
	// Shadow says that the detector is not enforced.
	Shadow bool
	// Statistic reached Threshold; both in the unit of the detector (log-likelihood, score, count).
	Statistic, Threshold float64
	// Observed and Expected are the same quantity as seen and as it should be: sessions, or failed entries, or addresses.
	Observed, Expected float64
	// Sessions and Verified are the evidence so far; FirstSeen is the unix nanosecond it began.
	Sessions, Verified int
	FirstSeen          int64
}

// String explains the signal to an on-call engineer. It is not meant for the end user, and names no full number.
func (s Signal) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", s.Kind)
	switch s.Kind {
	case VictimFlood:
		fmt.Fprintf(&b, "number %s was asked for from %.0f address blocks, usual are %.0f", s.Subject, s.Observed, s.Expected)
	case RetryStorm, LoadTest:
		fmt.Fprintf(&b, "number %s is asked for by one client in machine rhythm, %.0f times in a row; a fault, no attack", s.Subject, s.Statistic)
	case OTPBruteforce:
		if s.Subject.Scope == ScopeNumber {
			fmt.Fprintf(&b, "number %s had %.1f wrong codes lately, usual are %.1f", s.Subject, s.Observed, s.Expected)
			break
		}
		fmt.Fprintf(&b, "%s: %d sessions of guessing", s.Subject, s.Sessions)
	default:
		fmt.Fprintf(&b, "%s %s: %d sessions, %d verified, %.3g expected", strings.ReplaceAll(s.Subject.Scope.String(), "_", " "), s.Subject,
			s.Sessions, s.Verified, s.Expected)
	}
	if s.FirstSeen != 0 {
		b.WriteString(", first seen " + time.Unix(0, s.FirstSeen).UTC().Format("2006-01-02 15:04Z"))
	}
	certainty := "suspected"
	if s.Confirmed {
		certainty = "confirmed"
	}
	fmt.Fprintf(&b, "; evidence %.1f of %.1f, %s", s.Statistic, s.Threshold, certainty)
	if s.Shadow {
		b.WriteString(", shadow")
	}
	return b.String()
}

// Block is a stop in force.
type Block struct {
	ID      uint64 // for Release
	Kind    Kind
	Subject Subject
	Shadow  bool
	Since   int64  // unix nanoseconds
	Until   int64  // moves on while attempts go on
	Level   int    // how often this subject was blocked before
	Stopped uint64 // sends it decided; one in shadow counts those it met
	Signal  Signal // what made it
}

// Alert is something an operator should know. The texts carry no full number.
type Alert struct {
	Seq    uint64
	At     int64
	Signal Signal
	Text   string // only for alerts about the engine itself
}
