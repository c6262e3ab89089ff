package limiter

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"
)

func TestLayout_slots(t *testing.T) {
	tab, _ := open1(t, Options{Size: 4 << 20})
	if bytes := [classes]int64{classWords[narrow] * 8, classWords[double] * 8, classWords[wide] * 8}; bytes != [classes]int64{64, 128, 512} {
		t.Errorf("slots of %v bytes, want 64, 128, 512", bytes)
	}
	end := (registryAt + 2*tab.geo.registry) / 8
	for class := range classes {
		if tab.base[class] < end {
			t.Errorf("class %d begins at word %d, inside what comes before it", class, tab.base[class])
		}
		// A slot that starts at a multiple of its size lies in as few lines as it can.
		if at := uintptr(unsafe.Pointer(&tab.mem[tab.base[class]])); at%uintptr(min(classWords[class]*8, 4096)) != 0 {
			t.Errorf("class %d begins at address %#x", class, at)
		}
		end = tab.base[class] + tab.geo.slots[class]*classWords[class]
	}
	if end > int64(len(tab.mem)) {
		t.Errorf("slots end at word %d of %d", end, len(tab.mem))
	}
	if share := float64(end*8) / float64(4<<20); share < 0.97 {
		t.Errorf("%.2f of the table is used", share)
	}
	for class := range classes {
		p := place{bank: 3, class: uint8(class)}
		last := tab.base[class] + (tab.geo.slots[class]-classReach[class])*classWords[class]
		for _, k := range []Key{{}, {Place: 1}, {Place: ^uint64(0)}, {Place: 1 << 63}} {
			if at := tab.home(&p, k); at < tab.base[class] || at > last || (at-tab.base[class])%classWords[class] != 0 {
				t.Errorf("home of %v in class %d is word %d", k, class, at)
			}
		}
	}
}

func TestLayout_words(t *testing.T) {
	disjoint := func(name string, fields ...uint64) {
		t.Helper()
		var all uint64
		for _, f := range fields {
			if all&f != 0 {
				t.Errorf("%s: bits %#x overlap", name, all&f)
			}
			all |= f
		}
		if all != ^uint64(0) {
			t.Errorf("%s: bits %#x have no meaning", name, ^all)
		}
	}
	disjoint("permit", undecided, genMask, stampMask, untilMask)
	disjoint("bucket", closedBit, numbers<<countBits, countMask)
	disjoint("announced", takenBit, genMask, changeMask, countMask)
	disjoint("head", takenBit, epochMask, headMask)
	if vacant&genMask == 0 || vacant == undecided {
		t.Error("the vacant bit is not one that a decided word has free")
	}
	if maxCounted<<untilBits != stampMask || MaxN != countMask {
		t.Error("a delay's count or the largest N does not fill its field")
	}
	if MaxExact != classWords[wide]-2 || ringWord+ringSize != classWords[wide] {
		t.Error("a wide slot has not the words that its rules need")
	}
	// A window is at most 58 whole buckets; with the open one and the one that leaves they fit the ring.
	for _, w := range []int64{1000, 1001, 9999, 10_000, 1e6, 60e6, 3600e6, micros(MaxWindow)} {
		c := cutOf(w)
		if c.nb > maxPast || c.nb+2 > ringSize || c.nb*c.width < w || (c.nb-1)*c.width >= w {
			t.Errorf("a window of %dus is cut into %d buckets of %d", w, c.nb, c.width)
		}
		if w >= 21_000 && (c.nb+1)*c.width-w > w/Buckets {
			t.Errorf("a window of %dus refuses up to %dus early, more than 2%%", w, (c.nb+1)*c.width-w)
		}
	}
}

func TestLayout_livingWords(t *testing.T) {
	line := func(offset uintptr) uintptr { return offset / 64 }
	var l living
	if line(unsafe.Offsetof(l.newest)) == line(unsafe.Offsetof(l.floor)) || line(unsafe.Offsetof(l.floor)) == line(unsafe.Offsetof(l.registry)) {
		t.Error("words that every core reads or writes share a line with others")
	}
	if unsafe.Sizeof(l) > registryAt-livingAt || unsafe.Sizeof(paddedMutex{}) != 64 {
		t.Error("living words or mutexes have not the size that is claimed")
	}
}

