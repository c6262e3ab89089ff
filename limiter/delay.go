package limiter

import (
	"runtime"

	"github.com/cespare/xxhash/v2"
)

// A delay word counts the charges of a key in its stamp bits and is held until the next one may come. One word is the whole
// state, so a look at it is exact.

// claimLife is how many microseconds after its held-until an undecided charge lapses.
const claimLife = 1e6

// delayState is what a delay word says at a reading.
type delayState struct {
	count int64 // charges remembered
	until int64 // when the next may come
	open  bool  // another check has claimed the next charge and not decided
}

func (t *Table) delayState(r *tableRule, w uint64, lo int64) delayState {
	s := delayState{count: int64(w & stampMask >> untilBits), until: until(w)}
	if w&undecided != 0 {
		// The claim stood on one charge less and a delay that had ended. A dead or lapsed claim was never answered. A free
		// charge is not held at all, yet it is undecided for a while.
		s.open = w&genMask == t.gen && s.until+claimLife > lo
		if !s.open {
			s.count, s.until = max(0, s.count-1), min(s.until, lo)
		}
	}
	if !s.open && s.until+r.forget < lo {
		s.count = 0
	}
	return s
}

// wait is the delay after charge n of a key: the table's value moved by up to jitter of itself, the same each time for a key
// and a count.
func (r *tableRule) wait(k Key, n int64) int64 {
	w := r.waits[n]
	if r.jitter == 0 || w == 0 || w > r.longest {
		return w // beyond the longest is a stop
	}
	var b [16]byte
	for i := range 8 {
		b[i] = byte(k.Fingerprint >> (8 * i))
		b[8+i] = byte(n >> (8 * i))
	}
	unit := float64(xxhash.Sum64(b[:])>>11)/(1<<52) - 1 // [-1, 1)
	return max(1, min(r.longest, w+int64(float64(w)*r.jitter*unit)))
}

func (t *Table) judgeDelay(r *tableRule, k Key, slot, lo int64) (outcome, int64) {
	p := &t.mem[slot+r.off]
	for look := 0; ; look++ {
		w := load(p)
		if load(&t.mem[slot]) != tagOf(k, r.bank) {
			return gone, 0
		}
		s := t.delayState(r, w, lo)
		switch {
		case s.open && look < patience:
			t.lookAgain.Add(1)
			runtime.Gosched()
		case s.open:
			return denied, max(s.until, lo+1)
		case s.until > lo && isVacant(w):
			return late, s.until
		case s.until > lo:
			return denied, s.until
		default:
			return passes, 0
		}
	}
}

func (t *Table) claimDelay(r *tableRule, k Key, slot int64, at reading, last bool, l *ledger) (outcome, int64) {
	p := &t.mem[slot+r.off]
	for {
		if o, end := t.judgeDelay(r, k, slot, at.lo); o != passes {
			return o, end
		}
		w := load(p)
		s := t.delayState(r, w, at.lo)
		if load(&t.mem[slot]) != tagOf(k, r.bank) {
			return gone, 0
		}
		if s.open || s.until > at.lo {
			continue
		}
		n := min(s.count+1, maxCounted)
		wait, kind := r.wait(k, n), int64(wholeWord)
		next := uint64(n)<<untilBits | uint64(at.hi+wait)
		if wait == 0 {
			kind = freeCharge
		}
		switch {
		case !last:
			next |= undecided | t.gen
		case wait == 0:
			next |= vacant
		}
		if cas(p, w, next) {
			if !last {
				old := uint64(s.count)<<untilBits | uint64(s.until)
				if isVacant(w) {
					old |= vacant
				}
				l.add(entry{word: slot + r.off, old: old, now: next, amount: kind})
			}
			return claimed, 0
		}
	}
}

// insist counts a charge that came too early: the wait begins anew, one step longer, and is never cut short. It returns when
// that ends.
func (t *Table) insist(r *tableRule, k Key, at reading) int64 {
	slot := t.find(&r.place, k)
	if slot == 0 {
		return at.lo
	}
	for p := &t.mem[slot+r.off]; ; {
		w := load(p)
		s := t.delayState(r, w, at.lo)
		if s.open || s.until <= at.lo || isVacant(w) || load(&t.mem[slot]) != tagOf(k, r.bank) {
			return at.lo // the refusal was about another state than the one that is there now
		}
		n := min(s.count+1, maxCounted)
		if end := max(s.until, at.hi+r.wait(k, n)); cas(p, w, uint64(n)<<untilBits|uint64(end)) {
			return end
		}
	}
}

// In the amount of an entry these say that undoing puts entry.old back as it is.
const (
	wholeWord  = -1
	freeCharge = -2 // nothing is held: an older reading is not denied
)

// refundDelay takes back the newest charge if it was made at the reading: one charge less, and no wait.
func (t *Table) refundDelay(r *tableRule, k Key, slot int64, at reading) {
	for p := &t.mem[slot+r.off]; ; {
		w := load(p)
		n := int64(w & stampMask >> untilBits)
		if w&undecided != 0 || n == 0 || until(w) != at.hi+r.wait(k, n) || load(&t.mem[slot]) != tagOf(k, r.bank) {
			return
		}
		if cas(p, w, vacant|uint64(n-1)<<untilBits|uint64(at.hi)) {
			return
		}
	}
}
