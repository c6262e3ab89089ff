package limiter

import (
	"runtime"
	"sync/atomic"
)

// A limit above MaxExact has a wide slot of its own. Time is cut into buckets of width W/58 or a little more, and a check in
// bucket h is admitted if the buckets h-nb to h, which cover more than any window that ends in h, hold at most N with it. So it
// may refuse what is up to one width older than W (less than 2% of W for windows from 21ms, up to 3.5% at 1ms), and never admits one too many.
//
//	word 1      announced: amounts of checks that are not decided yet (bit 63 taken away; 4 bits generation; 16 bits change
//	            counter; 43 bits amount)
//	word 2      head (bit 63 taken away; 11 bits epoch; 52 bits number of the newest bucket)
//	word 3      memo: what the closed buckets held when the head came to its bucket (bit 63 zero; 20 bits bucket; 43 bits sum)
//	words 4-63  a ring of buckets (bit 63 closed; 20 bits bucket; 43 bits count)
//
// Protocol:
//
//   - Only the head's bucket is ever added to, by CAS. To move the head, its bucket is closed first: an add that read the
//     bucket open fails then. So the sum of the closed buckets only shrinks (by refunds), and the one CAS that adds to the open
//     bucket proves that sum + count + cost is at most N. A reading older than the head is taken as the head's (outcome late).
//   - The sum is computed once a bucket and kept in the memo. It may be too high after a refund, never too low; before a denial
//     it is computed again.
//   - A check with several charges announces its amount before it adds, and withdraws the announcement when it has decided (and,
//     if it takes the amount back, after that). A check is denied only if the sum without all that is announced is too high,
//     and nothing changed while it looked; else it looks again.
//   - Bucket numbers are kept modulo 2^20-1. When the head moves further than half of that the ring is voided before, so that no
//     stale count can look young.
//   - A recycled slot has the announcements and the head taken away first, so no new check can start, and gets words that were
//     never there before: the epoch makes void words and heads unique.
const (
	// maxPast is how many buckets a window is cut into; with the current one and a part of one more they fit the ring.
	maxPast = 58

	announcedWord = 1
	headWord      = 2
	memoWord      = 3
	ringWord      = 4
	ringSize      = 60

	countBits = 43
	countMask = 1<<countBits - 1
	numbers   = 1<<20 - 1 // bucket numbers are kept modulo this; the value itself means void
	closedBit = 1 << 63
	takenBit  = 1 << 63

	headBits  = 52
	headMask  = 1<<headBits - 1
	epochMask = 0x7ff << headBits

	changeOne  = 1 << countBits
	changeMask = 0xffff << countBits
)

// cut is how a window is divided: buckets of width microseconds, of which nb lie in a window at most in part.
type cut struct{ width, nb int64 }

func cutOf(window int64) cut {
	width := (window + maxPast - 1) / maxPast
	return cut{width, (window + width - 1) / width}
}

func bucketWord(b, count int64) uint64 { return uint64(b%numbers)<<countBits | uint64(count) }

func isBucket(w uint64, b int64) bool { return w>>countBits&(1<<20-1) == uint64(b%numbers) }

func count(w uint64) int64 { return int64(w & countMask) }

func (t *Table) ring(slot, b int64) *uint64 { return &t.mem[slot+ringWord+b%ringSize] }

// openBucket brings the head to the bucket of lo and returns the bucket, its word and the memo.
func (t *Table) openBucket(c cut, slot int64, tag uint64, lo int64) (b int64, w, memo uint64, o outcome, from int64) {
	for {
		head := load(&t.mem[slot+headWord])
		// Order matters: with the tag read after it the head is this key's. In a slot given away the word may be a permit.
		if load(&t.mem[slot]) != tag {
			return 0, 0, 0, gone, 0
		}
		if head&takenBit != 0 {
			if !t.heal(slot, head) {
				return 0, 0, 0, gone, 0
			}
			continue
		}
		h := int64(head & headMask)
		b = lo / c.width
		if h > b {
			return 0, 0, 0, late, h * c.width
		}
		if h < b {
			t.moveHead(slot, head, b)
			continue
		}
		w = load(t.ring(slot, b))
		memo = load(&t.mem[slot+memoWord])
		if memo&takenBit != 0 || !isBucket(memo, b) {
			next := bucketWord(b, t.closedSum(c, slot, b))
			// The sum is right only for this head; the memo of another is never overwritten by an older one, since the CAS
			// below starts from a memo read while the head was here.
			if load(&t.mem[slot+headWord]) == head {
				cas(&t.mem[slot+memoWord], memo, next)
			}
			continue
		}
		// Order matters: the head is read again after word and memo, so both belong to it.
		switch closed := isBucket(w, b) && w&closedBit != 0; {
		case load(&t.mem[slot+headWord]) != head:
		case closed:
			// Another check has seen a later bucket and is about to move the head there. Do not wait for it.
			cas(&t.mem[slot+headWord], head, head&epochMask|uint64(b+1))
		default:
			return b, w, memo, passes, 0
		}
	}
}

