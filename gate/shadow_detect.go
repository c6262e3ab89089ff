package gate

import (
	"slices"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/policy"
)

// observeShadow shows a send that detection saw to the engine of detectors in shadow, and tells what those would have done.
func (r *rules) observeShadow(s *scratch) {
	seen, v := &s.shadowSeen, &s.event.Verdict
	seen.asked, seen.send = true, s.seen.send
	seen.send.Policy = r.shadow.policy
	seen.result = r.shadow.engine.Observe(&seen.send)
	for _, sig := range seen.result.Signals[:seen.result.Count] {
		if !sig.Shadow && !s.inShadow {
			continue // the other engine tells it
		}
		sig.Shadow = true
		v.Signals = append(v.Signals, sig)
		if sig.Advice.Stops() && !seen.send.Exempt && !seen.send.Silent {
			v.Shadow = append(v.Shadow, ShadowResult{Rule: sig.Kind.String(), Kind: kindOf(sig.Advice), Reason: detectReason("detect:", sig.Kind, sig.Subject.Scope)})
		}
	}
}

// settleWith tells an engine where the answer differs from its advice, and returns what it made of the send.
func (o *observed) settleWith(engine *detect.Engine, v *Verdict, err error) Sight {
	advice, went := o.result.Advice, err == nil && v.Kind == Allow
	switch {
	case went:
		if advice.Stops() {
			engine.Admitted(&o.send, &o.result)
		}
		return SightWent
	case advice == detect.Deny, advice == detect.Delay:
	case err == nil && advice == detect.Challenge && v.Kind == Challenge: // it goes out when the user passes it
	default:
		engine.Denied(&o.send, &o.result)
		return SightDenied
	}
	return SightStopped
}

// enforcedDetect is what the engine needs that advises: detectors in shadow are as if they were off, and accounts in shadow as if they
// were not there.
func enforcedDetect(p *policy.Policy) detect.Policy {
	d := detectPolicy(p)
	drop := func(kinds *detect.Detectors) {
		for i := range kinds {
			if kinds[i].Mode == detect.Shadow {
				kinds[i].Mode = detect.Disabled
			}
		}
	}
	drop(&d.Kinds)
	for _, kinds := range d.Overrides {
		drop(kinds)
	}
	for name, a := range p.Accounts {
		if a.Mode == policy.Shadow {
			if d.Accounts == nil {
				d.Accounts = make(map[uint64]detect.Level)
			}
			d.Accounts[nameHash(name)] = detect.LevelOff
		}
	}
	return d
}

// openRows finds where all that is in shadow is counted.
func (g *Gate) openRows(r *rules) {
	if g.book == nil {
		return
	}
	g.book.Retire()
	for i := range r.limits {
		if live := r.limits[i].live; live != nil && !live.shadow {
			r.hasLive = true
			live.row = g.book.Row(live.rowName)
		}
	}
	for _, l := range r.all() {
		if l.shadow {
			l.row = g.book.Row(l.rowName)
		}
		for name := range r.shadow.accounts {
			if l.twin == nil || l.account != "" && l.account != name {
				continue
			}
			if l.twin.rows == nil {
				l.twin.rows = make(map[string]*report.Row)
			}
			l.twin.rows[name] = g.book.Row(accountRow(name, l.rowName))
		}
	}
	p := r.policy
	r.shadow.others = g.watch(&p.Detect, false, "")
	for name, a := range p.Accounts {
		prefix := ""
		if a.Mode == policy.Shadow {
			prefix = accountRow(name, "")
		}
		if own := g.watch(&a.Detect, a.Mode == policy.Shadow, prefix); len(own) > 0 || len(r.shadow.others) > 0 {
			if r.shadow.detectors == nil {
				r.shadow.detectors = make(map[string][]watched)
			}
			r.shadow.detectors[name] = own
		}
	}
}

// watch lists the detectors that are told and not acted upon.
func (g *Gate) watch(t *policy.Detect, all bool, prefix string) (out []watched) {
	if t.Level == policy.LevelOff {
		return nil
	}
	for _, name := range policy.Detectors() {
		mode := t.Detectors[name].Mode
		if mode == policy.Shadow || (all || t.Level == policy.LevelObserve) && mode != policy.Off {
			out = append(out, watched{name, g.book.Row(prefix + "detect:" + name)})
		}
	}
	return slices.Clip(out)
}

// accountRow is what a row of an account in shadow is called; see also [policy.Limit.StoreName].
func accountRow(account, name string) string { return "account:" + account + "/" + name }
