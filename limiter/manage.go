package limiter

import (
	"context"
	"errors"
	"runtime"
	"time"
)

var errFull = errors.New("limiter: no room to remember this key: every slot in its reach is in use; open a larger table")

// Refund implements [Store].
func (t *Table) Refund(_ context.Context, at time.Time, charges []Charge) error {
	rd := readingOf(at)
	if err := t.check(rd, charges); err != nil {
		return err
	}
	for i := range charges {
		c := &charges[i]
		r := c.Rule.table
		switch r.form {
		case permits:
			t.refundPermits(&r.place, c.Key, r.span, c.Cost, rd)
			if d := r.drain; d != nil && d.form == permits {
				t.refundPermits(&d.place, c.Key, d.span, c.Cost, rd)
			}
		case buckets:
			rest := c.Cost
			if r.few != nil {
				rest = t.refundFew(r, c.Key, rest, rd)
			}
			t.refundStripes(r, c.Key, rest, rd.lo)
		case delay:
			if slot := t.find(&r.place, c.Key); slot != 0 {
				t.refundDelay(r, c.Key, slot, rd)
			}
		}
	}
	return nil
}

// Peek implements [Store].
func (t *Table) Peek(_ context.Context, now time.Time, c Charge) (Usage, error) {
	at := readingOf(now)
	r, err := t.own(c.Rule, at)
	if err != nil {
		return Usage{}, err
	}
	c.Cost = max(1, c.Cost)
	if r.form == permits || r.form == buckets {
		if c.Cost > r.n {
			return Usage{}, &CostError{Rule: c.Rule.limit.Name, Cost: c.Cost, Limit: r.n}
		}
	}
	if r.form == buckets {
		held, end := t.peekFew(r, c.Key, c.Cost, at.lo)
		return Usage{Held: held, RetryAfter: time.Duration(max(0, end-at.lo)) * time.Microsecond}, nil
	}
	first := at.lo
	for look := 0; ; look++ {
		slot := t.find(&r.place, c.Key)
		var u Usage
		switch r.form {
		case permits:
			var open int64
			if u.Held, open = t.holding(&c, slot, at.lo); open > 0 && look < patience {
				t.lookAgain.Add(1)
				runtime.Gosched()
				continue
			}
		case delay:
			if slot != 0 {
				u.Held = t.delayState(r, load(&t.mem[slot+r.off]), at.lo).count
			}
		case marker:
			if slot != 0 {
				if w := load(&t.mem[slot+r.off]); until(w) > at.lo && w&(undecided|vacant) == 0 {
					end := until(w)
					u = Usage{Held: 1, RetryAfter: time.Duration(end-at.lo) * time.Microsecond}
				}
			}
		}
		switch o, v := t.look(&c, slot, at.lo); o {
		case gone:
			continue
		case late:
			at = exactly(v)
			continue
		case denied:
			u.RetryAfter = time.Duration(v-first) * time.Microsecond
		}
		if slot != 0 && load(&t.mem[slot]) != tagOf(c.Key, r.bank) {
			continue
		}
		return u, nil
	}
}

// Reset implements [Store].
func (t *Table) Reset(_ context.Context, now time.Time, rule *Rule, key Key) error {
	at := readingOf(now)
	r, err := t.own(rule, at)
	if err != nil {
		return err
	}
	for ; r != nil; r = r.drain {
		t.forget(r, key, at.lo)
	}
	return nil
}

func (t *Table) forget(r *tableRule, key Key, lo int64) {
	if r.form == buckets {
		t.clearStripes(r, key)
		if r.few != nil {
			t.release(&r.few.place, key, lo)
		}
	} else {
		t.release(&r.place, key, lo)
	}
}

// release frees held words as of the reading. A delay's count, in the stamp bits, is forgotten with it.
func (t *Table) release(p *place, k Key, lo int64) {
	slot := t.find(p, k)
	if slot == 0 {
		return
	}
	words := p.at(t, slot)
	for i := range words {
		for {
			w := load(&words[i])
			if w&undecided != 0 || load(&t.mem[slot]) != tagOf(k, p.bank) || cas(&words[i], w, vacant|uint64(min(until(w), lo))) {
				break
			}
		}
	}
}

// Mark implements [Store].
func (t *Table) Mark(_ context.Context, now, end time.Time, rule *Rule, key Key) error {
	at, to := readingOf(now), readingOf(end)
	r, err := t.own(rule, at)
	if err != nil {
		return err
	}
	if r.form != marker {
		return ErrForeignRule
	}
	if !to.valid() {
		return errReading
	}
	for {
		slot := t.find(&r.place, key)
		if slot == 0 {
			if slot, _ = t.insert(r, key, at.lo); slot == 0 {
				if r.failOpen {
					t.fullOpen.Add(1)
				} else {
					t.fullClosed.Add(1)
				}
				return errFull
			}
		}
		p := &t.mem[slot+r.off]
		w := load(p)
		switch {
		case load(&t.mem[slot]) != tagOf(key, r.bank):
		case w&undecided != 0 && w&genMask == t.gen:
			runtime.Gosched() // a recycler has it; soon the slot is another's or this key's again
		case w&undecided == 0 && until(w) >= to.lo, cas(p, w, uint64(to.lo)):
			return nil
		}
	}
}

func (t *Table) own(rule *Rule, at reading) (*tableRule, error) {
	switch {
	case t.closed.Load():
		return nil, ErrClosed
	case rule == nil || rule.table == nil || rule.table.owner != t:
		return nil, ErrForeignRule
	case !at.valid():
		return nil, errReading
	}
	return rule.table, nil
}
