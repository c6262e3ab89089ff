package limiter

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Each race that the comments of Table and bucket.go name is played here by hand: one side is stopped where it hurts, the other
// goes on. Every test fails when the remedy it is named after is taken out.

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

var ctx = context.Background()

func open1(t testing.TB, o Options, limits ...Limit) (*Table, []*Rule) {
	t.Helper()
	tab, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab, define(t, tab, limits...)
}

func define(t testing.TB, tab *Table, limits ...Limit) []*Rule {
	t.Helper()
	rules, err := tab.Define(ctx, limits)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func take(t testing.TB, tab *Table, now time.Time, charges ...Charge) Decision {
	t.Helper()
	d, err := tab.Take(ctx, now, charges)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustTake(t testing.TB, tab *Table, now time.Time, charges ...Charge) {
	t.Helper()
	if d := take(t, tab, now, charges...); !d.Allowed {
		t.Fatalf("denied: %+v", d)
	}
}

func mustDeny(t testing.TB, tab *Table, now time.Time, charges ...Charge) {
	t.Helper()
	if d := take(t, tab, now, charges...); d.Allowed {
		t.Fatalf("allowed: %+v", d)
	}
}

// seat is a key's slot under a rule.
func seat(t testing.TB, tab *Table, r *Rule, k Key) int64 {
	t.Helper()
	slot := tab.find(&r.table.place, k)
	if slot == 0 {
		t.Fatal("the key has no slot")
	}
	return slot
}

// reseat gives the slot of a key to another one, by the reading lo: it fills the reach until it is that slot's turn.
func reseat(t testing.TB, tab *Table, slot int64, r *Rule, k Key, lo int64) bool {
	t.Helper()
	if !tab.vacate(slot, lo) {
		return false
	}
	from := max(lo, int64(load(&tab.life.floor)))
	if r.table.form == buckets {
		tab.initBuckets(slot, from/r.table.width)
	} else {
		for j := slot + 1; j < slot+classWords[r.table.class]; j++ {
			store(&tab.mem[j], vacant|uint64(from))
		}
	}
	store(&tab.mem[slot], tagOf(k, r.table.bank))
	return true
}

func contents(tab *Table, slot int64, r *Rule) []uint64 {
	return slices.Clone(tab.mem[slot : slot+classWords[r.table.class]])
}

func lo(now time.Time) int64 { return readingOf(now).lo }

var (
	oneIn  = Limit{Name: "one", Group: "g", N: 1, Window: time.Second}
	fiveIn = Limit{Name: "five", Group: "g", N: 5, Window: time.Second}
	many   = Limit{Name: "many", Group: "g", N: 1000, Window: time.Second, Stripes: 1}
	small  = Options{Size: 1 << 20}
)

// nextLife makes the table think that the process died and came back.
func nextLife(tab *Table) { tab.gen = (tab.gen + 1<<genShift) & genMask }

func TestRace_slotRecycledBetweenFindAndClaim(t *testing.T) {
	few := Limit{Name: "few", Group: "g", N: 1000, Window: time.Second}
	for _, limits := range [][]Limit{{fiveIn}, {many}, {few}, {{Name: "d", Group: "g", Kind: Delay, Backoff: Backoff{Base: time.Second, Factor: 1, Max: time.Second, ForgetAfter: time.Second}}}} {
		tab, r := open1(t, small, limits...)
		k, other := tab.Key([]byte("k")), tab.Key([]byte("other"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		rule := r[0].table
		r[0] = &Rule{table: rule.home()}
		slot := seat(t, tab, r[0], k)
		later := t0.Add(time.Minute)
		if !reseat(t, tab, slot, r[0], other, lo(later)) {
			t.Fatal("an expired slot was not given away")
		}
		before := contents(tab, slot, r[0])
		var l ledger
		for _, last := range []bool{true, false} {
			var o outcome
			switch at := readingOf(later.Add(time.Second)); {
			case rule.few != nil:
				o, _ = tab.claimFew(&Charge{&Rule{table: rule}, k, 1}, slot, at, last, &l)
			case rule.form == permits:
				o, _ = tab.claimPermits(rule, k, slot, 1, at, last, &l)
				if o1, _, _ := tab.takePermit(rule, k, slot, at); o1 != gone {
					o = o1
				}
			case rule.form == buckets:
				o, _ = tab.claimBuckets(rule, k, slot, 1000, 1, at, last, &l)
			default:
				o, _ = tab.claimDelay(rule, k, slot, at, last, &l)
			}
			if o != gone {
				t.Errorf("%s: claim in another key's slot: outcome %d, want gone", limits[0].Name, o)
			}
		}
		if !slices.Equal(contents(tab, slot, r[0]), before) {
			t.Errorf("%s: another key's words were changed", limits[0].Name)
		}
	}
}

// One word is free all the time, but never the same for long: a look that comes to each word when it is held has seen no moment
// at which all were.
func TestRace_freeWordMovesWhileLookedAt(t *testing.T) {
	tab, r := open1(t, small, Limit{Name: "x", Group: "g", N: 15, Window: time.Second})
	rule, k := r[0].table, tab.Key([]byte("k"))
	mustTake(t, tab, t0, Charge{r[0], k, 1})
	at := readingOf(t0.Add(time.Minute))
	slot := seat(t, tab, r[0], k)
	words := rule.at(tab, slot)
	var steps atomic.Int64
	ctx, stop := context.WithCancel(ctx)
	var mover sync.WaitGroup
	mover.Go(func() {
		for i := len(words); ctx.Err() == nil; i-- {
			n := steps.Load()
			store(&words[(i+len(words)-1)%len(words)], uint64(at.lo))
			store(&words[i%len(words)], uint64(at.hi+1_000_000+n))
			steps.Add(1)
			if i == 1 {
				i += len(words)
			}
		}
	})
	defer mover.Wait()
	defer stop()
	for steps.Load() < 2*int64(len(words)) {
		runtime.Gosched()
	}
	for range 20_000 {
		if o, _, _ := tab.takePermit(rule, k, slot, at); o == denied {
			t.Fatal("takePermit denies while a word is free")
		} else if o == claimed {
			for n := steps.Load(); steps.Load() < n+2; {
				runtime.Gosched() // it took the free one: wait for the next
			}
		}
		if o, _ := tab.judgePermits(rule, k, slot, 1, at.lo); o == denied {
			t.Fatal("judgePermits denies while a word is free")
		}
	}
}

// A check that read a word and the tag before the slot was recycled does its CAS after: no word may be what it was.
func TestRace_wordReadBeforeRecycling_casFails(t *testing.T) {
	for _, limit := range []Limit{fiveIn, many} {
		tab, r := open1(t, small, limit)
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		slot := seat(t, tab, r[0], k)
		seen := map[[2]uint64]bool{}
		for range 50 {
			end := int64(0) // the reading at which the slot's words are free
			for j, w := range contents(tab, slot, r[0])[1:] {
				if seen[[2]uint64{uint64(j), w}] && (limit.N <= MaxExact || j+1 == headWord) {
					t.Fatalf("%s: word %d is %#x again", limit.Name, j+1, w)
				}
				seen[[2]uint64{uint64(j), w}] = true
				end = max(end, until(w))
			}
			if c := r[0].table.cut; c.width > 0 {
				end = (int64(tab.mem[slot+headWord]&headMask) + c.nb + 1) * c.width
			}
			if reseat(t, tab, slot, r[0], k, end) {
				t.Fatalf("%s: recycled when its words are free, and not yet older than the reading", limit.Name)
			}
			if !reseat(t, tab, slot, r[0], k, end+1) {
				t.Fatalf("%s: not recycled when its words are older than the reading", limit.Name)
			}
		}
	}
}

func TestRace_recyclerMeetsHeldWord_putsAllBack(t *testing.T) {
	tab, r := open1(t, small, fiveIn)
	k := tab.Key([]byte("k"))
	for i := range 5 {
		mustTake(t, tab, t0.Add(time.Duration(i)*time.Millisecond), Charge{r[0], k, 1})
	}
	slot := seat(t, tab, r[0], k)
	tag, before := tab.mem[slot], contents(tab, slot, r[0])
	b := &(*tab.banks.Load())[r[0].table.bank]
	// It was judged free, then the last word was taken.
	if _, ok := tab.takeWords(slot, tag, b, lo(t0.Add(time.Second+3*time.Millisecond+1))); ok {
		t.Fatal("a slot with a held word was taken away")
	}
	if !slices.Equal(contents(tab, slot, r[0]), before) {
		t.Error("the words are not what they were")
	}
	mustDeny(t, tab, t0.Add(5*time.Millisecond), Charge{r[0], k, 1})
}

func TestRace_recyclerIsOvertakenByAnother(t *testing.T) {
	// The slow one judged permits; meanwhile the slot was given to a rule of buckets, and the other way round.
	wideSlots := Options{Size: 1 << 20, Shares: [3]int{0, 0, 1}}
	twenty := Limit{Name: "twenty", Group: "g", N: 20, Window: time.Second}
	tab, r := open1(t, wideSlots, twenty, many)
	banks := *tab.banks.Load()
	k, other := tab.Key([]byte("k")), tab.Key([]byte("other"))
	now := t0.Add(time.Minute)

	mustTake(t, tab, t0, Charge{r[0], k, 1})
	slot := seat(t, tab, r[0], k)
	tag := tab.mem[slot]
	reseat(t, tab, slot, r[1], other, lo(now))
	before := contents(tab, slot, r[0])
	if _, ok := tab.takeWords(slot, tag, &banks[r[0].table.bank], lo(now.Add(time.Hour))); ok || !slices.Equal(contents(tab, slot, r[0]), before) {
		t.Error("buckets were taken for permits")
	}

	// An announcement that is withdrawn while the slow one puts back what it took would be announced for ever.
	mustTake(t, tab, t0, Charge{r[1], k, 1})
	slot = seat(t, tab, r[1], k)
	tag = tab.mem[slot]
	reseat(t, tab, slot, r[0], other, lo(now))
	before = contents(tab, slot, r[0])
	if _, ok := tab.takeBuckets(slot, tag, banks[r[1].table.bank].past, lo(now.Add(time.Hour))); ok || !slices.Equal(contents(tab, slot, r[0]), before) {
		t.Error("permits were taken for buckets")
	}
}

// What a check of buckets does in a slot that now has permits: it must not read a reading, an amount or a head from them.
func TestRace_bucketsBecamePermits(t *testing.T) {
	tab, r := open1(t, Options{Size: 1 << 20, Shares: [3]int{0, 0, 1}}, Limit{Name: "twenty", Group: "g", N: 20, Window: time.Second}, many)
	k, other := tab.Key([]byte("k")), tab.Key([]byte("other"))
	mustTake(t, tab, t0, Charge{r[1], k, 1})
	slot, now := seat(t, tab, r[1], k), t0.Add(time.Minute)
	reseat(t, tab, slot, r[0], other, lo(now))
	before := contents(tab, slot, r[0])
	tag := tagOf(k, r[1].table.bank)
	if _, _, _, o, from := tab.openBucket(r[1].table.cut, slot, tag, lo(now)); o != gone {
		t.Errorf("openBucket: outcome %d from %d, want gone", o, from)
	}
	if tab.announce(slot, tag, 5) {
		t.Error("an amount was announced in a permit")
	}
	tab.clearBuckets(slot, tag)
	tab.refundStripes(r[1].table, k, 1, lo(t0))
	if !slices.Equal(contents(tab, slot, r[0]), before) {
		t.Error("permits were changed")
	}
}

func TestRace_forgottenKeyReturnsByOlderReading(t *testing.T) {
	for _, limit := range []Limit{oneIn, many} {
		tab, r := open1(t, small, limit)
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, limit.N})
		ends := t0.Add(take(t, tab, t0, Charge{r[0], k, 1}).RetryAfter)
		slot := seat(t, tab, r[0], k)
		if !reseat(t, tab, slot, r[0], tab.Key([]byte("other")), lo(ends)+1) {
			t.Fatal("not recycled")
		}
		if d := take(t, tab, t0.Add(time.Millisecond), Charge{r[0], k, 1}); d.Allowed && d.At.Before(t0.Add(limit.Window)) {
			t.Errorf("%s: decided at t0+%v, inside the forgotten window", limit.Name, d.At.Sub(t0))
		}
	}
}

// The claim of a check that sleeps for a window lapses; the check may be answered all the same.
func TestRace_lapsedClaim(t *testing.T) {
	asleep := func(t *testing.T) (*Table, *Rule, Key, int64, *ledger) {
		tab, r := open1(t, small, oneIn)
		k := tab.Key([]byte("k"))
		slot, _ := tab.insert(r[0].table, k, lo(t0))
		l := &ledger{}
		if o, _ := tab.claimPermits(r[0].table, k, slot, 1, readingOf(t0), false, l); o != claimed {
			t.Fatal("no claim")
		}
		return tab, r[0], k, slot, l
	}
	late := t0.Add(time.Second)
	t.Run("does not keep others waiting", func(t *testing.T) {
		tab, r, k, _, l := asleep(t)
		mustTake(t, tab, late, Charge{r, k, 1})
		if n := tab.Stats().LookAgain; n != 0 {
			t.Errorf("looked again %d times", n)
		}
		tab.keep(l)
		mustDeny(t, tab, late, Charge{r, k, 1})
		mustDeny(t, tab, late.Add(time.Second-time.Microsecond), Charge{r, k, 1})
	})
	t.Run("holds again when its successor takes back", func(t *testing.T) {
		tab, r, k, slot, l := asleep(t)
		next := &ledger{}
		if o, _ := tab.claimPermits(r.table, k, slot, 1, readingOf(late), false, next); o != claimed {
			t.Fatal("no claim")
		}
		tab.undo(next, 0, lo(late))
		tab.keep(l)
		mustDeny(t, tab, late.Add(-time.Microsecond), Charge{r, k, 1})
		mustTake(t, tab, late, Charge{r, k, 1})
	})
	t.Run("raises the floor when it is recycled", func(t *testing.T) {
		tab, r, k, slot, l := asleep(t)
		if !reseat(t, tab, slot, r, tab.Key([]byte("other")), lo(late)+1) {
			t.Fatal("not recycled")
		}
		tab.keep(l) // it is answered: allowed at t0
		if d := take(t, tab, t0.Add(time.Millisecond), Charge{r, k, 1}); d.Allowed && d.At.Before(late) {
			t.Errorf("a second one was allowed at t0+%v", d.At.Sub(t0))
		}
	})
}

func TestRace_undecidedClaimIsWaitedFor(t *testing.T) {
	for _, limit := range []Limit{oneIn, many, {Name: "d", Group: "g", Kind: Delay, Backoff: Backoff{Free: 1, Base: time.Second, Factor: 1, Max: time.Second, ForgetAfter: time.Hour}}} {
		for i := 0; i < 2; i++ {
			kept := i == 0
			tab, r := open1(t, small, limit)
			k := tab.Key([]byte("k"))
			tr, at := r[0].table, readingOf(t0)
			slot, _ := tab.insert(tr, k, at.lo)
			var l ledger
			switch tr.form {
			case permits:
				tab.claimPermits(tr, k, slot, 1, at, false, &l)
			case buckets:
				tab.claimBuckets(tr, k, slot, limit.N, limit.N, at, false, &l)
			case delay:
				tab.claimDelay(tr, k, slot, at, false, &l)
			}
			answer := make(chan Decision)
			go func() { answer <- take(t, tab, t0, Charge{r[0], k, 1}) }()
			for tab.Stats().LookAgain == 0 {
				select {
				case d := <-answer:
					t.Fatalf("%s: answered %+v before the other had decided", limit.Name, d)
				default:
					runtime.Gosched()
				}
			}
			if kept {
				tab.keep(&l)
			} else {
				tab.undo(&l, 0, at.lo)
			}
			d := <-answer
			if tab.Stats().LookAgain >= patience {
				i-- // this goroutine was stopped for so long that the other could wait no more
				continue
			}
			if tr.form == delay {
				// Both are free or the second is delayed; what counts is how many are remembered.
				want := int64(1)
				if kept {
					want = 2
				}
				if u, _ := tab.Peek(ctx, t0, Charge{r[0], k, 0}); !d.Allowed || u.Held != want {
					t.Errorf("delay, kept %v: %+v, %d charges remembered, want %d", kept, d, u.Held, want)
				}
			} else if d.Allowed == kept {
				t.Errorf("%s: kept %v and allowed %v", limit.Name, kept, d.Allowed)
			}
		}
	}
}

func TestRace_twoChecksHavePartOfWhatTheyNeed(t *testing.T) {
	tab, r := open1(t, small, Limit{Name: "three", Group: "g", N: 3, Window: time.Second})
	k := tab.Key([]byte("k"))
	slot, _ := tab.insert(r[0].table, k, lo(t0))
	var first ledger
	tab.claimPermits(r[0].table, k, slot, 2, readingOf(t0), false, &first)
	// The second needs two and finds one: it must not sit on it while it waits.
	answer := make(chan outcome)
	var second ledger
	go func() {
		o, _ := tab.claimPermits(r[0].table, k, slot, 2, readingOf(t0), false, &second)
		answer <- o
	}()
	for tab.Stats().LookAgain == 0 {
		runtime.Gosched()
	}
	words := r[0].table.at(tab, slot)
	for tries := 0; tab.standing(load(&words[2]), lo(t0)) != free; tries++ {
		if tries > patience/10 {
			t.Error("the check that waits keeps a word that another may wait for")
			break
		}
		runtime.Gosched()
	}
	tab.undo(&first, 0, lo(t0))
	if o := <-answer; o != claimed {
		t.Errorf("outcome %d after the first let go, want claimed", o)
	}
}

func TestRace_checksClaimTwoKeysInOneOrder(t *testing.T) {
	tab, r := open1(t, small, oneIn)
	a, b := tab.Key([]byte("a")), tab.Key([]byte("b"))
	one := []Charge{{r[0], a, 1}, {r[0], b, 1}}
	two := []Charge{{r[0], b, 1}, {r[0], a, 1}}
	slices.SortFunc(one, byRank)
	slices.SortFunc(two, byRank)
	if !slices.Equal(one, two) {
		t.Error("two checks of the same keys claim in different orders: each may hold what the other waits for")
	}
}

func TestRace_processDiedUndecided(t *testing.T) {
	t.Run("permits", func(t *testing.T) {
		tab, r := open1(t, small, oneIn)
		k := tab.Key([]byte("k"))
		slot, _ := tab.insert(r[0].table, k, lo(t0))
		var l ledger
		tab.claimPermits(r[0].table, k, slot, 1, readingOf(t0), false, &l)
		nextLife(tab)
		mustTake(t, tab, t0.Add(time.Millisecond), Charge{r[0], k, 1})
		if n := tab.Stats().LookAgain; n != 0 {
			t.Errorf("waited for the dead: looked again %d times", n)
		}
		mustDeny(t, tab, t0.Add(time.Millisecond), Charge{r[0], k, 1})
	})
	t.Run("permits taken away", func(t *testing.T) {
		tab, r := open1(t, small, oneIn)
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		slot := seat(t, tab, r[0], k)
		b := &(*tab.banks.Load())[r[0].table.bank]
		if _, ok := tab.takeWords(slot, tab.mem[slot], b, lo(t0.Add(2*time.Second))); !ok {
			t.Fatal("not taken away")
		}
		nextLife(tab)
		var l ledger
		now := t0.Add(3 * time.Second)
		if o, _ := tab.claimPermits(r[0].table, k, slot, 1, readingOf(now), false, &l); o != claimed {
			t.Fatal("no claim")
		}
		tab.undo(&l, 0, lo(now))
		mustTake(t, tab, now, Charge{r[0], k, 1}) // what was put back must not be held for ever
	})
	t.Run("delay", func(t *testing.T) {
		tab, r := open1(t, small, Limit{Name: "d", Group: "g", Kind: Delay, Backoff: Backoff{Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour}})
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 0})
		slot, now := seat(t, tab, r[0], k), t0.Add(time.Minute)
		var l ledger
		tab.claimDelay(r[0].table, k, slot, readingOf(now), false, &l)
		nextLife(tab)
		if u, _ := tab.Peek(ctx, now, Charge{r[0], k, 0}); u.Held != 1 {
			t.Errorf("%d charges remembered, want 1", u.Held)
		}
		mustTake(t, tab, now, Charge{r[0], k, 0})
		if d := take(t, tab, now, Charge{r[0], k, 0}); d.RetryAfter != 2*time.Minute {
			t.Errorf("wait %v, want 2m", d.RetryAfter)
		}
	})
	t.Run("reserved slot", func(t *testing.T) {
		tab, r := open1(t, small, oneIn)
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		slot := seat(t, tab, r[0], k)
		if !tab.vacate(slot, lo(t0.Add(2*time.Second))) {
			t.Fatal("not vacated")
		}
		if tab.spent(slot, tab.mem[slot], lo(t0.Add(time.Hour))) {
			t.Error("a slot that a living process is filling was given away")
		}
		nextLife(tab)
		now := t0.Add(3 * time.Second)
		mustTake(t, tab, now, Charge{r[0], k, 1})
		if seat(t, tab, r[0], k) != slot {
			t.Error("the reserved slot is lost")
		}
	})
	t.Run("announced", func(t *testing.T) {
		tab, r := open1(t, small, many)
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		slot := seat(t, tab, r[0], k)
		var l ledger
		tab.claimBuckets(r[0].table, k, slot, 1000, 999, readingOf(t0), false, &l)
		if tab.spent(slot, tab.mem[slot], lo(t0.Add(time.Hour))) {
			t.Error("a slot with an undecided amount would be recycled")
		}
		nextLife(tab)
		// The amount stays, the strict side, and nobody waits for it.
		mustDeny(t, tab, t0, Charge{r[0], k, 1})
		if n := tab.Stats().LookAgain; n != 0 {
			t.Errorf("waited for the dead: looked again %d times", n)
		}
		if !tab.spent(slot, tab.mem[slot], lo(t0.Add(time.Hour))) {
			t.Error("the slot is lost")
		}
	})
	t.Run("head taken away", func(t *testing.T) {
		tab, r := open1(t, small, many)
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		slot, now := seat(t, tab, r[0], k), t0.Add(time.Hour)
		if _, ok := tab.takeBuckets(slot, tab.mem[slot], r[0].table.cut, lo(now)); !ok {
			t.Fatal("not taken away")
		}
		if tab.announce(slot, tab.mem[slot], 1) {
			t.Error("an amount was announced in a slot that is being recycled")
		}
		nextLife(tab)
		done := make(chan Decision, 1)
		go func() { done <- take(t, tab, now, Charge{r[0], k, 1000}) }()
		select {
		case d := <-done:
			if !d.Allowed {
				t.Errorf("denied: %+v", d)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("waits for the dead")
		}
		mustDeny(t, tab, now, Charge{r[0], k, 1})
	})
}

func TestRace_addToBucketThatIsClosed(t *testing.T) {
	tab, r := open1(t, small, many)
	k, c := tab.Key([]byte("k")), r[0].table.cut
	for _, filled := range []bool{true, false} {
		now := t0
		if filled {
			mustTake(t, tab, now, Charge{r[0], k, 1})
		} else {
			now = t0.Add(10 * time.Second)
			mustTake(t, tab, now.Add(-time.Duration(c.width)*time.Microsecond), Charge{r[0], k, 1})
		}
		slot := seat(t, tab, r[0], k)
		// One check has read bucket, memo and head, and sees room; another goes on to the next bucket.
		b, w, _, o, _ := tab.openBucket(c, slot, tab.mem[slot], lo(now))
		if o != passes {
			t.Fatal("the bucket is not open")
		}
		tab.openBucket(c, slot, tab.mem[slot], lo(now)+c.width)
		if cas(tab.ring(slot, b), w, bucketWord(b, count(w)+999)) {
			t.Errorf("filled %v: added to a bucket whose sum is in the memo already", filled)
		}
	}
}

func TestRace_closedBucketWhoseHeadDidNotMove(t *testing.T) {
	tab, r := open1(t, small, many)
	k := tab.Key([]byte("k"))
	mustTake(t, tab, t0, Charge{r[0], k, 400})
	slot := seat(t, tab, r[0], k)
	b := lo(t0) / r[0].table.width
	p := tab.ring(slot, b)
	store(p, load(p)|closedBit) // whoever closed it was stopped, or died, before it moved the head
	done := make(chan Decision, 1)
	go func() { done <- take(t, tab, t0, Charge{r[0], k, 600}) }()
	select {
	case d := <-done:
		if !d.Allowed || d.At.Before(t0) {
			t.Errorf("%+v", d)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("waits for whoever closed the bucket")
	}
	mustDeny(t, tab, t0, Charge{r[0], k, 1})
}

func TestRace_memoAfterRefund(t *testing.T) {
	tab, r := open1(t, small, many)
	k := tab.Key([]byte("k"))
	mustTake(t, tab, t0, Charge{r[0], k, 1000})
	next := t0.Add(100 * time.Millisecond)
	mustDeny(t, tab, next, Charge{r[0], k, 1}) // the memo holds 1000
	if err := tab.Refund(ctx, t0, []Charge{{r[0], k, 300}}); err != nil {
		t.Fatal(err)
	}
	mustDeny(t, tab, next, Charge{r[0], k, 301})
	mustTake(t, tab, next, Charge{r[0], k, 300})
	mustDeny(t, tab, next, Charge{r[0], k, 1})
}

// Bucket numbers come round after 2^20-1: a jump that far must not make old counts young.
func TestRace_bucketNumbersComeRound(t *testing.T) {
	fast := Limit{Name: "fast", Group: "g", N: 1000, Window: time.Millisecond, Stripes: 1}
	tab, r := open1(t, small, fast)
	for i := range int64(57) {
		k := tab.Key([]byte{byte(i)})
		mustTake(t, tab, t0, Charge{r[0], k, 1000})
		jump := time.Duration((numbers+i)*r[0].table.width) * time.Microsecond
		if u, _ := tab.Peek(ctx, t0.Add(jump), Charge{r[0], k, 1}); u.Held != 0 || u.RetryAfter != 0 {
			t.Fatalf("%d buckets later: peek %+v", numbers+i, u)
		}
		mustTake(t, tab, t0.Add(jump), Charge{r[0], k, 1000})
	}
}

func TestRace_refundMeetsUndecidedAmount(t *testing.T) {
	tab, r := open1(t, Options{Size: 4 << 20}, Limit{Name: "striped", Group: "g", N: 90, Window: time.Minute, Stripes: 3})
	k := tab.Key([]byte("k"))
	tr := r[0].table
	mustTake(t, tab, t0, Charge{r[0], k, 90})
	mustDeny(t, tab, t0, Charge{r[0], k, 1})
	// A check takes back and claims anew in the first stripe; then 60 of the 90 come back.
	sk, slot := tab.findStripe(tr, k, 0)
	tab.subtract(slot+ringWord+lo(t0)/tr.width%ringSize, lo(t0)/tr.width, 30)
	var l ledger
	if o, _ := tab.claimBuckets(tr, sk, slot, 30, 30, readingOf(t0), false, &l); o != claimed {
		t.Fatal("no claim")
	}
	if err := tab.Refund(ctx, t0, []Charge{{r[0], k, 60}}); err != nil {
		t.Fatal(err)
	}
	tab.undo(&l, 0, lo(t0))
	if u, _ := tab.Peek(ctx, t0, Charge{r[0], k, 1}); u.Held != 0 {
		t.Errorf("%d units are held by nobody", u.Held)
	}
}

// The first check of a key writes words that are free from its reading on. Others of the same moment read their clock before.
func TestRace_freshKeyAndOlderReading(t *testing.T) {
	for _, limit := range []Limit{fiveIn, many, {Name: "d", Group: "g", Kind: Delay, Backoff: Backoff{Free: 2, Base: time.Second, Factor: 1, Max: time.Second, ForgetAfter: time.Hour}}} {
		tab, r := open1(t, small, limit, Limit{Name: "mark", Group: "g", Kind: Marker})
		k := tab.Key([]byte("k"))
		mustTake(t, tab, t0, Charge{r[0], k, 1})
		early := t0.Add(-20 * time.Millisecond)
		if d := take(t, tab, early, Charge{r[0], k, 1}); !d.Allowed {
			t.Errorf("%s: a check with an older reading was denied: %+v", limit.Name, d)
		}
		if u, _ := tab.Peek(ctx, early, Charge{r[1], k, 0}); u.Held != 0 {
			t.Errorf("%s: the marker beside it looks set", limit.Name)
		}
	}
}

func TestRace_loweredLimitHasWordsBeyond(t *testing.T) {
	tab, r := open1(t, small, fiveIn)
	k := tab.Key([]byte("k"))
	mustTake(t, tab, t0, Charge{r[0], k, 3})
	mustTake(t, tab, t0.Add(time.Millisecond), Charge{r[0], k, 2})
	less := fiveIn
	less.N = 2
	r = define(t, tab, less)
	// The first three words are free, the two beyond are held: both of two.
	now := t0.Add(time.Second)
	mustDeny(t, tab, now, Charge{r[0], k, 1})
	var l ledger
	if o, _ := tab.claimPermits(r[0].table, k, seat(t, tab, r[0], k), 1, readingOf(now), true, &l); o != denied {
		t.Errorf("outcome %d of a claim, want denied", o)
	}
	mustTake(t, tab, now.Add(time.Millisecond), Charge{r[0], k, 2})
	mustDeny(t, tab, now.Add(time.Millisecond), Charge{r[0], k, 1})
}

// What a rule's former place held is forgotten by recycling, then an older reading of the same key looks for it.
func TestRace_formerPlaceIsRecycled(t *testing.T) {
	tab, r := open1(t, small, fiveIn)
	k := tab.Key([]byte("k"))
	mustTake(t, tab, t0, Charge{r[0], k, 5})
	former, slot := r[0], seat(t, tab, r[0], k)
	more := fiveIn
	more.N = 12
	r = define(t, tab, more)
	mustTake(t, tab, t0, Charge{r[0], k, 7}) // its new place has a slot
	ends := t0.Add(time.Second)
	if !reseat(t, tab, slot, former, tab.Key([]byte("other")), lo(ends)+1) {
		t.Fatal("not recycled")
	}
	if d := take(t, tab, t0.Add(time.Millisecond), Charge{r[0], k, 1}); d.Allowed && d.At.Before(ends) {
		t.Errorf("the thirteenth of twelve was allowed at t0+%v", d.At.Sub(t0))
	}
}
