package detect

// AIT range: numbers of one range are pumped, told by composition (see composition.go) and by outcomes (see evidence.go), at two
// to six masked digits. Composition alone raises a suspicion, which challenges; composition with five failures, or outcomes
// alone, confirm it. Ranges of five and six digits hold too many people for composition: they trip on outcomes, and later.

// rangeExtra is what a range must show above the threshold on outcomes alone, by masked digits from two.
var rangeExtra = [5]float64{0, 0, 0, wideExtra, operatorExtra}

const (
	composedMasks = 3    // the first three widths, two to four digits, may trip on composition
	minFailures   = 3    // with which composition is a suspicion
	sureFailures  = 5    // with which it is confirmed
	hitScale      = 4096 // hits are kept in 16 bits
)

// ranges checks the blocks of the five ranges of the number, and where the send is evidence, counts it. It returns in
// which of the ranges of four, five and six digits people have verified, as bits.
func (o *observation) ranges(counts, familiar bool, row *session) (inhabited uint8) {
	e, now := o.e, o.now
	peer := fingerprint(o.keys.address)
	decent := false // people verified in the number's own hundred or thousand, and nothing speaks against it
	for i, h := range o.keys.ranges {
		scope := ScopeRange2 + Scope(i)
		l := e.ranges.lock(h)
		var c *rangeCell
		var k *keep
		if counts {
			var fresh bool
			if c, k, fresh = e.ranges.get(h, now); fresh {
				c.first = now
				c.seenAt = o.sessions
			}
		} else {
			c, k = e.ranges.look(h)
		}
		if c == nil {
			l.Unlock()
			continue
		}
		if scope >= ScopeRange4 && c.verified >= inhabitedBy {
			inhabited |= 1 << (scope - ScopeRange4)
		}
		expected := o.rangePace(&c.evidence)
		if scope <= ScopeRange3 {
			decent = decent || c.verified >= inhabitedBy && c.outcome < 1
		}
		if (o.blocked(&c.evidence, k, h, expected, sustains(scope)) || o.uneasy(&c.evidence, threshold+rangeExtra[i])) && !(decent && familiar && scope >= ScopeRange4) {
			o.adviseRange(&c.evidence, scope, familiar, true)
		}
		if counts {
			c.sessions++
			if o.s.Lookup && c.lookups < 1<<16-1 {
				c.lookups++
			}
			o.compose(c, k, h, i, familiar, c.peer(peer), expected, row)
			touch(k, now, c.worth())
		}
		l.Unlock()
	}
	return inhabited
}

// compose adds the hit of a session to a range, which is locked.
func (o *observation) compose(c *rangeCell, k *keep, h uint64, i int, familiar, again bool, expected float64, row *session) {
	share := earnedShare(float64(c.verified), o.verified, priorShare[i])
	hit, miss, ok := composition(share, o.verified)
	if !ok {
		return
	}
	if again {
		// Colleagues in one office have neighbouring numbers. One address in one range is a single witness; if it is pumping, its
		// sessions do not verify.
		hit = 0
	}
	elsewhere := float64(o.sessions-c.seenAt) - 1
	c.compose = float32(max(0, float64(c.compose)-max(0, elsewhere*miss)) + hit)
	c.seenAt = o.sessions
	row.hit[i] = uint16(hit * hitScale)
	if i >= composedMasks || c.until != never && c.confirmed {
		return
	}
	suspected, confirmed := c.composed()
	suspected = suspected || !o.expected && float64(c.compose) >= thresholdOnly
	if !confirmed && (c.until != never || !suspected) {
		return
	}
	scope := ScopeRange2 + Scope(i)
	sig := o.e.signal(c.rangeKind(scope), subject(scope, o.s.Number, o.s.Country, o.net), &c.evidence, float64(c.compose), threshold, expected)
	if o.s.Silent { // told, and nothing is done
		o.advise(Challenge, sig, never, false)
		return
	}
	o.e.trip(o.p, &c.evidence, k, h, o.now, sig, confirmed)
	if c.until != never {
		o.adviseRange(&c.evidence, scope, familiar, false)
	}
}

// composed says what composition together with failures amounts to.
func (c *evidence) composed() (suspected, confirmed bool) {
	if float64(c.compose) < threshold {
		return false, false
	}
	return c.failures >= minFailures, c.failures >= sureFailures
}

// peer notes the address of a session and says whether it is among the latest.
func (c *rangeCell) peer(address uint16) bool {
	at := len(c.peers) - 1
	again := false
	for i, x := range c.peers {
		if x == address {
			at, again = i, true
			break
		}
	}
	copy(c.peers[1:at+1], c.peers[:at])
	c.peers[0] = address
	return again
}

// adviseRange stops a send into a blocked range. Narrow ranges deny strangers. Where people have verified before, and in wider
// ranges, a familiar address is challenged instead.
func (o *observation) adviseRange(c *evidence, scope Scope, familiar, before bool) {
	a := Challenge
	switch scope {
	case ScopeRange2, ScopeRange3:
		if c.confirmed && !(familiar && c.verified >= 1) {
			a = Deny
		}
	case ScopeRange4, ScopeRange5:
		if c.confirmed && !familiar {
			a = Deny
		}
	case ScopeOperator:
		if familiar {
			return
		}
	}
	expected := o.rangePace(c)
	if a == Deny && o.cold() {
		a = Challenge
	}
	o.honest = min(1, expected/float64(max(1, c.attempts)))
	kind := c.kind
	if kind == None {
		kind = c.rangeKind(scope)
	}
	sig := o.e.signal(kind, subject(scope, o.s.Number, o.s.Country, o.net), c, float64(max(c.compose, c.outcome)), threshold, expected)
	o.advise(a, sig, c.until, before)
}

// cold says that little is known yet: the engine is less than a day old, and the country has few verified sessions.
func (o *observation) cold() bool { return o.now < 2*day && o.verified < 300 }

// rangePace is how many sessions an hour the range has earned.
func (o *observation) rangePace(c *evidence) float64 {
	return (float64(c.verified) + .2) / max(1, o.verified) * o.pace / 24
}

// worth is how long a cell should be kept although nothing happens: what holds evidence or history longer than a stranger.
func (c *evidence) worth() tick {
	w := tick(min(float64(c.verified), 24)) * hour / 2
	if s := max(c.compose, c.outcome); s > 4 {
		w = max(w, tick(s)*hour)
	}
	return w
}
