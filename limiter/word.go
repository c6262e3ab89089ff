package limiter

import "time"

// A permit word is one unit of one rule of one key. It says until when the unit is held:
//
//	bit 63      undecided: a check claimed the unit and has not yet decided, or a recycler has taken the word away
//	bits 62-59  the generation (process life) that wrote an undecided word; of a decided one bit 62 says that nobody held it:
//	            it is free since then, but as of an older reading nothing is known of it
//	bits 58-52  stamp: changes with every write; for Kind Delay the number of charges remembered
//	bits 51-0   held until, in microseconds since 1970 (enough until the year 2112)
//
// A word whose held-until is not after the reading is free. A vacant word (bit 62) whose time is after the reading does not deny:
// the check is made at that time (outcome late), or the first check of a key would deny all that read their clock before it. A word that a dead process left undecided is free: its check was
// never answered.
//
// INVARIANT: a claim by reading r only replaces a word that is free at r, and writes r+W. Two decided holders of one word are
// therefore at least W apart, so N words never hold more than N decisions of any interval shorter than W, whatever the order
// in which readings arrive. A refund moves held-until back to the reading the unit was taken at, never further.
const (
	untilBits  = 52
	untilMask  = 1<<untilBits - 1
	stampOne   = 1 << untilBits
	stampMask  = 0x7f << untilBits
	genShift   = 59
	genCount   = 16
	genMask    = (genCount - 1) << genShift
	undecided  = 1 << 63
	vacant     = 1 << 62 // only without undecided
	maxCounted = 0x7f    // largest count of a Delay word
)

func until(w uint64) int64 { return int64(w & untilMask) }

// nextStamp returns w's stamp bits moved on by one.
func nextStamp(w uint64) uint64 { return (w + stampOne) & stampMask }

type standing uint8

const (
	free standing = iota
	held
	open // undecided by a living check or recycler
)

// standing judges a permit word by the reading lo.
func (t *Table) standing(w uint64, lo int64) standing {
	if w&undecided == 0 {
		if until(w) > lo {
			return held
		}
		return free
	}
	// An undecided word that lapsed is free: its owner slept for a whole window, and its reading is a window old.
	if w&genMask != t.gen || until(w) <= lo {
		return free
	}
	return open
}

// freed is the value that puts back a word that a claim by reading lo found in state old: free for every reading old was
// free for. An old undecided word (dead or lapsed) must not turn into a held one, so it is free from lo on.
func freed(old uint64, lo int64, stamp uint64) uint64 {
	if old&undecided != 0 {
		return stamp | uint64(min(until(old), lo))
	}
	return stamp | old&vacant | uint64(until(old))
}

// isVacant says that a word was never held until its time.
func isVacant(w uint64) bool { return w&(undecided|vacant) == vacant }

// reading is one clock reading in microseconds: lo is rounded down, to judge what is free, and hi rounded up, to say until
// when a permit is held. Rounding apart is the strict side: two decisions on one word are never less than W apart.
type reading struct{ lo, hi int64 }

func readingOf(now time.Time) reading {
	ns := now.UnixNano()
	lo := ns / 1000
	hi := lo
	if ns%1000 != 0 {
		hi++
	}
	return reading{lo, hi}
}

func exactly(us int64) reading { return reading{us, us} }

func (r reading) valid() bool { return r.lo > 0 && r.hi < untilMask-MaxWindow.Microseconds() }

// micros rounds a duration up, the strict side.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

// raise makes *p at least v.
func raise(p *uint64, v uint64) {
	for {
		old := load(p)
		if old >= v || cas(p, old, v) {
			return
		}
	}
}
