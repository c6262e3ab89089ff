package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	sendgate "github.com/sendgate/sendgate/limiter"
)

type scenario struct {
	name    string
	who     []string // ours first
	rounds  int      // 0 for as many as asked for
	prepare func(who string) (measure, done func())
	report  func(s scenario, all told) string
}

func allScenarios() []scenario {
	return []scenario{
		{"one-1m", contenders, 0, func(who string) (func(), func()) { return one(who, 1_000_000) }, reportOne},
		{"one-10m", []string{ours, goLim, xrate}, 0, func(who string) (func(), func()) { return one(who, 10_000_000) }, reportOne},
		{"four", []string{ours, goLim, xrate}, 0, four, reportFour},
		{"hot", []string{ours, "sendgate, large N", "sendgate, 4 stripes", goLim, goLim + ", large N", xrate}, 0, hot, reportHot},
		{"memory", []string{ours}, 0, memory, reportMemory},
		{"gc", []string{ours, "nothing", goLim}, 5, gc, reportGC},
		{"reopen", []string{ours}, 5, reopen, reportReopen},
		{"file", []string{"memory", "memory, small pages", "disk", "/dev/shm"}, 0, file, reportFile},
	}
}

// hand is what a goroutine has to make keys with.
type hand struct {
	rnd *rand.Rand
	buf [16]byte
}

// cost is what a call took.
type cost struct{ wall, cpu, allocs float64 }

// timed calls f n times from g goroutines.
func timed(g, n int, f func(h *hand)) cost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, used := time.Now(), cpuTime()
	var wg sync.WaitGroup
	for i := range g {
		wg.Go(func() {
			h := &hand{rnd: rand.New(rand.NewPCG(uint64(i), uint64(begin.UnixNano())))}
			for range n / g {
				f(h)
			}
		})
	}
	wg.Wait()
	took, worked := time.Since(begin), cpuTime()-used
	runtime.ReadMemStats(&after)
	return cost{float64(took.Nanoseconds()) / float64(n), float64(worked.Nanoseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}
}

func tellCosts(prefix string, n int, f func(h *hand)) {
	serial, parallel := timed(1, n, f), timed(cores(), n, f)
	tell(prefix+"serial ns", serial.wall)
	tell(prefix+"parallel ns", parallel.wall)
	tell(prefix+"CPU ns", parallel.cpu)
	tell(prefix+"allocations", parallel.allocs)
}

func nothing() {}

func one(who string, keys int) (func(), func()) {
	take := newTaker(who, 7, time.Second, keys)
	var buf [16]byte
	for i := range keys {
		take(number(&buf, i))
	}
	f := func(h *hand) { take(number(&h.buf, h.rnd.IntN(keys))) }
	timed(1, keys/2, f)
	return func() { tellCosts("", 300_000, f) }, nothing
}

func reportOne(s scenario, all told) string {
	text := fmt.Sprintf("## One rule, %s random keys, all there before\n\n7 per second; ours reads the clock and hashes the key inside of the measured call.\n\n", strings.ToUpper(strings.TrimPrefix(s.name, "one-")))
	text += table(all, s.who, "serial ns", "parallel ns", "CPU ns", "allocations") + "\n"
	o := all.median(ours, "parallel ns")
	text += bar("parallel, of go-limiter", o/all.median(goLim, "parallel ns"), 0.5, "x")
	text += bar("parallel, of sync.Map + x/time/rate", o/all.median(xrate, "parallel ns"), 0.25, "x")
	text += bar("CPU time, of go-limiter", all.median(ours, "CPU ns")/all.median(goLim, "CPU ns"), 0.5, "x")
	return text + bar("allocations", all.median(ours, "allocations"), 0.001, "")
}