// heal puts right a slot whose recycler died after it had taken the head away.
func (t *Table) heal(slot int64, head uint64) bool {
	ap := &t.mem[slot+announcedWord]
	a := load(ap)
	if a&genMask == t.gen || !cas(ap, a, t.gen|(a+changeOne)&changeMask) {
		return false
	}
	return cas(&t.mem[slot+headWord], head, head&^takenBit)
}

// closedSum is what the nb buckets before b hold.
func (t *Table) closedSum(c cut, slot, b int64) (sum int64) {
	newest := b % numbers
	for i := range int64(ringSize) {
		w := load(&t.mem[slot+ringWord+i])
		if age := age(w, newest); age > 0 && age <= c.nb {
			sum += count(w)
		}
	}
	return min(sum, countMask)
}

// age is how many buckets before newest (a number modulo numbers) a ring word is, and -1 for a void one.
func age(w uint64, newest int64) int64 {
	n := int64(w >> countBits & numbers)
	if n == numbers {
		return -1
	}
	if n > newest {
		newest += numbers
	}
	return newest - n
}

// moveHead closes the head's bucket and moves the head to b. Any number of checks may do it at once.
func (t *Table) moveHead(slot int64, head uint64, b int64) {
	h := int64(head & headMask)
	for p := t.ring(slot, h); ; {
		w := load(p)
		if isBucket(w, h) && w&closedBit != 0 {
			break
		}
		next := bucketWord(h, 0) | closedBit
		if isBucket(w, h) {
			next = w | closedBit
		}
		// Order matters: w was read while the head was here, so it is no younger bucket that shares the place.
		if load(&t.mem[slot+headWord]) != head {
			return
		}
		cas(p, w, next)
	}
	if b-h > numbers/2 {
		void := t.voidWord()
		for i := range int64(ringSize + 1) {
			p := &t.mem[slot+memoWord+i]
			w := load(p)
			if load(&t.mem[slot+headWord]) != head {
				return
			}
			cas(p, w, void)
		}
	}
	cas(&t.mem[slot+headWord], head, head&epochMask|uint64(b))
}

// voidWord is a ring or memo word that stands for no bucket and was never written before.
func (t *Table) voidWord() uint64 {
	return closedBit | numbers<<countBits | atomic.AddUint64(&t.life.epoch, 1)&countMask
}

// announced is the amount that living checks have not decided yet.
func (t *Table) announced(w uint64) int64 {
	if w&genMask != t.gen {
		return 0
	}
	return count(w)
}

func (t *Table) announce(slot int64, tag uint64, amount int64) bool {
	p := &t.mem[slot+announcedWord]
	for {
		w := load(p)
		if w&takenBit != 0 && w&genMask == t.gen || load(&t.mem[slot]) != tag {
			return false
		}
		if cas(p, w, t.gen|(w+changeOne)&changeMask|uint64(t.announced(w)+amount)) {
			return true
		}
	}
}

// settle withdraws an announced amount. word is the index of the announcements.
func (t *Table) settle(word, amount int64) {
	p := &t.mem[word]
	for {
		w := load(p)
		if cas(p, w, t.gen|(w+changeOne)&changeMask|uint64(t.announced(w)-amount)) {
			return
		}
	}
}

// subtract takes an amount out of bucket b, if the ring still holds it. word is the index of its place in the ring.
func (t *Table) subtract(word, b, amount int64) {
	p := &t.mem[word]
	for {
		w := load(p)
		if !isBucket(w, b) {
			return
		}
		if cas(p, w, w-uint64(min(amount, count(w)))) {
			return
		}
	}
}

// judgeBuckets says whether a slot that may hold limit denies a cost, and if so when it could pass. own is what this check has announced itself.
// With wait it looks again until the claims of others are decided.
func (t *Table) judgeBuckets(r *tableRule, k Key, slot, limit, cost, lo, own int64, wait bool) (outcome, int64) {
	for look := 0; ; look++ {
		before := load(&t.mem[slot+announcedWord])
		b, w, memo, o, from := t.openBucket(r.cut, slot, tagOf(k, r.bank), lo)
		if o != passes {
			return o, from
		}
		now := int64(0)
		if isBucket(w, b) {
			now = count(w)
		}
		if count(memo)+now+cost <= limit {
			return passes, 0
		}
		// The memo may be too high: a refund lowers the true sum.
		sum := t.closedSum(r.cut, slot, b)
		if sum < count(memo) {
			cas(&t.mem[slot+memoWord], memo, bucketWord(b, sum))
			continue
		}
		if load(&t.mem[slot+announcedWord]) != before || load(t.ring(slot, b)) != w || t.closedSum(r.cut, slot, b) != sum {
			continue // not all of this was so at one moment
		}
		if sum+now-(t.announced(before)-own)+cost > limit || !wait || look >= patience {
			return denied, t.bucketsEnd(r, []int64{slot}, b, sum+now+cost-limit)
		}
		t.lookAgain.Add(1)
		runtime.Gosched()
	}
}

