package gate

import (
	"context"
	"strings"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/policy"
)

// observed is one send as detection saw it.
type observed struct {
	asked  bool // false: there is no detection, or the send is none of its business
	send   detect.Send
	result detect.Result
}

// observe shows a send to detection, whatever becomes of it. Numbers for tests are not shown.
func (g *Gate) observe(ctx context.Context, r *rules, s *scratch, l *listed) {
	seen := &s.seen
	s.shadowSeen.asked = false
	if seen.asked = g.detect != nil && !l.result.Test.OK(); !seen.asked {
		return
	}
	send, v := &s.event.Send, &s.event.Verdict
	country := send.Country
	if country == "" {
		country = send.Number.Country()
	}
	seen.send = detect.Send{
		ID: g.sendID(g.ids.start, s.ticket.sequence), At: v.At.UnixNano(), Number: send.Number.Digits(), Country: detect.CountryOf(country), Client: send.Client,
		Account: nameHash(send.Account), Purpose: detectPurpose(send.Purpose), Lookup: looksUp(send.Endpoint),
		ChallengePassed: send.ChallengePassed, Exempt: l.allows(), Silent: g.silent(ctx, r, s.ticket.account, v.At),
		Policy: r.detect,
	}
	seen.result = g.detect.Observe(&seen.send)
	if n := seen.result.Count; n > 0 {
		v.Signals = append([]detect.Signal(nil), seen.result.Signals[:n]...)
		v.tellShadow(seen)
	}
	if r.shadow.engine != nil {
		r.observeShadow(s)
	}
}

// tellShadow lists detectors that would have stopped the send if the level acted upon anything.
func (v *Verdict) tellShadow(seen *observed) {
	for i := range v.Signals {
		sig := &v.Signals[i]
		if stopped := seen.result.Advice.Stops(); sig.Advice.Stops() && !stopped && !seen.send.Exempt {
			v.Shadow = append(v.Shadow, ShadowResult{Rule: sig.Kind.String(), Kind: kindOf(sig.Advice), Reason: detectReason("detect:", sig.Kind, sig.Subject.Scope)})
		}
	}
}

// stopped answers a send that detection stops for good, and says so.
func (o *observed) stopped(v *Verdict) bool {
	if !o.asked || o.result.Advice != detect.Deny {
		return false
	}
	o.tell(v)
	return true
}

// delayed says that detection wants a broken client to wait.
func (o *observed) delayed() bool { return o.asked && o.result.Advice == detect.Delay }

// challenged answers a send that detection wants a step up for, and says so.
func (o *observed) challenged(v *Verdict) bool {
	if !o.asked || o.result.Advice != detect.Challenge {
		return false
	}
	o.tell(v)
	return true
}

// tell writes detection's answer into a verdict. A flag is an ALLOW with a reason.
func (o *observed) tell(v *Verdict) {
	r := &o.result
	*v = Verdict{Kind: kindOf(r.Advice), RetryAfter: time.Duration(r.RetryAfter), PolicyVersion: v.PolicyVersion,
		Shadow: v.Shadow, Skipped: v.Skipped, Signals: v.Signals, At: v.At}
	prefix := "detect:"
	if r.Blocked {
		prefix = "block:"
	}
	v.Reason = detectReason(prefix, r.Kind, r.Scope)
}

// flag gives an ALLOW without a reason the one that detection has.
func (o *observed) flag(v *Verdict) {
	if o.asked && o.result.Advice == detect.Flag && v.Kind == Allow && v.Reason == "" {
		v.Reason = detectReason("detect:", o.result.Kind, o.result.Scope)
	}
}

// settle tells detection where the answer differs from its advice: a send that does not go out counts for nothing.
func (g *Gate) settle(r *rules, s *scratch, err error) {
	seen, v := &s.seen, &s.event.Verdict
	if s.shadowSeen.asked {
		s.shadowSeen.settleWith(r.shadow.engine, v, err)
	}
	if !seen.asked {
		return
	}
	g.tellSend(&seen.send, seen.settleWith(g.detect, v, err))
}