// four rules of one check: two by number, one by client, one for all. In the first pass most are admitted; where each number has
// had its one per minute almost all are denied, and four takes go on charging.
func four(who string) (func(), func()) {
	const n = 1_000_000
	type limit struct {
		n      int
		window time.Duration
	}
	var measures []func()
	for _, kind := range []struct {
		name   string
		limits [4]limit
	}{
		{"admitted", [4]limit{{2, 50 * time.Millisecond}, {5, time.Second}, {7, time.Second}, {1_000_000_000, time.Second}}},
		{"denied", [4]limit{{1, time.Hour}, {6, 30 * time.Hour}, {7, time.Hour}, {1_000_000_000, time.Second}}},
	} {
		var f func(h *hand)
		admitted := &atomic.Int64{}
		switch who {
		case ours:
			var limits []sendgate.Limit
			for i, group := range []string{"number", "number", "client", "account"} {
				limits = append(limits, sendgate.Limit{Name: fmt.Sprint(i), Group: group, N: int64(kind.limits[i].n), Window: kind.limits[i].window})
			}
			limits[3].Stripes = 2
			t, r := openOurs(sendgate.Options{Size: 256 << 20, Shares: [3]int{95, 0, 5}}, limits...)
			account, now := t.Key([]byte("account")), newClock()
			f = func(h *hand) {
				k := t.Key(number(&h.buf, h.rnd.IntN(n)))
				c := t.Key(append(number(&h.buf, h.rnd.IntN(n)), 'c'))
				d, err := t.Take(ctx, now(), []sendgate.Charge{{Rule: r[0], Key: k, Cost: 1}, {Rule: r[1], Key: k, Cost: 1}, {Rule: r[2], Key: c, Cost: 1}, {Rule: r[3], Key: account, Cost: 1}})
				must(err)
				if d.Allowed {
					admitted.Add(1)
				}
			}
		default:
			var takes [4]taker
			account := []byte("account")
			for i, l := range kind.limits {
				takes[i] = newTaker(who, l.n, l.window, n)
			}
			f = func(h *hand) {
				k := number(&h.buf, h.rnd.IntN(n))
				a, b := takes[0](k), takes[1](k)
				k = append(number(&h.buf, h.rnd.IntN(n)), 'c')
				if c, d := takes[2](k), takes[3](account); a && b && c && d {
					admitted.Add(1)
				}
			}
		}
		timed(1, 3_000_000, f)
		measures = append(measures, func() {
			admitted.Store(0)
			tellCosts(kind.name+" ", 200_000, f)
			tell(kind.name+" share", float64(admitted.Load())/400_000)
		})
	}
	return func() {
		for _, m := range measures {
			m()
		}
	}, nothing
}

func reportFour(s scenario, all told) string {
	text := "## Four rules all-or-nothing beside four takes, 1M numbers, 1M clients, one account\n\nNone of the peers can take all or none: a denied check has charged the others.\n\n"
	for _, kind := range []string{"admitted", "denied"} {
		text += table(all, s.who, kind+" serial ns", kind+" parallel ns", kind+" CPU ns", kind+" allocations") + "\n"
		text += fmt.Sprintf("* admitted: %.0f%%\n", 100*all.median(ours, kind+" share"))
		text += bar("parallel, of four takes of go-limiter", all.median(ours, kind+" parallel ns")/all.median(goLim, kind+" parallel ns"), 0.45, "x")
		text += bar("CPU time, of four takes of go-limiter", all.median(ours, kind+" CPU ns")/all.median(goLim, kind+" CPU ns"), 0.45, "x")
		text += bar("allocations", all.median(ours, kind+" allocations"), 0.001, "") + "\n"
	}
	return text
}

// hot is one key and 64 goroutines for a second.
func hot(who string) (func(), func()) {
	var take taker
	limit := sendgate.Limit{Name: "account", Group: "account", N: 7, Window: time.Second}
	switch who {
	case "sendgate, large N":
		limit.N = 1_000_000_000
	case "sendgate, 4 stripes":
		limit.N, limit.Stripes = 1_000_000_000, 4
	case goLim:
		take = newTaker(who, 7, time.Second, 1)
	case goLim + ", large N":
		// It refills a limit of 10^9 a second by 1, and would deny: so the window is an hour.
		take = newTaker(goLim, 1_000_000_000, time.Hour, 1)
	case xrate:
		l := rate.NewLimiter(1e9, 1e9)
		take = func([]byte) bool { return l.Allow() }
	}
	if take == nil {
		t, r := openOurs(sendgate.Options{Size: 16 << 20}, limit)
		take = oursTaker(t, r[0])
	}
	return func() { hotTurn(take) }, nothing
}

