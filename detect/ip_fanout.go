package detect

import "math"

// IP fan-out: one address, or one address block, asks for many numbers that do not verify. Outcomes feed a CUSUM (see
// evidence.go). Before any outcome is known an address has an allowance of sessions that are still open: ten a minute, more when
// it has earned it, and more when the whole account is busier than usual. A session that verifies gives its place back, so an
// office on a Monday morning flows as fast as people type their codes.
const (
	freeOpen        = 10.
	earnedOpen      = 8. / 360 // places for each session verified in the last six hours
	addrBlockExtra  = 2.
	sharedVerified  = 3 // verified sessions, and their portion, that make an address a shared one
	sharedPortion   = .1
	sharedExtra     = 8.
	familiarBlock   = 2 // verified sessions that make an address block familiar
	surgeLargest    = 20.
	addressSessions = 1. // an hour, that honest people make from a blocked address before it is renewed
)

// network checks and charges the address, its block and its provider. It says whether the address is familiar: its block
// verified before, or its provider did for this country.
func (o *observation) network(known bool) (familiar bool) {
	if !o.net.set {
		return false
	}
	e := o.e
	l := e.origins.lock(o.keys.origin)
	if c := e.origins.find(o.keys.origin); c != nil {
		familiar = c.trusted(o.s.Country)
	}
	l.Unlock()

	l = e.addresses.lock(o.keys.addrBlock)
	if c, k := e.addresses.look(o.keys.addrBlock); c != nil {
		familiar = familiar || c.verified >= familiarBlock
		o.addressBlocked(c, k, o.keys.addrBlock, ScopeAddrBlock, known)
	}
	l.Unlock()

	surge := o.surge()
	l = e.addresses.lock(o.keys.address)
	if c, k, fresh := e.addresses.get(o.keys.address, o.now); c != nil {
		if fresh {
			c.rated, c.first = o.now, o.now
		}
		o.fanout(c, known, surge)
		o.addressBlocked(c, k, o.keys.address, ScopeAddress, known)
		touch(k, o.now, c.worth())
	}
	l.Unlock()
	return familiar
}

// fanout charges the allowance of the address, which is locked.
func (o *observation) fanout(c *addressCell, known bool, surge float64) {
	passed := o.now.since(c.rated)
	c.open *= float32(decay(passed, minute))
	c.earned *= float32(decay(passed, 6*hour))
	c.rated = max(c.rated, o.now)
	allowance := freeOpen + earnedOpen*float64(c.earned)*surge
	if float64(c.open) >= allowance && !known {
		sig := o.e.signal(IPFanout, o.net.subject(ScopeAddress), &c.evidence, float64(c.open), allowance, allowance)
		o.advise(Challenge, sig, o.now+minute, false)
		return
	}
	c.open++
	o.res.undo.counted = true
}

// addressBlocked stops sends from a blocked address or block, which is locked. Numbers that verified before pass.
func (o *observation) addressBlocked(c *addressCell, k *keep, h uint64, scope Scope, known bool) {
	if known || !o.blocked(&c.evidence, k, h, addressSessions, math.Inf(1)) && !o.uneasy(&c.evidence, threshold) {
		return
	}
	// A carrier's gateway is shared with people who verify. They are challenged, not denied, for what one of them does.
	a := Deny
	if !c.confirmed || c.shared() {
		a = Challenge
	}
	o.honest = min(1, float64(c.earned)/6/float64(max(1, c.attempts)))
	kind := c.kind
	if kind == None {
		kind = IPFanout
	}
	o.advise(a, o.e.signal(kind, o.net.subject(scope), &c.evidence, float64(c.outcome), threshold, addressSessions), c.until, true)
}

// surge is how much busier the account is than its day's average, from 1 to surgeLargest.
func (o *observation) surge() float64 {
	e, now := o.e, o.now
	h := e.hash(aboutAccount, o.s.Account)
	l := e.accounts.lock(h)
	defer l.Unlock()
	a, k, fresh := e.accounts.get(h, now)
	if a == nil {
		return 1
	}
	if fresh {
		a.t = now
	}
	passed := now.since(a.t)
	a.minutes = a.minutes*float32(decay(passed, 5*minute)) + 1
	a.days = a.days*float32(decay(passed, day)) + 1
	a.t = max(a.t, now)
	touch(k, now, hour)
	return min(surgeLargest, max(1, float64(a.minutes)/300/(float64(a.days)/86400)))
}

// shared says that people verify at an address as a matter of course.
func (c *evidence) shared() bool {
	return c.verified >= sharedVerified && float64(c.verified) >= sharedPortion*float64(c.sessions)
}

// trusted says that a provider's addresses have verified numbers of a country, not just by the way.
func (c *originCell) trusted(of Country) bool {
	for i, x := range c.country {
		if x == uint16(of)+1 {
			return c.count[i] >= 2 && float64(c.count[i]) >= .2*float64(c.total)
		}
	}
	return false
}

// verified counts a verification. When the counts are full all are halved; a sixteenth country takes the place of the rarest.
func (c *originCell) verified(of Country) {
	c.total++
	least := 0
	for i, x := range c.country {
		if x == uint16(of)+1 {
			if c.count[i]++; c.count[i] == 60000 {
				c.total /= 2
				for j := range c.count {
					c.count[j] /= 2
				}
			}
			return
		}
		if c.count[i] < c.count[least] {
			least = i
		}
	}
	c.country[least], c.count[least] = uint16(of)+1, 1
}
