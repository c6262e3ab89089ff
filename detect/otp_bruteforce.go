package detect

import "math"

// OTP brute force: wrong codes for one number, fading over half a day, forgiven by a right one. There is no exemption for the
// owner's address blocks: an attacker behind the owner's own carrier would share it.
//
// A spray tries a few codes for each of many numbers. Two wrong codes in one session are rare among honest people (2 % is
// generous) and the rule in a spray. Each country counts such sessions against all others in a CUSUM; while it is high, a number
// that had wrong codes is challenged long before it is held.
const (
	bruteLimit = 5.
	bruteHold  = 2 * hour
	bruteFade  = 12 * hour

	guessCodes   = 2 // wrong codes that make a session a guess
	guessHonest  = .02
	guessAttack  = .12
	guessLimit   = 8.
	guessCap     = 20.
	guessTainted = 1.5 // wrong codes a number is challenged from
)

var (
	guessHit  = math.Log(guessAttack / guessHonest)
	guessMiss = math.Log((1 - guessHonest) / (1 - guessAttack))
)

// wrongCode counts a wrong code. The number is locked.
func (e *Engine) wrongCode(n *numberCell, k *keep, h uint64, number uint64, country Country, now tick) {
	n.failed++
	n.wrong = min(n.wrong+1, 250)
	if n.wrong == guessCodes {
		e.guess(country, guessHit, now)
	}
	if n.failed >= bruteLimit {
		until := now + min(bruteHold<<min(n.level, 3), 12*hour)
		if n.until > now && n.kind == OTPBruteforce {
			until = max(n.until, now+bruteHold)
		}
		e.hold(e.policy.Load(), n, k, h, now, until, e.numberSignal(OTPBruteforce, number, country, n, float64(n.failed), bruteLimit))
	}
}

// guess moves a country's CUSUM of guesses.
func (e *Engine) guess(of Country, evidence float64, now tick) {
	c := &e.countries[of%countries]
	c.mu.Lock()
	defer c.mu.Unlock()
	x := &c.strangers[guessed-knownStrange]
	if x.first == never {
		x.first = now
	}
	if evidence > 0 {
		x.sessions++
	}
	x.outcome = float32(min(guessCap, max(0, float64(x.outcome)+evidence)))
	if x.until == never && x.outcome >= guessLimit {
		sig := e.signal(OTPBruteforce, strangersSubject(of, guessed), x, float64(x.outcome), guessLimit, 0)
		e.trip(e.policy.Load(), x, nil, strangersHash(of, guessed), now, sig, false)
	}
}

// sprayed challenges a number that had wrong codes while its country is sprayed.
func (o *observation) sprayed(n *numberCell) bool {
	if n.failed < guessTainted {
		return false
	}
	c := &o.e.countries[o.s.Country%countries]
	c.mu.Lock()
	defer c.mu.Unlock()
	x := &c.strangers[guessed-knownStrange]
	if !o.blocked(x, nil, strangersHash(o.s.Country, guessed), math.Inf(1), guessLimit) {
		return false
	}
	sig := o.e.signal(OTPBruteforce, strangersSubject(o.s.Country, guessed), x, float64(x.outcome), guessLimit, 0)
	o.advise(Challenge, sig, x.until, true)
	return true
}