// hotTurn gives up the processor every 256 takes, as whoever serves requests does: without it the runtime lets each of the 64 run
// for 10 ms, and which of them had no turn in the second says nothing of the limiter.
func hotTurn(take taker) {
	const goroutines = 64
	key := []byte("acme")
	var counts [goroutines]struct {
		n int64
		_ [56]byte
	}
	var stop atomic.Bool
	var lat [goroutines][]int64
	for g := range lat {
		lat[g] = make([]int64, 0, 1<<17)
	}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for g := range goroutines {
		wg.Go(func() {
			<-start
			for !stop.Load() {
				if counts[g].n%64 == 0 {
					t := time.Now()
					take(key)
					lat[g] = append(lat[g], int64(time.Since(t)))
				} else {
					take(key)
				}
				if counts[g].n++; counts[g].n%256 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	begin, used := time.Now(), cpuTime()
	close(start)
	time.Sleep(time.Second)
	stop.Store(true)
	wg.Wait()
	took, worked := time.Since(begin), cpuTime()-used
	total, least := int64(0), counts[0].n
	for i := range counts {
		total += counts[i].n
		least = min(least, counts[i].n)
	}
	all := slices.Concat(lat[:]...)
	slices.Sort(all)
	tell("ns", float64(took.Nanoseconds())/float64(total))
	tell("CPU ns", float64(worked.Nanoseconds())/float64(total))
	tell("least of mean", float64(least)*goroutines/float64(total))
	tell("p99.9 ns", float64(all[len(all)*999/1000]))
}

func reportHot(s scenario, all told) string {
	text := "## One hot key, 64 goroutines, one second\n\n" +
		"Each beside go-limiter with the same N: 7 per second, almost all denied, or \"large N\", 10^9, all admitted. \"least of mean\": the goroutine that came least, of what each had on average.\n\n"
	text += table(all, s.who, "ns", "CPU ns", "least of mean", "p99.9 ns") + "\n"
	for _, who := range s.who[:3] {
		peer := goLim + ", large N"
		if who == ours {
			peer = goLim
		}
		text += bar(who+", of "+peer, all.median(who, "ns")/all.median(peer, "ns"), 1, "x")
		text += bar(who+", CPU time", all.median(who, "CPU ns")/all.median(peer, "CPU ns"), 1, "x")
		text += bar(who+", mean of least", 1/all.median(who, "least of mean"), 2, "x")
	}
	return text
}

// memory fills a table until it holds a key for every 80 bytes of its size, or 160 for keys that need a double slot. Each round has
// another seed, so keys lie elsewhere.
func memory(string) (func(), func()) { return fill, nothing }

func fill() {
	for _, c := range []struct {
		name   string
		n      int64
		bytes  int
		shares [3]int
	}{{"N<=7", 7, 80, [3]int{1, 0, 0}}, {"N<=15", 15, 160, [3]int{0, 1, 0}}} {
		const size = 256 << 20
		t, r := openOurs(sendgate.Options{Size: size, Shares: c.shares}, sendgate.Limit{Name: "x", Group: "g", N: c.n, Window: time.Hour})
		now, held, refused, first := time.Now(), 0, 0, 0.0
		load := func() float64 { return 100 * float64(held) / float64(t.Stats().Capacity) }
		for i := 0; held < (size+c.bytes-1)/c.bytes; i++ {
			b := [8]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
			d, err := t.Take(ctx, now, []sendgate.Charge{{Rule: r[0], Key: t.Key(b[:]), Cost: 1}})
			must(err)
			if d.Allowed {
				held++
			} else if refused++; refused == 1 {
				first = load()
			}
		}
		tell(c.name+" bytes", float64(size)/float64(held))
		tell(c.name+" load", load())
		tell(c.name+" refused per million", 1e6*float64(refused)/float64(held))
		if refused > 0 {
			tell(c.name+" first refused at", first)
		}
		must(t.Close())
	}
}

func reportMemory(s scenario, all told) string {
	text := "## Memory at 80% load (256 MiB, header included; the file is as large)\n\n" +
		"80% of its bytes are slots that hold a live key. That is a little more of its slots, since the header is 0.2%.\n\n"
	text += bar("bytes a key, N <= 7", all.median(ours, "N<=7 bytes"), 80, "")
	text += bar("bytes a key, N <= 15", all.median(ours, "N<=15 bytes"), 160, "")
	for _, n := range []string{"N<=7", "N<=15"} {
		text += fmt.Sprintf("* %s: %.2f%% of the slots; of a million new keys %.2g found no room on the way, the worst seed of %d %.2g; the first at %.1f%%\n",
			n, all.median(ours, n+" load"), all.median(ours, n+" refused per million"), len(all[ours]), all.most(ours, n+" refused per million"),
			all.median(ours, n+" first refused at"))
	}
	return text
}

func gc(who string) (func(), func()) {
	const keys = 10_000_000
	var buf [16]byte
	var take taker
	if who != "nothing" {
		take = newTaker(who, 7, time.Hour, keys)
		for i := range keys {
			take(number(&buf, i))
		}
	}
	runtime.GC()
	return func() {
		begin := time.Now()
		runtime.GC()
		tell("ms", float64(time.Since(begin).Microseconds())/1000)
		if take != nil {
			take(number(&buf, 1))
		}
	}, nothing
}

func reportGC(s scenario, all told) string {
	text := "## A full collection with 10M keys\n\n" + table(all, s.who, "ms") + "\n"
	return text + bar("added by 10M keys", all.median(ours, "ms")-all.median("nothing", "ms"), 1, " ms")
}

// reopen is the time from Open to the first answer of a 1 GiB table that another process has filled, with its pages in memory and
// without.
func reopen(string) (func(), func()) {
	path := filepath.Join(must1(os.MkdirTemp(".", "reopen")), "table")
	limit := sendgate.Limit{Name: "x", Group: "g", N: 7, Window: time.Hour}
	t, r := openOurs(sendgate.Options{Path: path, Size: 1 << 30, Shares: [3]int{1, 0, 0}}, limit)
	now := time.Now()
	for i := range 5_000_000 {
		b := [8]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		_, err := t.Take(ctx, now, []sendgate.Charge{{Rule: r[0], Key: t.Key(b[:]), Cost: 1}})
		must(err)
	}
	must(t.Close())
	answer := func() float64 {
		begin := time.Now()
		t, r := openOurs(sendgate.Options{Path: path}, limit)
		_, err := t.Take(ctx, begin, []sendgate.Charge{{Rule: r[0], Key: t.Key([]byte("somebody")), Cost: 1}})
		must(err)
		took := time.Since(begin)
		must(t.Close())
		return float64(took.Microseconds()) / 1000
	}
	return func() {
			tell("warm ms", answer())
			if dropped(path) {
				tell("cold ms", answer())
			}
		}, func() {
			must(os.RemoveAll(filepath.Dir(path)))
		}
}

func reportReopen(s scenario, all told) string {
	text := "## From Open to the first answer, 1 GiB with 5M keys\n\n"
	text += bar("pages in memory", all.median(ours, "warm ms"), 100, " ms")
	return text + bar("pages on disk", all.median(ours, "cold ms"), 100, " ms")
}

// file takes at random over 1M keys, each call timed. A round takes more than a second, so that the kernel's writing back, every
// five seconds, falls into some.
func file(who string) (func(), func()) {
	const keys = 1_000_000
	o := sendgate.Options{Size: 128 << 20, Shares: [3]int{1, 0, 0}}
	dir := ""
	switch who {
	case "memory, small pages":
		noHugePages()
	case "disk":
		dir = must1(os.MkdirTemp(".", "file"))
	case "/dev/shm":
		dir = must1(os.MkdirTemp("/dev/shm", "file"))
	}
	if dir != "" {
		o.Path = filepath.Join(dir, "table")
	}
	t, r := openOurs(o, sendgate.Limit{Name: "x", Group: "g", N: 7, Window: time.Second})
	rnd := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var buf [16]byte
	for i := range keys {
		_, err := t.Take(ctx, time.Now(), []sendgate.Charge{{Rule: r[0], Key: t.Key(number(&buf, i)), Cost: 1}})
		must(err)
	}
	took := make([]int64, 5_000_000)
	return func() {
			faults := pageFaults()
			for i := range took {
				k := t.Key(number(&buf, rnd.IntN(keys)))
				at := time.Now()
				_, err := t.Take(ctx, at, []sendgate.Charge{{Rule: r[0], Key: k, Cost: 1}})
				must(err)
				took[i] = int64(time.Since(at))
			}
			tell("faults per 1000", float64(pageFaults()-faults)/float64(len(took))*1000)
			slices.Sort(took)
			tell("p50 ns", float64(took[len(took)/2]))
			tell("p99 ns", float64(took[len(took)*99/100]))
			tell("p99.9 ns", float64(took[len(took)*999/1000]))
			tell("worst us", float64(took[len(took)-1])/1000)
		}, func() {
			must(os.RemoveAll(dir))
		}
}

func reportFile(s scenario, all told) string {
	text := "## File-backed beside memory-only, 1M keys, one goroutine, while the kernel writes back\n\n" + table(all, s.who, "p50 ns", "p99 ns", "p99.9 ns", "worst us") + "\n"
	for _, who := range s.who {
		text += fmt.Sprintf("* %s: p99.9 of the worst round %.3g us; the worst call of all %.3g ms; page faults in 1000 calls %.2g\n",
			who, all.most(who, "p99.9 ns")/1000, all.most(who, "worst us")/1000, all.mean(who, "faults per 1000"))
	}
	text += "\nMemory-only has huge pages where the kernel gives them, a file has not (docs/decisions/0001-limiter-core.md says why). The kernel protects a page of a file before it writes it back, and the next write to it is a fault.\n\n"
	text += bar("disk, p50 of memory-only", all.median("disk", "p50 ns")/all.median("memory", "p50 ns"), 1.15, "x")
	text += bar("/dev/shm, p50 of memory-only", all.median("/dev/shm", "p50 ns")/all.median("memory", "p50 ns"), 1.15, "x")
	text += bar("disk, p50 of memory-only in small pages", all.median("disk", "p50 ns")/all.median("memory, small pages", "p50 ns"), 1.15, "x")
	return text + bar("/dev/shm, p50 of memory-only in small pages", all.median("/dev/shm", "p50 ns")/all.median("memory, small pages", "p50 ns"), 1.15, "x")
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

// dropped writes a file's pages to disk and drops them from memory.
func dropped(path string) bool {
	f := must1(os.OpenFile(path, os.O_RDWR, 0))
	defer f.Close()
	must(f.Sync())
	return dropPages(f) == nil
}
