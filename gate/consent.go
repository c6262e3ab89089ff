package gate

import (
	"errors"
	"fmt"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/keyword"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/policy"
)

// judgeConsent answers a send to somebody who opted out of it, or who never agreed to what needs consent. It stands above the allow
// list: what the person said counts for more than what the operator wishes. Waiting does not help, so there is no retry-after.
func (g *Gate) judgeConsent(r *rules, sender string, send *policy.Send, v *Verdict) bool {
	if g.consent == nil {
		return false
	}
	said := g.consent.JudgeBy(r.asked, v.At, &consent.Ask{Number: send.Number, Scope: consent.Scope{Account: send.Account, Sender: sender},
		Purpose: send.Purpose, Channel: send.Channel})
	if said.Reason == "" {
		return false
	}
	v.Kind, v.Reason = Deny, said.Reason
	if said.Challenge {
		v.Kind = Challenge
	}
	return true
}

// setConsentPolicy makes what a policy says about consent that of the ledger, for messages that come in.
func (g *Gate) setConsentPolicy(r *rules) error {
	asked, err := consentRules(&r.policy.Consent)
	if err != nil {
		return fmt.Errorf("gate: consent of policy %s: %w", r.policy.Version, err)
	}
	r.asked = asked
	if g.templates != nil {
		t := &r.policy.Consent.Templates
		err = g.templates.SetPacing(template.Pacing{First: t.PaceFirst, Wait: t.PaceWait})
	}
	if g.consent != nil {
		err = errors.Join(err, g.consent.SetRules(*asked))
	}
	return err
}

// consentRules are those of a policy that was judged, so that an error is one of ours.
func consentRules(c *policy.Consent) (*consent.Rules, error) {
	voice, err := voiceOf(&c.Voice)
	if err != nil {
		return nil, err
	}
	r := consent.Rules{Voice: voice, Voices: make(map[consent.Scope]consent.Voice, len(c.Senders)), BySender: c.BySender, DenyOTP: c.DenyOTP,
		ConfirmWithin: c.ConfirmWithin, ReconfirmAfter: c.ReconfirmAfter, DenyDue: c.PastDue == policy.Deny, Retention: consent.Retention(c.Retention)}
	for i := range c.Senders {
		s := &c.Senders[i]
		if r.Voices[consent.Scope{Account: s.Account, Sender: s.Sender}], err = voiceOf(&s.Voice); err != nil {
			return nil, err
		}
	}
	for _, q := range c.Require {
		r.Require = append(r.Require, consent.Requirement(q))
	}
	return r.Checked()
}

func voiceOf(v *policy.Voice) (out consent.Voice, err error) {
	if out.Book, err = keyword.NewBook(v.Keywords); err != nil || v.Replies == nil {
		return out, err
	}
	out.Replies, err = keyword.NewReplies(*v.Replies)
	return out, err
}

// Consent is the gate's ledger, nil where there is none.
func (g *Gate) Consent() *consent.Ledger { return g.consent }

// Templates are the states of message templates, nil where there are none.
func (g *Gate) Templates() *template.Book { return g.templates }

// Region is where the gate is; "" where it does not say.
func (g *Gate) Region() string { return g.region }
