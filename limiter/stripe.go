package limiter

import "runtime"

// A key of a rule of buckets may be divided over several slots, its stripes, each with a share of N. A check is admitted as
// soon as one stripe has room for it, and tries one by its reading first, so that cores seldom meet in one word. Where no stripe has
// room for the whole cost it is divided over those that have some; it is denied only if all of them together have too little.
// As no stripe ever holds more than its share, the key never holds more than N.
const maxStripes = 16

func stripeKey(k Key, s int64) Key {
	return Key{k.Fingerprint ^ uint64(s)*0x9e3779b97f4a0000, k.Place ^ uint64(s)*0x9e3779b97f4a7c15}
}

// share is what stripe s may hold, while drained is held in the place the rule had before.
func (r *tableRule) share(s, drained int64) int64 {
	n := r.bucketsN() - drained
	if n <= 0 {
		return 0
	}
	q := n / r.stripes
	if s < n%r.stripes {
		q++
	}
	return q
}

// stripeAt is the stripe that a check tries first: by its reading and not by chance, for a replay must repeat to the byte.
func (r *tableRule) stripeAt(lo int64) int64 {
	if r.stripes == 1 {
		return 0
	}
	return int64(uint64(lo) * 0x9e3779b97f4a7c15 >> 32 % uint64(r.stripes))
}

// drainedSum is what counts against a rule of buckets in the place it had before.
func (t *Table) drainedSum(r *tableRule, k Key, lo int64) (sum, from int64) {
	words, sum, from := t.drained(r, k, lo)
	c := t.tallyWords(words, lo)
	return sum + c.held + c.open, from
}

func (t *Table) findStripe(r *tableRule, k Key, s int64) (Key, int64) {
	if s > 0 {
		k = stripeKey(k, s)
	}
	return k, t.find(&r.place, k)
}

// room is what a stripe has left, and what it would have left without all that is announced. Unless exact it goes by the memo,
// which after a refund leaves too little.
func (t *Table) room(r *tableRule, k Key, slot, limit, lo int64, exact bool) (left, atMost int64, o outcome, from int64) {
	if slot == 0 {
		return limit, limit, passes, 0
	}
	for {
		before := load(&t.mem[slot+announcedWord])
		b, w, memo, o, from := t.openBucket(r.cut, slot, tagOf(k, r.bank), lo)
		if o != passes {
			return 0, 0, o, from
		}
		sum := count(memo)
		if exact {
			sum = t.closedSum(r.cut, slot, b)
		}
		if isBucket(w, b) {
			sum += count(w)
		}
		if load(&t.mem[slot+announcedWord]) == before && load(t.ring(slot, b)) == w {
			left = max(0, limit-sum)
			return left, max(left, limit-sum+t.announced(before)), passes, 0
		}
	}
}

// judgeStripes says whether a charge is denied, and if so when it could pass.
func (t *Table) judgeStripes(r *tableRule, k Key, cost, lo int64) (outcome, int64) {
	drained, from := t.drainedSum(r, k, lo)
	if from > lo {
		return late, from
	}
	if r.stripes == 1 {
		slot := t.find(&r.place, k)
		switch {
		case slot != 0:
			return t.judgeBuckets(r, k, slot, r.bucketsN()-drained, cost, lo, 0, true)
		case cost > r.bucketsN()-drained:
			return denied, r.drainUntil
		}
		return passes, 0
	}
	for look := 0; ; look++ {
		var slots [maxStripes]int64
		var left, atMost int64
		for s := range r.stripes {
			sk, slot := t.findStripe(r, k, s)
			l, m, o, from := t.room(r, sk, slot, r.share(s, drained), lo, look > 0)
			if o != passes {
				return o, from
			}
			if left, atMost = left+l, atMost+m; left >= cost {
				return passes, 0
			}
			slots[s] = slot
		}
		if look > 0 && (atMost < cost || look >= patience) {
			return denied, t.stripesEnd(r, slots[:r.stripes], drained, cost-left, lo)
		}
		if atMost >= cost {
			t.lookAgain.Add(1)
			runtime.Gosched()
		}
	}
}

func (t *Table) stripesEnd(r *tableRule, slots []int64, drained, amount, lo int64) int64 {
	var there [maxStripes]int64
	n := 0
	for _, slot := range slots {
		if slot != 0 {
			there[n] = slot
			n++
		}
	}
	end := t.bucketsEnd(r, there[:n], lo/r.width, amount)
	if drained > 0 {
		end = min(end, max(lo+1, r.drainUntil))
	}
	return end
}

// peekStripes is what a key holds, and when cost can pass: 0 if now. Unlike a judge it moves no head, so that a look from the
// future leaves the present as it was.
func (t *Table) peekStripes(r *tableRule, k Key, cost, lo int64) (held, end int64) {
	for {
		var slots [maxStripes]int64
		held, end = t.peekOnce(r, k, cost, lo, slots[:0])
		same := true
		for s, slot := range slots[:r.stripes] {
			_, now := t.findStripe(r, k, int64(s))
			same = same && now == slot
		}
		if same {
			return held, end
		}
	}
}

