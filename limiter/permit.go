package limiter

import (
	"runtime"
	"slices"
	"sync/atomic"
)

// patience is how many looks a check takes at a rule that only undecided claims fill, before it counts them as held. A claim is
// undecided for well under a microsecond; only the operating system can stretch that.
const patience = 20_000

// outcome of a try to claim.
type outcome uint8

const (
	claimed outcome = iota
	denied          // by decided permits only, or patience ran out
	passes          // not denied when looked at
	gone            // the slot was given to another key: look it up again
	late            // the key has seen a later reading: use that
	noRoom          // every slot in reach is in use
)

// entry is one claim of a check that is not decided yet.
type entry struct {
	word   int64  // index of the word
	old    uint64 // what it was; for buckets the number of the bucket
	now    uint64 // what the claim made of it; for buckets the index of the word with undecided amounts
	amount int64  // for buckets; 0 for a permit, wholeWord or freeCharge for a delay
}

// ledger is what a check has claimed and not decided. One whose only claim decides it needs none: nil is empty.
type ledger struct {
	n      int
	inline [12]entry
	more   []entry
}

func (l *ledger) add(e entry) {
	if l.n < len(l.inline) {
		l.inline[l.n] = e
	} else {
		l.more = append(l.more, e)
	}
	l.n++
}

func (l *ledger) len() int {
	if l == nil {
		return 0
	}
	return l.n
}

func (l *ledger) at(i int) *entry {
	if i < len(l.inline) {
		return &l.inline[i]
	}
	return &l.more[i-len(l.inline)]
}

// keep turns all claims into held permits.
func (t *Table) keep(l *ledger) {
	for i := range l.n {
		if e := l.at(i); e.amount > 0 {
			t.settle(int64(e.now), e.amount)
		} else {
			next := e.now &^ (undecided | genMask)
			if e.amount == freeCharge {
				next |= vacant
			}
			// It fails only where the claim lapsed and another took the word: nothing is held any more.
			cas(&t.mem[e.word], e.now, next)
		}
	}
}

// undo takes claims back, newest first, down to the first n.
func (t *Table) undo(l *ledger, n int, lo int64) {
	for l.len() > n {
		l.n--
		e := l.at(l.n)
		switch {
		case e.amount > 0:
			t.subtract(e.word, int64(e.old), e.amount)
			// Order matters: while the amount is in the bucket it stays announced.
			t.settle(int64(e.now), e.amount)
		case e.amount == wholeWord, e.amount == freeCharge:
			cas(&t.mem[e.word], e.now, e.old)
		default:
			cas(&t.mem[e.word], e.now, freed(e.old, lo, nextStamp(e.now)))
		}
		if l.n >= len(l.inline) {
			l.more = l.more[:l.n-len(l.inline)]
		}
	}
}

// tally counts what the words of a rule stand for.
type tally struct {
	held, open int64
	vacant     int64 // of held, those that nobody holds: they are free from a later reading on
}

func (t *Table) tallyWords(words []uint64, lo int64) (c tally) {
	for i := range words {
		w := load(&words[i])
		switch t.standing(w, lo) {
		case held:
			c.held++
			if isVacant(w) {
				c.vacant++
			}
		case open:
			c.open++
		}
	}
	return c
}

func (p *place) at(t *Table, slot int64) []uint64 {
	return t.mem[slot+p.off:][:p.cap:p.cap]
}

// drained is what counts against a rule in the places it had before: the words of the last one, and how much in the others. It is
// right for readings from from on: what a place held may have been forgotten up to there.
func (t *Table) drained(r *tableRule, k Key, lo int64) (words []uint64, sum, from int64) {
	gone := false
	for ; r.drain != nil && lo < r.drainUntil; r = r.drain {
		d := r.drain
		if d.form == buckets {
			held, all := t.heldInStripes(d, k, lo)
			sum += held
			if d.few != nil {
				if slot := t.find(&d.few.place, k); slot != 0 {
					c := t.tallyWords(d.few.at(t, slot), lo)
					sum += c.held + c.open
				}
			}
			gone = gone || !all
			continue
		}
		slot := t.find(&d.place, k)
		switch {
		case slot == 0:
			gone = true
		case words == nil:
			words = d.at(t, slot)
		default:
			c := t.tallyWords(d.at(t, slot), lo)
			sum += c.held + c.open
		}
	}
	if gone {
		// Order matters: the floor was raised before the slot was given away.
		from = int64(atomic.LoadUint64(&t.life.floor))
	}
	return words, sum, max(lo, from)
}

