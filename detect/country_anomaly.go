package detect

import "math"

// Country anomaly: newcomers of a country (numbers that never verified, from address blocks that never did) do not verify.
// The class is told apart so that the country's regular users, who verify, neither hide the attack nor suffer from it. A country
// is only ever challenged, never denied.
const newcomersExtra = 2.

// newcomers checks the block on the country's newcomers.
func (o *observation) newcomers() {
	if o.class != classNewcomer {
		return
	}
	c := &o.e.countries[o.s.Country%countries]
	c.mu.Lock()
	x := &c.newcomers
	if o.e.blocked(x, nil, newcomersHash(o.s.Country), o.now, math.Inf(1), true) {
		sig := o.e.signal(x.kind, Subject{Scope: ScopeNewcomers, Country: o.s.Country}, x, float64(x.outcome), threshold+newcomersExtra, 0)
		o.advise(Challenge, sig, x.until, true)
	}
	c.mu.Unlock()
}

func newcomersHash(c Country) uint64 { return uint64(c) }

// judgeNewcomers adds the end of a newcomer's session. The country is locked.
func (e *Engine) judgeNewcomers(c *country, s *session, ok bool, now tick) {
	x := &c.newcomers
	if x.first == never {
		x.first = s.start
	}
	base := .8 * c.expectation()
	attack := min(.5*base, .25)
	fail, success := math.Log((1-attack)/(1-base)), math.Log(attack/base)
	if ok {
		if s.state&sessionFailed != 0 {
			success -= fail
		} else {
			x.sessions++
		}
		add(&x.outcome, success)
		x.verified++
		return
	}
	x.sessions++
	add(&x.outcome, fail)
	if x.until == never && x.outcome >= threshold+newcomersExtra {
		sig := e.signal(CountryAnomaly, Subject{Scope: ScopeNewcomers, Country: s.country}, x, float64(x.outcome), threshold+newcomersExtra,
			float64(x.sessions)*base)
		sig.Observed = float64(x.verified)
		e.trip(x, nil, newcomersHash(s.country), now, sig)
	}
}