func (t *Table) peekOnce(r *tableRule, k Key, cost, lo int64, slots []int64) (held, end int64) {
	drained, _ := t.drainedSum(r, k, lo)
	b := lo / r.width
	for s := range r.stripes {
		_, slot := t.findStripe(r, k, s)
		slots = append(slots, slot)
		if slot != 0 {
			b = max(b, int64(load(&t.mem[slot+headWord])&headMask))
		}
	}
	held = drained
	left := int64(0)
	for s, slot := range slots {
		sum := int64(0)
		// Numbers so far behind the newest bucket may have come round.
		if slot != 0 && b-int64(load(&t.mem[slot+headWord])&headMask) <= numbers/2 {
			sum = t.closedSum(r.cut, slot, b)
			if w := load(t.ring(slot, b)); isBucket(w, b) {
				sum += count(w)
			}
		}
		held += sum
		left += max(0, r.share(int64(s), drained)-sum)
	}
	if left >= cost {
		return held, 0
	}
	return held, t.stripesEnd(r, slots, drained, cost-left, max(lo, b*r.width))
}

// claimStripes adds cost to a key's stripes, or does nothing.
func (t *Table) claimStripes(r *tableRule, k Key, cost int64, at reading, last bool, l *ledger) (outcome, int64) {
	drained, from := t.drainedSum(r, k, at.lo)
	if from > at.lo {
		return late, from
	}
	s := r.stripeAt(at.lo)
	o, v := t.claimStripe(r, k, s, r.share(s, drained), cost, at, last, l)
	if o != denied || r.stripes == 1 {
		return o, max(0, v)
	}
	first := l.n
	for i := int64(0); i < r.stripes; i++ {
		s := (s + i) % r.stripes
		sk, slot := t.findStripe(r, k, s)
		limit := r.share(s, drained)
		part, _, o, v := t.room(r, sk, slot, limit, at.lo, true)
		if part = min(part, cost); o == passes && part > 0 {
			o, v = t.claimStripe(r, k, s, limit, part, at, false, l)
		}
		switch {
		case o == claimed:
			if cost -= part; cost == 0 {
				return claimed, 0
			}
		case o == denied:
			i-- // another check was faster; look at the stripe again
		case o != passes:
			t.undo(l, first, at.lo)
			return o, v
		}
	}
	t.undo(l, first, at.lo)
	return denied, 0
}

// claimStripe claims in one stripe, made if need be.
func (t *Table) claimStripe(r *tableRule, k Key, s, limit, cost int64, at reading, last bool, l *ledger) (outcome, int64) {
	sk, slot := t.findStripe(r, k, s)
	if slot == 0 {
		var from int64
		if slot, from = t.insert(r, sk, at.lo); slot == 0 {
			return noRoom, 0
		}
		if from > at.lo {
			return late, from
		}
	}
	return t.claimBuckets(r, sk, slot, limit, cost, at, last, l)
}

// heldInStripes is what a key holds in all its stripes, and whether all of them are there.
func (t *Table) heldInStripes(r *tableRule, k Key, lo int64) (sum int64, all bool) {
	all = true
	for s := range r.stripes {
		if sk, slot := t.findStripe(r, k, s); slot != 0 {
			// Order matters: the tag is read after the words, or they may be another key's.
			if held := t.heldInBuckets(r.cut, slot, lo); load(&t.mem[slot]) == tagOf(sk, r.bank) {
				sum += held
				continue
			}
		}
		all = false
	}
	return sum, all
}

// refundStripes takes cost out of the bucket of the reading, from whichever stripes have it: their sum is what counts. What is
// not decided yet is left alone, or its check could not take it back.
func (t *Table) refundStripes(r *tableRule, k Key, cost, lo int64) {
	b := lo / r.width
	for look := 0; cost > 0 && look < patience; look++ {
		again := false
		for s := range r.stripes {
			sk, slot := t.findStripe(r, k, s)
			if slot == 0 {
				continue
			}
			p := t.ring(slot, b)
			for cost > 0 {
				before := load(&t.mem[slot+announcedWord])
				w := load(p)
				if !isBucket(w, b) || count(w) == 0 || load(&t.mem[slot]) != tagOf(sk, r.bank) {
					break
				}
				if load(&t.mem[slot+announcedWord]) != before {
					continue
				}
				part := min(cost, count(w)-t.announced(before))
				if part <= 0 || part < cost && t.announced(before) > 0 {
					again = true
				}
				if part <= 0 {
					break
				}
				if cas(p, w, w-uint64(part)) {
					cost -= part
					break
				}
			}
		}
		if !again {
			return
		}
		runtime.Gosched()
	}
}

func (t *Table) clearStripes(r *tableRule, k Key) {
	for s := range r.stripes {
		if sk, slot := t.findStripe(r, k, s); slot != 0 {
			t.clearBuckets(slot, tagOf(sk, r.bank))
		}
	}
}
