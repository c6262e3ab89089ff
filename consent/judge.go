package consent

import (
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// Ask is a send about to be made.
type Ask struct {
	Number  phone.Number
	Scope   Scope // who writes
	Purpose string
	Channel string
}

// Reasons of a Ruling.
const (
	ReasonOptedOut    = "consent:opted_out"
	ReasonMissing     = "consent:missing"
	ReasonReconfirm   = "consent:reconfirm"
	ReasonUnavailable = "consent:unavailable" // the store was never read: see Options.Copy
)

// Ruling is what consent says to a send. The zero value lets it pass.
type Ruling struct {
	Reason string // one of the above; "" for nothing
	// Challenge says that the person may be asked; else the send is denied.
	Challenge bool
	// Since is when the person opted out, or agreed to what is now due; zero where nothing is known.
	Since time.Time
}

// Judge says whether consent lets a send pass. It answers from memory and allocates nothing.
func (l *Ledger) Judge(now time.Time, a *Ask) Ruling { return l.JudgeBy(l.rules.Load(), now, a) }

// JudgeBy is Judge by rules that are [Rules.Checked], whatever those in force are.
func (l *Ledger) JudgeBy(r *Rules, now time.Time, a *Ask) Ruling {
	var room [8]slot
	need := r.requires(a.Purpose, a.Channel)
	if a.Purpose == OTP && !r.DenyOTP && need == nil {
		return Ruling{}
	}
	if l.unread.Load() {
		return Ruling{Reason: ReasonUnavailable}
	}
	var given slot
	for _, s := range l.sealers {
		seal := s.number(a.Number.Digits())
		if a.Purpose != OTP || r.DenyOTP {
			for _, e := range l.outs.look(&seal, room[:0]) {
				if l.scopes.place(e.scope).covers(a.Scope) {
					return Ruling{Reason: ReasonOptedOut, Since: moment(e.since)}
				}
			}
		}
		if need == nil {
			continue
		}
		for _, e := range l.grants.look(&seal, room[:0]) {
			if at := l.scopes.place(e.scope); at.purpose == a.Purpose && (at.channel == a.Channel || at.channel == "") && at.grants(a.Scope) && e.since > given.since {
				given = e
			}
		}
	}
	if need == nil {
		return Ruling{}
	}
	if given.since == 0 {
		return Ruling{Reason: ReasonMissing}
	}
	if since := moment(given.since); r.due(since, now) {
		return Ruling{Reason: ReasonReconfirm, Challenge: !r.DenyDue, Since: since}
	}
	return Ruling{}
}

// grants says that consent for the scope is consent for a send. Unlike an opt-out it never reaches further than it was given: who does
// not say who sends has no consent that was given to one sender.
func (s Scope) grants(to Scope) bool {
	return (s.Account == "" || s.Account == to.Account) && (s.Sender == "" || s.Sender == to.Sender)
}

// due says that consent since then has to be given again.
func (r *Rules) due(since, now time.Time) bool {
	return r.ReconfirmAfter > 0 && !now.Before(since.AddDate(0, r.ReconfirmAfter, 0))
}

// OptedOut says whether a number opted out of a scope, and since when.
func (l *Ledger) OptedOut(n phone.Number, of Scope) (since time.Time, out bool) {
	var room [8]slot
	for _, s := range l.sealers {
		seal := s.number(n.Digits())
		for _, e := range l.outs.look(&seal, room[:0]) {
			if l.scopes.place(e.scope).covers(of) {
				return moment(e.since), true
			}
		}
	}
	return time.Time{}, false
}
