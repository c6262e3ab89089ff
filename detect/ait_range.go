package detect

// AIT range: numbers of one range are pumped, told by composition (see composition.go) and by outcomes (see evidence.go), at two
// to six masked digits. Composition with three failures trips at the threshold, composition alone needs 2.2 times as much.
// Ranges of five and six digits hold too many people for composition: they trip on outcomes, and later.

// rangeExtra is what a range must show above the threshold on outcomes alone, by masked digits from two.
var rangeExtra = [5]float64{0, 0, 0, 3, 6}

const (
	composedMask = 3 // masked digits at which composition may trip: the first three of priorShare
	minFailures  = 3
	hitScale     = 4096 // hits are kept in 16 bits
)

// ranges checks the blocks of the five ranges of the number, and where the send is evidence, counts it.
func (o *observation) ranges(evidence bool, row *session) {
	e, now := o.e, o.now
	for i, h := range o.keys.ranges {
		scope := ScopeRange2 + Scope(i)
		l := e.ranges.lock(h)
		var c *cell
		var k *keep
		if evidence {
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
		expected := o.rangePace(c)
		if e.blocked(c, k, h, now, expected, scope == ScopeOperator) {
			o.adviseRange(c, scope, true)
		}
		if evidence {
			c.sessions++
			share := earnedShare(float64(c.verified), o.verified, priorShare[i])
			if hit, miss, ok := composition(share, o.verified); ok {
				elsewhere := float64(o.sessions-c.seenAt) - 1
				c.compose = float32(max(0, float64(c.compose)-max(0, elsewhere*miss)) + hit)
				c.seenAt = o.sessions
				row.hit[i] = uint16(hit * hitScale)
				composed := i < composedMask && (float64(c.compose) >= thresholdOnly ||
					float64(c.compose) >= threshold && c.failures >= minFailures)
				if composed && c.until == never {
					sig := e.signal(AITRange, subject(scope, o.s.Number, o.s.Country, o.net), c, float64(c.compose), threshold, expected)
					e.trip(c, k, h, now, sig)
					if c.until != never {
						o.adviseRange(c, scope, false)
					}
				}
			}
			touch(k, now, c.worth())
		}
		l.Unlock()
	}
}

// adviseRange stops a send into a blocked range. Narrow ranges deny; a wider one challenges those whose address has a good name.
func (o *observation) adviseRange(c *cell, scope Scope, before bool) {
	a := Deny
	switch scope {
	case ScopeRange4:
		if o.class < classNewcomer {
			a = Challenge
		}
	case ScopeRange5:
		if o.class < classNewcomer {
			a = Challenge
		}
	case ScopeOperator:
		if o.class < classNewcomer {
			return
		}
		a = Challenge
	}
	sig := o.e.signal(c.kind, subject(scope, o.s.Number, o.s.Country, o.net), c, float64(max(c.compose, c.outcome)), threshold, o.rangePace(c))
	o.advise(a, sig, c.until, before)
}

// rangePace is how many sessions an hour the range has earned.
func (o *observation) rangePace(c *cell) float64 {
	return (float64(c.verified) + .2) / max(1, o.verified) * o.pace / 24
}

// worth is how long a cell should be kept although nothing happens: what holds evidence or history longer than a stranger.
func (c *cell) worth() tick {
	w := tick(min(float64(c.verified), 24)) * hour / 2
	if s := max(c.compose, c.outcome); s > 4 {
		w = max(w, tick(s)*hour)
	}
	return w
}
