package limiter

import "runtime"

// A wide slot for every key of a limit above MaxExact would cost 512 bytes and a walk over 60 buckets for clients that send once.
// So the first units of a key are permits: few words beside the key's other rules, in the cache line that is read anyway. Only what
// finds none of them free goes to the buckets, which may hold N less these. Both are bounds for any window, so their sum is; no
// unit ever moves from one to the other. A key that has more than one slot (Stripes) is hot by definition and has no few.
const (
	fewPermits = 4
	// fewWords are the permits and a word that says until when the buckets may hold something, for those who only want to know how
	// much is left. With the ten words of a limit of 10 they fill a double slot.
	fewWords = fewPermits + 1
	// fewBelow is from which N on there are none: costs in parts of a unit of money never fit into four.
	fewBelow = 1_000_000
)

func hasFew(l Limit) bool { return formOf(l) == buckets && l.Stripes == 0 && l.N < fewBelow }

// home is the rule whose place the slot of a charge is: that of the few permits for a rule of buckets that has them.
func (r *tableRule) home() *tableRule {
	if r.few != nil {
		return r.few
	}
	return r
}

// bucketsN is how much the buckets of a rule may hold.
func (r *tableRule) bucketsN() int64 {
	if r.few != nil {
		return r.n - fewPermits
	}
	return r.n
}

// opensFew says that the few permits of a key may be used: not while the buckets, or a former place, hold so much from the time of
// another N that they could be too many. What a former place holds only shrinks.
func (t *Table) opensFew(r *tableRule, k Key, slot, lo int64) bool {
	if r.few == nil || slot == findsItsOwn || lo < r.fewFrom {
		return false
	}
	if r.drain == nil {
		return true
	}
	drained, _ := t.drainedSum(r, k, lo)
	return drained <= r.n-fewPermits
}

// fewState is one look at the few permits of a key.
type fewState struct {
	seen             [fewPermits]uint64
	words            []uint64 // empty where the key has no slot
	free, open, late int64    // all 0 while they may not be used
	held             int64    // with what is open
	closed           bool
}

// changed says that the words are others now, or another key's.
func (t *Table) changed(f *fewState, r *tableRule, k Key, slot int64) bool {
	return len(f.words) > 0 && !(equal(f.words, f.seen[:]) && load(&t.mem[slot]) == tagOf(k, r.few.bank))
}

func (t *Table) lookAtFew(r *tableRule, k Key, slot, lo int64, f *fewState) {
	*f = fewState{closed: !t.opensFew(r, k, slot, lo)}
	if r.few == nil || slot <= 0 {
		if !f.closed {
			f.free = fewPermits
		}
		return
	}
	f.words = r.few.at(t, slot)
	for i := range f.words {
		f.seen[i] = load(&f.words[i])
		switch s := t.standing(f.seen[i], lo); {
		case s == free:
			f.free++
		case s == open:
			f.open++
		case isVacant(f.seen[i]):
			f.late++
		}
	}
	f.held = fewPermits - f.free - f.late
	if f.closed {
		f.free, f.open, f.late = 0, 0, 0
	}
}

// judgeFew says whether a charge is denied by few permits and buckets together, and if so when it could pass. slot is 0 for a key
// that has no slot yet, and findsItsOwn where it can have none.
func (t *Table) judgeFew(r *tableRule, k Key, slot, cost, lo int64) (outcome, int64) {
	var f fewState
	for look := 0; ; look++ {
		t.lookAtFew(r, k, slot, lo, &f)
		// Order matters: with the tag read after them the words are this key's.
		if len(f.words) > 0 && load(&t.mem[slot]) != tagOf(k, r.few.bank) {
			return gone, 0
		}
		if f.free >= cost {
			return passes, 0
		}
		o, end := t.judgeStripes(r, k, cost-f.free, lo)
		if o != denied {
			return o, end
		}
		switch {
		case look >= patience:
		case t.changed(&f, r, k, slot): // not all of this was so at one moment
			continue
		case f.open > 0:
			t.lookAgain.Add(1)
			runtime.Gosched()
			continue
		}
		if f.late > 0 {
			return late, vacantFrom(f.seen[:], f.late, lo)
		}
		return denied, t.fewEnd(&f, lo, cost-f.free, end, func(rest int64) int64 {
			if o, v := t.judgeStripes(r, k, rest, lo); o == denied {
				return v
			}
			return lo
		})
	}
}