func TestTake_allocatesNothing(t *testing.T) {
	limits := []Limit{
		{Name: "minute", Group: "number", N: 1, Window: time.Minute},
		{Name: "half hour", Group: "number", N: 10, Window: 30 * time.Minute},
		{Name: "client", Group: "client", N: 10, Window: time.Minute},
		{Name: "account", Group: "account", N: 1e9, Window: time.Second, Stripes: 4},
		{Name: "delay", Group: "number", Kind: Delay, Backoff: Backoff{Free: 2, Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: time.Hour, Jitter: 0.1}},
		{Name: "money", Group: "account", N: 1e12, Window: time.Hour},
		{Name: "range", Group: "range", N: 50, Window: time.Minute},
		{Name: "day", Group: "client", N: 60, Window: 24 * time.Hour},
	}
	tab, rules := open1(t, Options{Size: 64 << 20}, limits...)
	now := t0
	for _, n := range []int{1, 4, 8} {
		charges := make([]Charge, n)
		var allowed, denied int
		count := testing.AllocsPerRun(500, func() {
			now = now.Add(time.Millisecond)
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], uint64(now.UnixNano()/3e6)) // some keys are taken again
			for i := range charges {
				charges[i] = Charge{rules[i], tab.Key(b[:]), 1}
			}
			d, err := tab.Take(ctx, now, charges)
			if err != nil {
				t.Fatal(err)
			}
			if !d.Allowed {
				denied++
				return
			}
			allowed++
			if allowed%2 == 0 {
				if err := tab.Refund(ctx, d.At, charges); err != nil {
					t.Fatal(err)
				}
			}
			for i := range charges {
				if _, err := tab.Peek(ctx, now, charges[i]); err != nil {
					t.Fatal(err)
				}
			}
		})
		if count != 0 || allowed == 0 || denied == 0 {
			t.Errorf("%d charges: %v allocations in %d allowed and %d denied", n, count, allowed, denied)
		}
	}
}

// floodSize is how many slots, limited keys and random keys TestEviction has: a hundredth of what SENDGATE_SOAK=1 asks for.
func floodSize() (slots int64, limited, flood int) {
	if os.Getenv("SENDGATE_SOAK") != "" {
		return 1_000_000, 10_000, 100_000_000
	}
	if testing.Short() || raceEnabled {
		return 9000, 90, 60_000
	}
	return 20_000, 200, 1_000_000
}

func TestEviction_neverForgives(t *testing.T) {
	slots, limited, flood := floodSize()
	floods := func(t *testing.T, open bool) {
		limit := Limit{Name: "three", Group: "number", N: 3, Window: time.Hour, FailOpen: open}
		tab, r := open1(t, Options{Size: slots*64 + registryAt + 1<<19, Shares: [3]int{1, 0, 0}}, limit)
		key := func(kind byte, i int) Key {
			var b [9]byte
			b[0] = kind
			binary.LittleEndian.PutUint64(b[1:], uint64(i))
			return tab.Key(b[:])
		}
		for i := range limited {
			mustTake(t, tab, t0, Charge{r[0], key('L', i), 3})
		}
		full, skipped := 0, 0
		for i := range flood {
			now := t0.Add(time.Duration(i) * 59 * time.Minute / time.Duration(flood))
			d := take(t, tab, now, Charge{r[0], key('F', i), 1})
			if d.Full {
				full++
				if d.Allowed || d.RetryAfter <= 0 {
					t.Fatalf("full: %+v", d)
				}
			}
			skipped += d.Skipped
			if d.Skipped > 0 && !d.Allowed {
				t.Fatalf("skipped: %+v", d)
			}
		}
		for i := range limited {
			mustDeny(t, tab, t0.Add(time.Hour-time.Microsecond), Charge{r[0], key('L', i), 1})
		}
		s := tab.Stats()
		if open && (s.FullOpen != int64(skipped) || skipped < flood/2 || s.FullClosed != 0) ||
			!open && (s.FullClosed != int64(full) || full < flood/2 || s.FullOpen != 0) {
			t.Errorf("fail open %v: %d full, %d skipped, %+v", open, full, skipped, s)
		}
		if s.Recycled != 0 || s.Occupied > s.Capacity || s.Occupied < s.Capacity*99/100 {
			t.Errorf("while all keys live: %+v", s)
		}
		// What has expired makes room.
		later := t0.Add(2*time.Hour + time.Second)
		for i := range int(slots) / 2 {
			if d := take(t, tab, later, Charge{r[0], key('N', i), 1}); !d.Allowed || d.Skipped > 0 {
				t.Fatalf("a table of expired keys has no room for the %d. key: %+v", i, d)
			}
		}
		if s := tab.Stats(); s.Recycled < slots*4/10 {
			t.Errorf("after an hour: %+v", s)
		}
		t.Logf("%d slots, %d limited keys, %d random keys: %d full, %d skipped, %+v", slots, limited, flood, full, skipped, tab.Stats())
	}
	t.Run("fail closed", func(t *testing.T) { floods(t, false) })
	t.Run("fail open", func(t *testing.T) { floods(t, true) })
}