// bucketsEnd is when the oldest buckets that hold amount together leave the window. The slots are the stripes of one key.
func (t *Table) bucketsEnd(r *tableRule, slots []int64, b, amount int64) int64 {
	newest := b % numbers
	for i := max(0, b-r.nb); i < b; i++ {
		place := ringWord + i%ringSize
		for _, slot := range slots {
			if w := load(&t.mem[slot+place]); age(w, newest) == b-i {
				amount -= count(w)
			}
		}
		if amount <= 0 {
			return (i + r.nb + 1) * r.width
		}
	}
	return (b + r.nb + 1) * r.width
}

// claimBuckets adds cost to the bucket of the reading in a slot that may hold limit, or does nothing.
func (t *Table) claimBuckets(r *tableRule, k Key, slot, limit, cost int64, at reading, last bool, l *ledger) (outcome, int64) {
	tag := tagOf(k, r.bank)
	if !last && !t.announce(slot, tag, cost) {
		return gone, 0
	}
	refuse := func(o outcome, v int64) (outcome, int64) {
		if !last {
			t.settle(slot+announcedWord, cost)
		}
		return o, v
	}
	for {
		b, w, memo, o, from := t.openBucket(r.cut, slot, tag, at.lo)
		if o != passes {
			return refuse(o, from)
		}
		now := int64(0)
		if isBucket(w, b) {
			now = count(w)
		}
		if count(memo)+now+cost > limit {
			own := int64(0)
			if !last {
				own = cost
			}
			// Stripes are claimed in any order, so a check that waits here may hold what the other waits for.
			if o, v := t.judgeBuckets(r, k, slot, limit, cost, at.lo, own, r.stripes == 1); o != passes {
				return refuse(o, v)
			}
			continue
		}
		if cas(t.ring(slot, b), w, bucketWord(b, now+cost)) {
			if !last {
				l.add(entry{word: slot + ringWord + b%ringSize, old: uint64(b), now: uint64(slot + announcedWord), amount: cost})
			}
			return claimed, limit - count(memo) - now - cost
		}
	}
}

// heldInBuckets is what counts against a check at lo; after a refund perhaps a little more.
func (t *Table) heldInBuckets(c cut, slot, lo int64) int64 {
	b := max(lo/c.width, int64(load(&t.mem[slot+headWord])&headMask))
	memo := load(&t.mem[slot+memoWord])
	held := count(memo)
	if memo&takenBit != 0 || !isBucket(memo, b) {
		held = t.closedSum(c, slot, b)
	}
	if w := load(t.ring(slot, b)); isBucket(w, b) {
		held += count(w)
	}
	return held
}

// clearBuckets forgets all counts.
func (t *Table) clearBuckets(slot int64, tag uint64) {
	for i := range int64(ringSize) {
		p := &t.mem[slot+ringWord+i]
		for {
			w := load(p)
			if w>>countBits&numbers == numbers || load(&t.mem[slot]) != tag || cas(p, w, w&^countMask) {
				break
			}
		}
	}
	if memo := load(&t.mem[slot+memoWord]); load(&t.mem[slot]) == tag {
		cas(&t.mem[slot+memoWord], memo, t.voidWord())
	}
}

// bucketsSpent says that nothing a slot holds can count for a reading from lo on.
func (t *Table) bucketsSpent(slot int64, c cut, lo int64) bool {
	head := load(&t.mem[slot+headWord])
	a := load(&t.mem[slot+announcedWord])
	if head&takenBit != 0 && a&genMask == t.gen {
		return false // another recycler has it
	}
	return (int64(head&headMask)+c.nb+1)*c.width < lo && t.announced(a) == 0
}

// takeBuckets takes announcements and head away, and returns when the last that the slot holds left its window.
func (t *Table) takeBuckets(slot int64, tag uint64, c cut, lo int64) (latest int64, ok bool) {
	ap, hp := &t.mem[slot+announcedWord], &t.mem[slot+headWord]
	a := load(ap)
	// Order matters: spent is judged after a was read, so that the CAS fails if a check announced itself since; and the tag is
	// read after it, so that the CAS fails if another recycler was faster.
	if !t.bucketsSpent(slot, c, lo) || load(&t.mem[slot]) != tag || !cas(ap, a, takenBit|t.gen|(a+changeOne)&changeMask) {
		return 0, false
	}
	head := load(hp)
	latest = (int64(head&headMask) + c.nb + 1) * c.width
	if latest < lo && cas(hp, head, head|takenBit) {
		return latest, true
	}
	store(ap, t.gen|(a+2*changeOne)&changeMask)
	return 0, false
}

// initBuckets makes a reserved slot an empty ring whose head is bucket b. Checks that still look at the slot's last life find
// none of the words they read.
func (t *Table) initBuckets(slot, b int64) {
	void := t.voidWord()
	for i := range int64(ringSize + 1) {
		store(&t.mem[slot+memoWord+i], void)
	}
	store(&t.mem[slot+headWord], (void<<headBits)&epochMask|uint64(b))
	store(&t.mem[slot+announcedWord], t.gen|(load(&t.mem[slot+announcedWord])+changeOne)&changeMask)
}