// withdraw tells detection that a send it let pass does not go out after all.
func (g *Gate) withdraw(o, shadow *observed) {
	if shadow.asked {
		g.shadowDetect.Load().Denied(&shadow.send, &shadow.result)
	}
	if o.asked {
		g.detect.Denied(&o.send, &o.result)
		if g.peers != nil { // they were told that it goes out
			g.peers.Saw(&Sighting{What: SightOutcome, Send: detect.Send{ID: o.send.ID, At: o.send.At}, Outcome: detect.NotSent}, true)
		}
	}
}

// detectOutcome tells detection what became of a send. It returns false where the send is not remembered.
func (g *Gate) detectOutcome(id *checkID, at time.Time, what detect.OutcomeKind) bool {
	g.hear(id.account, at, what)
	if g.detect == nil {
		return false
	}
	send := g.sendID(id.start, id.sequence)
	known := g.detect.Outcome(at.UnixNano(), send, what)
	if engine := g.shadowDetect.Load(); engine != nil {
		engine.Outcome(at.UnixNano(), send, what)
	}
	if g.peers != nil {
		g.peers.Saw(&Sighting{What: SightOutcome, Send: detect.Send{ID: send, At: at.UnixNano()}, Outcome: what, Account: id.account}, known)
	}
	return known
}

// DetectOutcome tells detection alone what became of the send that a check id names.
func (g *Gate) DetectOutcome(checkID string, at time.Time, what detect.OutcomeKind) bool {
	id, err := g.ids.open(checkID)
	return err == nil && g.detectOutcome(&id, at, what)
}

func kindOf(a detect.Advice) Kind {
	switch a {
	case detect.Deny, detect.Delay:
		return Deny
	case detect.Challenge:
		return Challenge
	}
	return Allow
}

// detectReason is "detect:KIND:SCOPE" or "block:KIND:SCOPE".
func detectReason(prefix string, k detect.Kind, s detect.Scope) string {
	return prefix + k.String() + ":" + s.String()
}

func detectPurpose(p string) detect.Purpose {
	switch p {
	case "transactional":
		return detect.Transactional
	case "marketing":
		return detect.Marketing
	}
	return detect.OTP
}

// looksUp says that an endpoint acts only for accounts that exist, by the words that such endpoints are named with. It decides
// whether pumping is called enumeration, nothing else.
func looksUp(endpoint string) bool {
	for _, word := range [...]string{"login", "signin", "sign-in", "sign_in", "reset", "recover", "forgot", "password"} {
		if strings.Contains(endpoint, word) {
			return true
		}
	}
	return false
}

// nameHash makes an account's name a number: FNV-1a. The engine hashes it again with its secret.
func nameHash(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// detectPolicy is what the engine needs of a policy.
func detectPolicy(p *policy.Policy) detect.Policy {
	d := detect.Policy{Level: detectLevel(p.Detect.Level), Kinds: detectKinds(p.Detect.Detectors), DenyCap: p.Detect.DenyAtMost}
	for _, e := range p.Detect.Expected {
		d.Expected = append(d.Expected, detect.Expected{Country: detect.CountryOf(e.Country), Sessions: float64(e.Sessions), From: e.From.UnixNano(), Until: e.Until.UnixNano()})
	}
	for name, a := range p.Accounts {
		account := nameHash(name)
		if a.Detect.Level != p.Detect.Level {
			if d.Accounts == nil {
				d.Accounts = make(map[uint64]detect.Level)
			}
			d.Accounts[account] = detectLevel(a.Detect.Level)
		}
		if kinds := detectKinds(a.Detect.Detectors); kinds != d.Kinds {
			if d.Overrides == nil {
				d.Overrides = make(map[uint64]*detect.Detectors)
			}
			d.Overrides[account] = &kinds
		}
	}
	return d
}

func detectLevel(l policy.Level) detect.Level {
	level, _ := detect.ParseLevel(string(l)) // a policy has no other
	return level
}

func detectKinds(from map[string]policy.Detector) (kinds detect.Detectors) {
	for _, k := range detect.Kinds() {
		one, written := from[k.String()]
		if !written {
			continue
		}
		d := &kinds[k]
		switch one.Mode {
		case policy.Shadow:
			d.Mode = detect.Shadow
		case policy.Off:
			d.Mode = detect.Disabled
		}
		if one.OnSignal == policy.Challenge {
			d.AtMost = detect.Challenge
		}
		d.Block = detect.BlockSpan{First: one.Block.First, Factor: one.Block.Factor, Max: one.Block.Max}
	}
	return kinds
}