// A key lives in a slot as long as any of its rules remembers it: a delay is forgotten later than it is over.
func TestEviction_keepsDelaysTillForgotten(t *testing.T) {
	tab, r := open1(t, Options{Size: 1 << 20, Shares: [3]int{1, 0, 0}},
		Limit{Name: "delay", Group: "number", Kind: Delay, Backoff: Backoff{Base: time.Minute, Factor: 2, Max: time.Hour, ForgetAfter: 24 * time.Hour}})
	k := tab.Key([]byte("k"))
	mustTake(t, tab, t0, Charge{r[0], k, 0})
	mustTake(t, tab, t0.Add(time.Minute), Charge{r[0], k, 0})
	flood := func(now time.Time) {
		for i := range 40_000 {
			var b [9]byte
			binary.LittleEndian.PutUint64(b[:], uint64(i))
			take(t, tab, now, Charge{r[0], tab.Key(b[:]), 0})
		}
	}
	flood(t0.Add(23 * time.Hour))
	if u, _ := tab.Peek(ctx, t0.Add(24*time.Hour), Charge{r[0], k, 0}); u.Held != 2 {
		t.Errorf("%d charges remembered, want 2", u.Held)
	}
	flood(t0.Add(50 * time.Hour))
	if tab.Stats().Recycled == 0 {
		t.Error("nothing was forgotten ever")
	}
}

func TestRoom_upTo80Percent(t *testing.T) {
	for class, n := range map[int]int64{narrow: 7, double: 15, wide: 62} {
		var shares [3]int
		shares[class] = 1
		tab, r := open1(t, Options{Size: 32 << 20, Shares: shares}, Limit{Name: "x", Group: "g", N: n, Window: time.Hour})
		keys := int(tab.Stats().Capacity) * 8 / 10
		full := 0
		var b [8]byte
		for i := range keys {
			binary.LittleEndian.PutUint64(b[:], uint64(i))
			if d := take(t, tab, t0, Charge{r[0], tab.Key(b[:]), 1}); !d.Allowed {
				full++
			}
		}
		if full > keys/2000 { // 1 in 10,000 for wide slots, of which a reach holds fewest; 1 in 3000 with the worst seed of 60
			t.Errorf("N %d: %d of %d keys have no room at 80%% load", n, full, keys)
		}
	}
}

func TestFull_severalRules_chargesNone(t *testing.T) {
	tab, r := open1(t, Options{Size: 1 << 20},
		Limit{Name: "first", Group: "a", N: 3, Window: time.Hour},
		Limit{Name: "second", Group: "b", N: 100, Window: time.Hour, Stripes: 1}, // wide: few slots
	)
	k := tab.Key([]byte("k"))
	for i := 0; tab.Stats().FullClosed == 0; i++ {
		take(t, tab, t0, Charge{r[1], tab.Key([]byte{byte(i), byte(i >> 8), 'x'}), 1})
	}
	for i := range 3000 {
		other := tab.Key([]byte{byte(i), byte(i >> 8), 'y'})
		d := take(t, tab, t0, Charge{r[0], k, 3}, Charge{r[1], other, 1})
		if d.Full {
			if d.Binding != 1 {
				t.Errorf("%+v, want the second to bind", d)
			}
			if u, _ := tab.Peek(ctx, t0, Charge{r[0], k, 1}); u.Held != 0 {
				t.Errorf("a check for which there was no room charged %d of the first rule", u.Held)
			}
			return
		}
		if err := tab.Refund(ctx, d.At, []Charge{{r[0], k, 3}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the table never filled up")
}

func TestMark_full(t *testing.T) {
	tab, r := open1(t, Options{Size: 1 << 20, Shares: [3]int{1, 0, 0}}, Limit{Name: "m", Group: "g", Kind: Marker})
	var err error
	for i := 0; i < 100_000 && err == nil; i++ {
		err = tab.Mark(ctx, t0, t0.Add(time.Hour), r[0], tab.Key([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
	}
	if !errors.Is(err, errFull) {
		t.Errorf("a full table marks: %v", err)
	}
}

func TestClose_stragglers(t *testing.T) {
	tab, err := Open(Options{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r := define(t, tab, Limit{Name: "x", Group: "g", N: 5, Window: time.Second}, many)
	k := tab.Key([]byte("k"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			at := readingOf(t0)
			// A straggler is past the look at closed.
			if err := tab.take(t0, at, []Charge{{r[0], k, 1}, {r[1], k, 1}}, &Decision{}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { close(stop) })
	<-done
	if err := tab.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	_ = tab.Stats()
	_ = tab.Newest()
}
