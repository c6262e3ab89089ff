package limiter

import "time"

// takeOne is Take for the most common check: one unit of one rule. One CAS claims and decides it, so it is tried without a look
// before. It reports false where that does not settle the matter, with nothing changed: for a key that is not known yet, a reading
// that is late, undecided claims in the way, a division over stripes, a rule that was changed or is full in another way than the
// plainest.
func (t *Table) takeOne(now time.Time, at reading, c *Charge, d *Decision) bool {
	r := c.Rule.table
	if c.Cost != 1 || r.drain != nil {
		return false
	}
	o, left, end := gone, int64(0), int64(0)
	switch r.form {
	case permits:
		if slot := t.find(&r.place, c.Key); slot != 0 {
			o, left, end = t.takePermit(r, c.Key, slot, at)
		}
	case buckets:
		o, left, end = t.takeBucket(r, c, at)
	default:
		return false
	}
	switch o {
	case claimed:
		d.Allowed, d.Remaining = true, left
	case denied:
		d.RetryAfter = retryAfter(end, at.lo)
	default:
		return false
	}
	d.At = now
	return true
}

// takePermit claims one word of a rule, or denies where all of them are held.
func (t *Table) takePermit(r *tableRule, k Key, slot int64, at reading) (o outcome, left, end int64) {
	var seen [15]uint64 // what the two smaller classes hold
	if r.n != r.cap || r.cap > int64(len(seen)) {
		return gone, 0, 0
	}
	words, tag := r.at(t, slot), tagOf(k, r.bank)
	end = untilMask
	for i := range words {
		w := load(&words[i])
		switch s := t.standing(w, at.lo); {
		case s == free:
			// As in claimPermits: the tag says after the word was read that it is this key's.
			if load(&t.mem[slot]) != tag || !cas(&words[i], w, nextStamp(w)|uint64(at.hi+r.span)) {
				return gone, 0, 0
			}
			for i++; i < len(words); i++ {
				if t.standing(load(&words[i]), at.lo) == free {
					left++
				}
			}
			return claimed, left, 0
		case s == open, isVacant(w):
			return gone, 0, 0
		}
		seen[i], end = w, min(end, until(w))
	}
	// As in judgeWords: a second look, or not all of this was so at one moment.
	if load(&t.mem[slot]) != tag || !equal(words, seen[:]) {
		return gone, 0, 0
	}
	return denied, 0, end
}

// takeBucket claims one unit of a rule of buckets.
func (t *Table) takeBucket(r *tableRule, c *Charge, at reading) (o outcome, left, end int64) {
	if r.few != nil {
		slot := t.find(&r.few.place, c.Key)
		if slot == 0 {
			return gone, 0, 0
		}
		if o, left = t.claimFew(c, slot, at, true, nil); o != claimed {
			return gone, 0, 0 // the few permits may have more to say
		}
		return o, left, 0
	}
	s := r.stripeAt(at.lo)
	k, slot := t.findStripe(r, c.Key, s)
	if slot == 0 {
		return gone, 0, 0
	}
	o, left = t.claimBuckets(r, k, slot, r.share(s, 0), 1, at, true, nil)
	switch {
	case r.stripes == 1:
		return o, left, left
	case o != claimed:
		return gone, 0, 0
	}
	held, _ := t.heldInStripes(r, c.Key, at.lo)
	return claimed, max(0, r.n-held), 0
}
