package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// MaxCharges is how many rules one Take can charge.
const MaxCharges = 64

var (
	errReading = errors.New("limiter: the reading is before 1970 or after 2111")
	errTwice   = errors.New("limiter: a Take charges one rule twice for one key: add the costs up")
)

// Take implements [Store]. It allocates nothing for up to 16 charges of up to 12 units together, in the order of Define. A
// denial is decided by rules that are full; where several are, the one that stays full longest is named.
func (t *Table) Take(_ context.Context, now time.Time, charges []Charge) (d Decision, err error) {
	at := readingOf(now)
	if err := t.check(at, charges); err != nil {
		return Decision{}, err
	}
	t.sawReading(at.lo)
	switch {
	case len(charges) == 1 && t.takeOne(now, at, &charges[0], &d):
	case slices.IsSortedFunc(charges, byRank):
		err = t.take(now, at, charges, &d)
	default:
		err = t.takeUnsorted(now, at, charges, &d)
	}
	return d, err
}

// byRank is the order in which all checks claim. Keys have a part in it: checks that claim two keys of one rule in different
// orders would wait for each other.
func byRank(a, b Charge) int {
	if d := a.Rule.table.rank - b.Rule.table.rank; d != 0 {
		return d
	}
	return cmp.Or(cmp.Compare(a.Key.Place, b.Key.Place), cmp.Compare(a.Key.Fingerprint, b.Key.Fingerprint))
}

func (t *Table) takeUnsorted(now time.Time, at reading, charges []Charge, d *Decision) error {
	sorted := slices.Clone(charges)
	slices.SortStableFunc(sorted, byRank)
	err := t.take(now, at, sorted, d)
	if d.Binding >= 0 {
		d.Binding = slices.Index(charges, sorted[d.Binding])
	}
	return err
}

func (t *Table) check(at reading, charges []Charge) error {
	if t.closed.Load() {
		return ErrClosed
	}
	if !at.valid() {
		return errReading
	}
	if len(charges) > MaxCharges {
		return fmt.Errorf("limiter: %d charges in one Take: at most %d", len(charges), MaxCharges)
	}
	for i := range charges {
		c := &charges[i]
		if c.Rule == nil || c.Rule.table == nil || c.Rule.table.owner != t || c.Rule.table.form == marker {
			return ErrForeignRule
		}
		if c.Rule.table.form != delay && (c.Cost < 1 || c.Cost > c.Rule.table.n) {
			return &CostError{Rule: c.Rule.limit.Name, Cost: c.Cost, Limit: c.Rule.table.n}
		}
	}
	return nil
}

// take goes through a check until it is decided. A decision is written where it goes: to copy one costs as much as to look at a rule.
func (t *Table) take(now time.Time, at reading, charges []Charge, d *Decision) error {
	for i := 1; i < len(charges); i++ {
		if charges[i].Rule == charges[i-1].Rule && charges[i].Key == charges[i-1].Key {
			d.Binding = -1
			return errTwice
		}
	}
	var inline [16]int64
	slots := inline[:]
	if len(charges) > len(inline) {
		slots = make([]int64, len(charges))
	}
	slots = slots[:len(charges)]
	var l ledger
	decided, first := now, at.lo
	for {
		*d = Decision{}
		o, from := t.try(at, charges, slots, &l, d)
		switch o {
		case claimed:
			t.keep(&l)
			d.At = decided
			return nil
		case denied:
			t.undo(&l, 0, at.lo)
			d.At = decided
			if c := &charges[0]; len(charges) == 1 && c.Rule.table.insists && !d.Full {
				end := t.insist(c.Rule.table, c.Key, at)
				d.RetryAfter = max(d.RetryAfter, time.Duration(end-at.lo)*time.Microsecond)
			}
			// The caller waits from its own reading, which a key that has seen a later one did not use.
			d.RetryAfter += time.Duration(at.lo-first) * time.Microsecond
			return nil
		case late:
			t.undo(&l, 0, at.lo)
			at, decided = exactly(from), time.UnixMicro(from)
		case gone, passes:
			// A slot changes hands, or what made a claim fail is no more: others make progress, if they are let.
			t.undo(&l, 0, at.lo)
			runtime.Gosched()
		}
	}
}