// judgePermits says whether a charge is denied, and if so when it could pass. slot is 0 for a key that has none at the rule's
// own place.
func (t *Table) judgePermits(r *tableRule, k Key, slot, cost, lo int64) (outcome, int64) {
	var words []uint64
	if slot != 0 {
		words = r.at(t, slot)
		// The usual case first: some word is free.
		if cost == 1 && r.n == r.cap && r.drain == nil {
			for i := range words {
				if t.standing(load(&words[i]), lo) == free {
					return passes, 0
				}
			}
		}
	}
	drained, sum, from := t.drained(r, k, lo)
	if from > lo {
		return late, from
	}
	// Clearing room for the largest limit costs more than all else here.
	if len(words)+len(drained) <= 16 {
		var seen [16]uint64
		return t.judgeWords(r, k, slot, cost, lo, words, drained, sum, seen[:])
	}
	var seen [2 * MaxExact]uint64
	return t.judgeWords(r, k, slot, cost, lo, words, drained, sum, seen[:])
}

// judgeWords is judgePermits over the words of a rule, of a former place, and a sum of more that is held. seen is room for them.
func (t *Table) judgeWords(r *tableRule, k Key, slot, cost, lo int64, words, drained []uint64, sum int64, seen []uint64) (outcome, int64) {
	for look := 0; ; look++ {
		c := tally{held: sum}
		n := 0
		for _, part := range [2][]uint64{words, drained} {
			for i := range part {
				seen[n] = load(&part[i])
				switch t.standing(seen[n], lo) {
				case held:
					c.held++
					if isVacant(seen[n]) {
						c.vacant++
					}
				case open:
					c.open++
				}
				n++
			}
		}
		if slot != 0 && load(&t.mem[slot]) != tagOf(k, r.bank) {
			return gone, 0
		}
		switch {
		case c.held+c.open+cost <= r.n:
			return passes, 0
		case c.vacant > 0 && c.held-c.vacant+cost <= r.n:
			return late, vacantFrom(seen[:n], c.held+c.open+cost-r.n, lo)
		case c.held+cost > r.n || look >= patience:
			if !(equal(words, seen) && equal(drained, seen[len(words):])) && look < patience {
				continue // not all of this was so at one moment
			}
			return denied, t.kthEnd(seen[:n], c.held+c.open+cost-r.n, max(lo+1, r.drainUntil), lo)
		}
		t.lookAgain.Add(1)
		runtime.Gosched()
	}
}

func equal(words, seen []uint64) bool {
	for i := range words {
		if load(&words[i]) != seen[i] {
			return false
		}
	}
	return true
}

// vacantFrom is the reading from which up to k of the words that nobody holds are free. It uses up seen.
func vacantFrom(seen []uint64, k, lo int64) int64 {
	ends := seen[:0]
	for _, w := range seen {
		if isVacant(w) && until(w) > lo {
			ends = append(ends, uint64(until(w)))
		}
	}
	return kth(ends, min(k, int64(len(ends))))
}

// kthEnd is when the k-th of the held permits ends; drainEnd where that many are not here but in buckets that drain. It uses up
// seen.
func (t *Table) kthEnd(seen []uint64, k, drainEnd, lo int64) int64 {
	ends := seen[:0]
	for _, w := range seen {
		if t.standing(w, lo) != free {
			ends = append(ends, uint64(until(w)))
		}
	}
	if k > int64(len(ends)) {
		return drainEnd
	}
	return kth(ends, k)
}

