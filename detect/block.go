package detect

import "math"

// Blocks: a tripped key is blocked for a time that doubles with each trip. While attempts stay well above what honest people
// would make, the block is renewed. Then the key is on probation: a little below the threshold, so that an attack that resumes
// is stopped within a few sessions while honest sessions walk it down.

const (
	probation      = 3.5 // below the threshold
	renewal        = hour
	renewalPattern = 4             // attempts above this many times the expectation renew
	outcomeCap     = 2 * threshold // more would only take longer to undo
)

// trip puts a block on a cell, which is locked.
// confirmed says that the block rests on outcomes, so it may deny; a suspicion only challenges.
func (e *Engine) trip(p *Policy, c *evidence, k *keep, hash uint64, now tick, sig Signal, confirmed bool) {
	span := &p.Kinds[sig.Kind]
	if p.idle[sig.Kind] {
		return
	}
	if c.until == never {
		c.until = now + span.Block.length(c.level)
		c.level = min(c.level+1, 8)
	}
	c.confirmed = confirmed
	if confirmed {
		c.outcome = max(c.outcome, threshold)
	}
	c.kind = sig.Kind
	sig.Confirmed = confirmed
	c.attempts, c.attempt = 0, now
	if k != nil {
		pin(k, c.until)
	}
	stopped := e.blocks.end(blockPlace{c.block, hash}) // a suspicion that is confirmed is one block
	c.block = e.blocks.add(Block{Kind: sig.Kind, Subject: sig.Subject, Shadow: span.Mode == Shadow, Since: e.nanos(now),
		Until: e.nanos(c.until), Level: int(c.level), Stopped: stopped, Signal: sig}, hash, c.until, now)
}

// length of a block after so many before it.
func (b BlockSpan) length(before uint8) tick {
	d := float64(b.First) * math.Pow(b.Factor, float64(before))
	return tick(min(d, float64(b.Max)) / nanosOfTick)
}

// blocked says whether a block on a cell is in force for an attempt now, counts the attempt, and renews or ends the block.
// The cell is locked. expected is how many sessions an hour honest people make
// here; an outcome CUSUM of sustain or more renews whatever the attempts.
func (o *observation) blocked(c *evidence, k *keep, hash uint64, expected, sustain float64) bool {
	e, now := o.e, o.now
	o.met = blockPlace{}
	if c.until == never {
		return false
	}
	c.attempts = c.attempts*float32(decay(now.since(c.attempt), hour)) + 1
	c.attempt = now
	if now >= c.until {
		if float64(c.attempts) <= max(3, renewalPattern*expected) && float64(c.outcome) < sustain {
			e.lift(c, hash)
			c.compose, c.outcome, c.failures = threshold-probation, threshold-probation, 3
			return false
		}
		c.until = now + renewal
	}
	if k != nil {
		pin(k, c.until)
	}
	o.met = blockPlace{c.block, hash}
	e.blocks.extend(o.met, c.until, e.nanos(c.until))
	return true
}

// lift ends a block.
func (e *Engine) lift(c *evidence, hash uint64) {
	e.blocks.end(blockPlace{c.block, hash})
	c.until, c.block, c.confirmed = never, 0, false
}

// Release ends a block by hand and forgets the evidence that made it. It returns false when there is none of that ID.
func (e *Engine) Release(at int64, id uint64) bool {
	row, ok := e.blocks.get(id)
	if !ok || row.Until <= at {
		return false
	}
	free := func(c *evidence) {
		if c.until != never {
			e.lift(c, row.hash)
			c.compose, c.outcome, c.failures = 0, 0, 0
		}
	}
	switch s := row.Subject; {
	case s.Scope == ScopeNumber:
		l := e.numbers.lock(row.hash)
		if n := e.numbers.find(row.hash); n != nil {
			n.until, n.victim, n.failed = never, 0, 0
		}
		l.Unlock()
	case s.Scope.Masked() > 0:
		l := e.ranges.lock(row.hash)
		if c := e.ranges.find(row.hash); c != nil {
			free(&c.evidence)
		}
		l.Unlock()
	case s.Scope == ScopeAddress || s.Scope == ScopeAddrBlock:
		l := e.addresses.lock(row.hash)
		if c := e.addresses.find(row.hash); c != nil {
			free(&c.evidence)
		}
		l.Unlock()
	case s.Scope == ScopeNewcomers:
		c := &e.countries[s.Country%countries]
		c.mu.Lock()
		free(&c.strangers[s.Digits-uint64(knownStrange)])
		c.mu.Unlock()
	}
	e.blocks.remove(id)
	return true
}
