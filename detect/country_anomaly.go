package detect

import "math"

// Country anomaly: some class of strangers to a country does not verify. The classes are told apart by what an attacker finds
// hard to have at once: a number that verified before, an address whose provider did, a range where people verified. So the
// regular users, who verify, neither hide the attack nor suffer from it. A country is only ever challenged, never denied, and
// people with a known number from a familiar address are not even that.

// strangersTrip is what each watched class must show. Few honest people are in two strange places at once, so there it takes less;
// strangersHold renews the block, and evidence above strangersHold+2 is dropped, so that some fifty honest sessions end it.
// Both are by class, from knownStrange on: known numbers in strange places, new ones elsewhere, strange, nowhere.
var (
	strangersTrip = [watched]float64{12, 16, 16, 12}
	strangersHold = [watched]float64{14, 20, 20, 12}
)

const strangersCap = 2.

// strangers checks the block on the sender's class.
func (o *observation) strangers() {
	if o.class < knownStrange {
		return
	}
	c := &o.e.countries[o.s.Country%countries]
	c.mu.Lock()
	x := &c.strangers[o.class-knownStrange]
	if o.blocked(x, nil, strangersHash(o.s.Country, o.class), math.Inf(1), strangersHold[o.class-knownStrange]) || o.uneasy(x, strangersTrip[o.class-knownStrange]) {
		sig := o.e.signal(strangersKind(o.class), strangersSubject(o.s.Country, o.class), x, float64(x.outcome), strangersTrip[o.class-knownStrange], 0)
		o.advise(Challenge, sig, x.until, true)
	}
	c.mu.Unlock()
}

// strangersKind names what a class is up to: who asks for known numbers from strange places is after accounts.
func strangersKind(c class) Kind {
	if c == knownStrange {
		return OTPBruteforce
	}
	return CountryAnomaly
}

func strangersHash(c Country, of class) uint64 { return uint64(c)<<8 | uint64(of) }

func strangersSubject(c Country, of class) Subject {
	return Subject{Scope: ScopeNewcomers, Country: c, Digits: uint64(of)}
}

// judgeStrangers adds the end of a stranger's session. The country is locked.
func (e *Engine) judgeStrangers(c *country, s *session, ok bool, now tick) {
	x := &c.strangers[s.class-knownStrange]
	if x.first == never {
		x.first = s.start
	}
	limit := strangersTrip[s.class-knownStrange]
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
	x.outcome = min(x.outcome+float32(fail), float32(strangersHold[s.class-knownStrange]+strangersCap))
	if x.until == never && float64(x.outcome) >= limit {
		sig := e.signal(strangersKind(s.class), strangersSubject(s.country, s.class), x, float64(x.outcome), limit,
			float64(x.sessions)*base)
		sig.Observed = float64(x.verified)
		e.trip(e.policy.Load(), x, nil, strangersHash(s.country, s.class), now, sig, true)
	}
}