// kth is the k-th smallest, from 1.
func kth(ends []uint64, k int64) int64 {
	if k == 1 {
		return int64(slices.Min(ends))
	}
	slices.Sort(ends)
	return int64(ends[k-1])
}

// claimPermits claims cost words of a rule, or none.
func (t *Table) claimPermits(r *tableRule, k Key, slot, cost int64, at reading, last bool, l *ledger) (outcome, int64) {
	words := r.at(t, slot)
	mark := undecided | t.gen
	if last && cost == 1 {
		mark = 0
	}
	tag := tagOf(k, r.bank)
	first := l.n
	var mine uint64 // words of this rule that are ours, by bit
	for look := 0; look < patience; look++ {
		usable := r.n
		if r.cap != r.n || r.drain != nil {
			var from int64
			if usable, from = t.usable(r, k, words, at.lo); from > at.lo {
				t.undo(l, first, at.lo)
				return late, from
			}
		}
		room, lowestOpen := int64(0), -1
		for i := range words[:usable] {
			p := &words[i]
			w := load(p)
			s := t.standing(w, at.lo)
			for s == free && cost > 0 {
				// The word belongs to this key if the tag still says so after it was read; then the CAS can only succeed
				// if the slot is not given away in between.
				if load(&t.mem[slot]) != tag {
					t.undo(l, first, at.lo)
					return gone, 0
				}
				next := mark | nextStamp(w) | uint64(at.hi+r.span)
				if cas(p, w, next) {
					cost--
					mine |= 1 << i
					if mark != 0 {
						l.add(entry{word: slot + r.off + int64(i), old: w, now: next})
					}
					break
				}
				w = load(p)
				s = t.standing(w, at.lo)
			}
			switch {
			case mine>>i&1 == 1:
			case s == free:
				room++
			case s == open && lowestOpen < 0:
				lowestOpen = i
			}
		}
		if cost == 0 {
			return claimed, room
		}
		if lowestOpen < 0 {
			break
		}
		// Two checks may each have part of what they need. The one with the lowest word keeps what it has, the other lets go.
		if mine != 0 && mine&(1<<lowestOpen-1) == 0 {
			cost += int64(l.n - first)
			t.undo(l, first, at.lo)
			mine = 0
		}
		t.lookAgain.Add(1)
		runtime.Gosched()
	}
	t.undo(l, first, at.lo)
	return denied, 0
}

// usable is for a rule whose N was lowered below its words, or that outgrew a place: how many of its words, from the first, may
// be claimed so that with all that is held elsewhere no more than N are. Words beyond are
// never claimed, so what they hold only shrinks.
func (t *Table) usable(r *tableRule, k Key, words []uint64, lo int64) (usable, from int64) {
	usable = min(r.n, int64(len(words)))
	drained, elsewhere, from := t.drained(r, k, lo)
	for _, part := range [2][]uint64{drained, words[usable:]} {
		c := t.tallyWords(part, lo)
		elsewhere += c.held + c.open
	}
	for usable > 0 && usable+elsewhere > r.n {
		usable--
		if t.standing(load(&words[usable]), lo) != free {
			elsewhere++
		}
	}
	return usable, from
}

// refundPermits frees up to cost words of a rule that were taken at the reading, and returns how much of the cost is left.
func (t *Table) refundPermits(p *place, k Key, span, cost int64, at reading) int64 {
	slot := t.find(p, k)
	if slot == 0 {
		return cost
	}
	words := p.at(t, slot)
	for i := 0; i < len(words) && cost > 0; i++ {
		w := load(&words[i])
		if w&undecided != 0 || until(w) != at.hi+span {
			continue
		}
		// As with a claim, the tag is read after the word, or the permit could be another key's.
		if load(&t.mem[slot]) != tagOf(k, p.bank) {
			return cost
		}
		if cas(&words[i], w, vacant|nextStamp(w)|uint64(at.hi)) {
			cost--
		}
	}
	return cost
}
