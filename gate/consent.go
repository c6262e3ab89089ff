package gate

import (
	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/policy"
)

// judgeConsent answers a send to somebody who opted out of it, or who never agreed to what needs consent. It stands above the allow
// list: what the person said counts for more than what the operator wishes. Waiting does not help, so there is no retry-after.
func (g *Gate) judgeConsent(sender string, send *policy.Send, v *Verdict) bool {
	if g.consent == nil {
		return false
	}
	r := g.consent.Judge(v.At, &consent.Ask{Number: send.Number, Scope: consent.Scope{Account: send.Account, Sender: sender},
		Purpose: send.Purpose, Channel: send.Channel})
	if r.Reason == "" {
		return false
	}
	v.Kind, v.Reason = Deny, r.Reason
	if r.Challenge {
		v.Kind = Challenge
	}
	return true
}