// fewEnd is when rest units can pass that found no few permit: end is when the buckets have room for all of them, bucketsEnd for
// some. It uses up f.seen.
func (t *Table) fewEnd(f *fewState, lo, rest, end int64, bucketsEnd func(int64) int64) int64 {
	if f.closed {
		return end
	}
	ends := f.seen[:0]
	for _, w := range f.seen[:len(f.words)] {
		if t.standing(w, lo) != free {
			ends = append(ends, uint64(until(w)))
		}
	}
	for j := int64(1); j <= int64(len(ends)) && j <= rest; j++ {
		at := kth(ends, j)
		if j < rest {
			at = max(at, bucketsEnd(rest-j))
		}
		end = min(end, at)
	}
	return end
}

// claimFew claims cost units of a rule of buckets, or none: in its few permits as many as are free, the rest in the buckets.
func (t *Table) claimFew(c *Charge, slot int64, at reading, last bool, l *ledger) (outcome, int64) {
	r, k, cost := c.Rule.table, c.Key, c.Cost
	if !t.opensFew(r, k, slot, at.lo) {
		return t.claimStripes(r, k, cost, at, last, l)
	}
	words := r.few.at(t, slot)
	mark := undecided | t.gen
	if last && cost == 1 {
		mark = 0
	}
	first, tag := l.len(), tagOf(k, r.few.bank)
	rest, left := cost, int64(0)
	for i := range words {
		w := load(&words[i])
		for t.standing(w, at.lo) == free {
			if rest == 0 {
				left++
				break
			}
			// As in claimPermits: the tag says after the word was read that it is this key's.
			if load(&t.mem[slot]) != tag {
				t.undo(l, first, at.lo)
				return gone, 0
			}
			next := mark | nextStamp(w) | uint64(at.hi+r.span)
			if cas(&words[i], w, next) {
				rest--
				if mark != 0 {
					l.add(entry{word: slot + r.few.off + int64(i), old: w, now: next})
				}
				break
			}
			w = load(&words[i])
		}
	}
	used := &t.mem[slot+r.few.off+fewPermits]
	if rest == 0 {
		if until(load(used)) > at.lo {
			held, _ := t.holding(c, slot, at.lo)
			return claimed, max(0, r.n-held)
		}
		return claimed, r.n - fewPermits + left
	}
	o, v := t.claimStripes(r, k, rest, at, last, l)
	if o != claimed {
		t.undo(l, first, at.lo)
		return o, v
	}
	// The buckets hold it until the window and a part of one more are over. Told ahead, so that it is seldom written.
	for end := at.hi + r.span + 2*r.width; ; {
		w := load(used)
		if until(w) >= end || load(&t.mem[slot]) != tag || cas(used, w, nextStamp(w)|uint64(end+r.span/4)) {
			return claimed, v
		}
	}
}

// refundFew frees the few permits that were taken at the reading, and returns how much of the cost is left for the buckets. That is
// nothing where a word tells of a reading a window later: what was taken is no more, its word may serve another check since, and
// the bucket of the reading still holds what others took a little later.
func (t *Table) refundFew(r *tableRule, k Key, cost int64, at reading) int64 {
	slot := t.find(&r.few.place, k)
	if slot == 0 {
		return 0 // given away when all of it was over
	}
	for i := range r.few.at(t, slot) {
		w := load(&t.mem[slot+r.few.off+int64(i)])
		seen := until(w)
		if !isVacant(w) {
			seen -= r.span
		}
		if seen >= at.hi+r.span {
			return 0
		}
	}
	return t.refundPermits(&r.few.place, k, r.span, cost, at)
}

// peekFew is what a key of a rule of buckets holds, and when cost can pass: 0 if now.
func (t *Table) peekFew(r *tableRule, k Key, cost, lo int64) (held, end int64) {
	var f fewState
	for look := 0; ; look++ {
		slot := int64(findsItsOwn)
		if r.few != nil {
			slot = t.find(&r.few.place, k)
		}
		t.lookAtFew(r, k, slot, lo, &f)
		held, end = t.peekStripes(r, k, max(1, cost-f.free), lo)
		switch {
		case look >= patience:
		case t.changed(&f, r, k, slot):
			continue
		case f.open > 0:
			t.lookAgain.Add(1)
			runtime.Gosched()
			continue
		}
		held += f.held
		switch {
		case f.free >= cost || end == 0:
			return held, 0
		case f.late > 0:
			lo = vacantFrom(f.seen[:], f.late, lo)
			continue
		}
		return held, t.fewEnd(&f, lo, cost-f.free, end, func(rest int64) int64 {
			_, v := t.peekStripes(r, k, rest, lo)
			return v
		})
	}
}
