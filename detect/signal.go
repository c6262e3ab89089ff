package detect

import (
	"fmt"
	"net/netip"
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

// String explains the signal to an on-call engineer. It is not meant for the end user.
func (s Signal) String() string {
	return fmt.Sprintf("%s %s: statistic %.1f of %.1f, observed %.3g, expected %.3g, %d sessions, %d verified",
		s.Kind, s.Subject, s.Statistic, s.Threshold, s.Observed, s.Expected, s.Sessions, s.Verified)
}

// Block is a stop in force.
type Block struct {
	ID      uint64 // for Release
	Kind    Kind
	Subject Subject
	Shadow  bool
	Since   int64 // unix nanoseconds
	Until   int64 // moves on while attempts go on
	Level   int   // how often this subject was blocked before
	Stopped uint64
	Signal  Signal // what made it
}

// Alert is something an operator should know. The texts carry no full number.
type Alert struct {
	Seq    uint64
	At     int64
	Signal Signal
	Text   string // only for alerts about the engine itself
}