// try goes through a check once. gone and passes ask to try again, late to do so by the reading from.
func (t *Table) try(at reading, charges []Charge, slots []int64, l *ledger, d *Decision) (o outcome, from int64) {
	t.touch(charges)
	for i := range charges {
		c := &charges[i]
		r := c.Rule.table.home()
		switch {
		case r.form == buckets:
			slots[i] = findsItsOwn
		case i > 0 && charges[i-1].Rule.table.home().bank == r.bank && charges[i-1].Key == c.Key:
			slots[i] = slots[i-1]
		default:
			slots[i] = t.find(&r.place, c.Key)
		}
	}
	// A full rule is seen before anything is claimed: a denial leaves no trace and takes no room.
	if o, from = t.judge(at, charges, slots, d); o != passes {
		return o, from
	}
	d.Allowed, d.Binding = true, -1
	for i := range charges {
		c := &charges[i]
		r := c.Rule.table
		if slots[i] == 0 {
			slot, from := t.insert(r.home(), c.Key, at.lo)
			if slot != 0 && from > at.lo {
				return late, from
			}
			if slot == 0 && r.form == buckets {
				slot = findsItsOwn // it can do without few permits
			}
			for j := i; j < len(charges); j++ {
				if h := charges[j].Rule.table.home(); h.bank == r.home().bank && charges[j].Key == c.Key && (slot != findsItsOwn || h != charges[j].Rule.table) {
					slots[j] = slot
				}
			}
		}
		o, remaining, from := noRoom, int64(0), int64(0)
		if slots[i] != 0 {
			remaining, o, from = t.claim(r, c, slots[i], at, i == len(charges)-1, l)
		}
		switch {
		case o == noRoom && r.failOpen:
			t.fullOpen.Add(1)
			d.Skipped++
		case o == noRoom:
			t.fullClosed.Add(1)
			*d = Decision{Full: true, Binding: i, RetryAfter: fullRetry}
			return denied, 0
		case o == denied:
			// Say it by what is held, not by what was in the way for a moment.
			t.undo(l, 0, at.lo)
			*d = Decision{}
			return t.judge(at, charges, slots, d)
		case o != claimed:
			return o, from
		case r.form == delay || d.Binding >= 0 && remaining*r.stripes >= d.Remaining:
		case r.stripes == 1:
			d.Binding, d.Remaining = i, remaining
		default:
			// One stripe tells too little.
			held, _ := t.holding(c, slots[i], at.lo)
			if n := max(0, r.n-held); d.Binding < 0 || n < d.Remaining {
				d.Binding, d.Remaining = i, n
			}
		}
	}
	return claimed, 0
}

// findsItsOwn stands in the list of slots for a rule of buckets, which may have several, where it has no few permits.
const findsItsOwn = -1

// fullRetry is told to a key for which there was no room: room comes when any key in reach expires, which is not looked for.
const fullRetry = time.Second

// touch reads the home of every charge, so that the cache misses of a check overlap.
func (t *Table) touch(charges []Charge) {
	if len(charges) < 2 {
		return
	}
	var sum uint64
	for i := range charges {
		r := charges[i].Rule.table.home()
		sum += load(&t.mem[t.home(&r.place, charges[i].Key)])
	}
	_ = sum
}

func (t *Table) claim(r *tableRule, c *Charge, slot int64, at reading, last bool, l *ledger) (remaining int64, o outcome, from int64) {
	var v int64
	switch r.form {
	case permits:
		o, v = t.claimPermits(r, c.Key, slot, c.Cost, at, last, l)
	case buckets:
		o, v = t.claimFew(c, slot, at, last, l)
	case delay:
		o, v = t.claimDelay(r, c.Key, slot, at, last, l)
	}
	return v, o, v
}

// judge looks at every rule and denies if one is full, naming the one that stays so longest.
func (t *Table) judge(at reading, charges []Charge, slots []int64, d *Decision) (o outcome, from int64) {
	worst := int64(0)
	for i := range charges {
		c := &charges[i]
		o, v := t.look(c, slots[i], at.lo)
		switch o {
		case gone, late:
			return o, v
		case denied:
			if v > worst {
				worst = v
				d.Binding = i
			}
		}
	}
	if worst == 0 {
		return passes, 0
	}
	d.RetryAfter = retryAfter(worst, at.lo)
	if c := &charges[d.Binding]; c.Cost > 1 {
		held, _ := t.holding(c, slots[d.Binding], at.lo)
		d.Remaining = max(0, c.Rule.table.n-held)
	}
	return denied, 0
}

func retryAfter(end, lo int64) time.Duration { return time.Duration(max(end-lo, 1)) * time.Microsecond }

// look says whether a charge would be denied now, and if so when it could pass.
func (t *Table) look(c *Charge, slot, lo int64) (outcome, int64) {
	r := c.Rule.table
	switch {
	case r.form == permits && (slot != 0 || r.drain != nil):
		return t.judgePermits(r, c.Key, slot, c.Cost, lo)
	case r.form == buckets:
		return t.judgeFew(r, c.Key, slot, c.Cost, lo)
	case r.form == delay && slot != 0:
		return t.judgeDelay(r, c.Key, slot, lo)
	}
	return passes, 0
}

// holding is how much of a windowed rule a key holds, and how much of that is not decided.
func (t *Table) holding(c *Charge, slot, lo int64) (n, open int64) {
	r := c.Rule.table
	words, n, _ := t.drained(r, c.Key, lo)
	if r.form == buckets {
		held, _ := t.heldInStripes(r, c.Key, lo)
		n += held
	}
	for range 2 {
		m := t.tallyWords(words, lo)
		n += m.held - m.vacant + m.open
		open += m.open
		words = nil
		if h := r.home(); h.form == permits && slot > 0 {
			words = h.at(t, slot)
			slot = 0
		}
	}
	return n, open
}
