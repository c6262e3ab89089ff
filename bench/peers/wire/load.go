package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// scenario is one measurement of all systems.
type scenario struct {
	name string
	run  func(sc scenario, who []*system, s settings, r *result) error
	unix bool
	skip func(*system) bool
	turn func(h *host, s settings, round int) (sample, error)
}

func scenarios() []scenario {
	var all []scenario
	for _, callers := range []int{1, 16, 64} {
		for name, keys := range map[string]uint64{"random": population, "hot": 1} {
			all = append(all, scenario{name: fmt.Sprintf("closed/%s/%d", name, callers), run: takeTurns,
				turn: func(h *host, s settings, round int) (sample, error) { return closed(h, s, callers, keys) }})
		}
	}
	slices.SortFunc(all, func(a, b scenario) int { // random before hot, few callers before many
		return slices.Index(order, a.name) - slices.Index(order, b.name)
	})
	for _, rate := range []float64{3000, 10_000} {
		all = append(all, scenario{name: fmt.Sprintf("open/%.0f", rate), run: takeTurns,
			turn: func(h *host, s settings, round int) (sample, error) { return openLoop(h, s, rate) }})
	}
	all = append(all, scenario{name: "open/3000/unix", run: takeTurns, unix: true, skip: func(s *system) bool { return s.name != floorDefault && s.name != floorOurs && s.name != ours },
		turn: func(h *host, s settings, round int) (sample, error) { return openLoop(h, s, 3000) }})
	all = append(all, scenario{name: "closed/unix/16", run: takeTurns, unix: true, skip: func(s *system) bool { return s.name != floorDefault && s.name != floorOurs && s.name != ours },
		turn: func(h *host, s settings, round int) (sample, error) { return closed(h, s, 16, population) }})
	for _, callers := range []int{1, 16} {
		all = append(all, scenario{name: fmt.Sprintf("batch/%d", callers), run: takeTurns, skip: func(s *system) bool { return s.redis || s.dialect(tenPerHalfHour).batch == "" },
			turn: func(h *host, s settings, round int) (sample, error) { return batches(h, s, callers) }})
		all = append(all, scenario{name: fmt.Sprintf("stream/%d", callers), run: takeTurns, skip: func(s *system) bool { return s.redis || s.dialect(tenPerHalfHour).stream == "" },
			turn: func(h *host, s settings, round int) (sample, error) { return streams(h, s, callers) }})
	}
	all = append(all,
		scenario{name: "start", run: starts},
		scenario{name: "memory", run: memory, skip: func(s *system) bool { return s.noRule }})
	return append(all, probes()...)
}

var order = []string{"closed/random/1", "closed/random/16", "closed/random/64", "closed/hot/1", "closed/hot/16", "closed/hot/64"}

// takeTurns starts everybody and lets them take turns; the first does not count.
func takeTurns(sc scenario, who []*system, s settings, r *result) error {
	var hosts []*host
	defer func() {
		for _, h := range hosts {
			h.close() //nolint:errcheck // nothing depends on it any more
		}
	}()
	for _, sys := range who {
		if sc.skip != nil && sc.skip(sys) {
			continue
		}
		h, err := open(sys, tenPerHalfHour, sc.unix)
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	if r.Samples == nil {
		r.Samples = map[string][]sample{}
	}
	for _, h := range hosts {
		delete(r.Samples, h.system.name)
	}
	for round := -1; round < s.rounds; round++ {
		now := s
		if round < 0 {
			now.turn = min(s.turn, 300*time.Millisecond)
		}
		for i := range hosts {
			h := hosts[(i+max(round, 0))%len(hosts)]
			v, err := sc.turn(h, now, round)
			if err != nil {
				return fmt.Errorf("%s: %w", h.system.name, err)
			}
			if round >= 0 {
				r.Samples[h.system.name] = append(r.Samples[h.system.name], v)
			}
		}
	}
	return nil
}

// population is how many numbers are written to, at random; clients are a fifth as many.
const population = 1_000_000

var asked atomic.Uint64

// someone is a number at random of so many, the same for the same n.
func (h *host) someone(n, of uint64) ask {
	n = (n * 0x9e3779b97f4a7c15) >> 11 % of
	a := ask{number: "+6590000000"}
	if of > 1 {
		// Spread over several countries: a run of neighbours is what detection looks for.
		prefix := [...]string{"+659", "+44791", "+1415", "+91987", "+62812"}[n%5]
		a.number = prefix + strconv.FormatUint(10_000_000+n/5*6_180_339%10_000_000, 10)[1:]
	}
	if h.system.name == ours { // its default policy has rules by client
		c := n % (population / 5)
		a.client = netip.AddrFrom4([4]byte{198, 18 + byte(c>>16), byte(c >> 8), byte(c)}).String()
	}
	return a
}

// tally are latencies and answers of one caller.
type tally struct {
	took             []time.Duration
	admitted, checks int
	err              error
}

// timed runs callers for the turn and sums up.
func timed(h *host, s settings, callers int, work func(i int, until time.Time, t *tally)) (sample, error) {
	before, err := h.cpu()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	until := begin.Add(s.turn)
	tallies := make([]tally, callers)
	var all sync.WaitGroup
	for i := range tallies {
		all.Go(func() { work(i, until, &tallies[i]) })
	}
	all.Wait()
	wall := time.Since(begin)
	after, err := h.cpu()
	if err != nil {
		return nil, err
	}
	var sum tally
	for _, t := range tallies {
		if t.err != nil {
			return nil, t.err
		}
		sum.took = append(sum.took, t.took...)
		sum.checks += t.checks
		sum.admitted += t.admitted
	}
	if sum.checks == 0 {
		return nil, errors.New("nothing was answered")
	}
	v := sample{"rate": float64(sum.checks) / wall.Seconds(), "cpu": float64((after - before).Microseconds()) / float64(sum.checks),
		"admitted": float64(sum.admitted) / float64(sum.checks)}
	latencies(v, sum.took)
	return v, nil
}

func latencies(v sample, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(math.Ceil(q*float64(len(took)))))].Nanoseconds()) / 1e6
	}
	v["p50"], v["p99"] = at(0.50), at(0.99)
}

// closed lets callers ask as fast as they are answered.
func closed(h *host, s settings, callers int, keys uint64) (sample, error) {
	return timed(h, s, callers, func(i int, until time.Time, t *tally) {
		c := h.caller(i)
		defer c.close()
		for now := time.Now(); now.Before(until); {
			ok, err := c.ask(h.someone(asked.Add(1), keys))
			if err != nil {
				t.err = err
				return
			}
			then := time.Now()
			t.took = append(t.took, then.Sub(now))
			now = then
			t.checks++
			if ok {
				t.admitted++
			}
		}
	})
}

const batchSize = 100

func batches(h *host, s settings, callers int) (sample, error) {
	return timed(h, s, callers, func(i int, until time.Time, t *tally) {
		conn := h.conns[i%len(h.conns)]
		var out []byte
		for now := time.Now(); now.Before(until); {
			asks := make([]ask, batchSize)
			for j := range asks {
				asks[j] = h.someone(asked.Add(1), population)
			}
			in := h.speak.many(nil, asks)
			if t.err = conn.Invoke(context.Background(), h.speak.batch, &in, &out); t.err != nil {
				return
			}
			if n := h.speak.items(out); n != batchSize {
				t.err = fmt.Errorf("%d of %d checks of a batch were answered", n, batchSize)
				return
			}
			then := time.Now()
			t.took = append(t.took, then.Sub(now))
			now = then
			t.checks += batchSize
		}
	})
}

// streams asks one question at a time on a stream for each caller, as one does who waits for the verdict.
func streams(h *host, s settings, callers int) (sample, error) {
	return timed(h, s, callers, func(i int, until time.Time, t *tally) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := h.conns[i%len(h.conns)].NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, h.speak.stream)
		if err != nil {
			t.err = err
			return
		}
		var out []byte
		for now := time.Now(); now.Before(until); {
			in := h.speak.streamed(nil, h.someone(asked.Add(1), population))
			if t.err = stream.SendMsg(&in); t.err != nil {
				return
			}
			if t.err = stream.RecvMsg(&out); t.err != nil {
				return
			}
			ok, err := h.speak.streamAdmitted(out)
			if err != nil {
				t.err = err
				return
			}
			if ok {
				t.admitted++
			}
			then := time.Now()
			t.took = append(t.took, then.Sub(now))
			now = then
			t.checks++
		}
	})
}

// openLoop asks at a fixed rate whatever the answers do, and measures from when an ask was due.
func openLoop(h *host, s settings, rate float64) (sample, error) {
	before, err := h.cpu()
	if err != nil {
		return nil, err
	}
	total := int(rate * s.turn.Seconds())
	took := make([]time.Duration, total)
	errs := make([]error, total)
	admitted := atomic.Int64{}
	idle := sync.Pool{New: func() any { return h.caller(int(asked.Load())) }} // redis-cell keeps a connection a caller
	var all sync.WaitGroup
	// Woken from a system call the pacer is on time, by Go's timers it may be a millisecond late.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := time.Now()
	for i := range total {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			ts := syscall.NsecToTimespec(int64(wait))
			syscall.Nanosleep(&ts, nil) //nolint:errcheck // interrupted: it looks again
		}
		all.Go(func() {
			c := idle.Get().(caller)
			ok, err := c.ask(h.someone(asked.Add(1), population))
			took[i], errs[i] = time.Since(due), err
			if ok {
				admitted.Add(1)
			}
			idle.Put(c)
		})
	}
	all.Wait()
	wall := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	after, err := h.cpu()
	if err != nil {
		return nil, err
	}
	v := sample{"rate": float64(total) / wall.Seconds(), "cpu": float64((after - before).Microseconds()) / float64(total),
		"admitted": float64(admitted.Load()) / float64(total)}
	latencies(v, took)
	return v, nil
}

// starts tells the time from the start of the program to its first answer, on fresh state and on what a full run left behind.
func starts(sc scenario, who []*system, s settings, r *result) error {
	r.Samples = map[string][]sample{}
	for range s.rounds {
		for _, sys := range who {
			begin := time.Now()
			h, err := open(sys, tenPerHalfHour, false)
			if err != nil {
				return err
			}
			fresh := time.Since(begin)
			h.main.end(syscall.SIGTERM)
			begin = time.Now()
			if err := h.again(); err != nil {
				return err
			}
			if err := h.connect(); err != nil {
				return err
			}
			again := time.Since(begin)
			r.Samples[sys.name] = append(r.Samples[sys.name], sample{"fresh": float64(fresh.Microseconds()) / 1e3, "again": float64(again.Microseconds()) / 1e3})
			if err := h.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// memory asks for a million numbers once each and tells what the processes grew by, then for half a million more.
func memory(sc scenario, who []*system, s settings, r *result) error {
	if r.Samples == nil {
		r.Samples = map[string][]sample{}
	}
	for _, sys := range who {
		if sc.skip(sys) {
			continue
		}
		h, err := open(sys, tenPerHalfHour, false)
		if err != nil {
			return err
		}
		before, err := h.resident()
		if err != nil {
			return errors.Join(err, h.close())
		}
		var grown [2]int64
		next := atomic.Int64{}
		for i, upTo := range []int64{population, population * 3 / 2} {
			if err := eachOnce(h, &next, upTo); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", sys.name, err), h.close())
			}
			now, err := h.resident()
			if err != nil {
				return errors.Join(err, h.close())
			}
			grown[i] = now - before
		}
		r.Samples[sys.name] = []sample{{"before": float64(before) / (1 << 20), "million": float64(grown[0]) / (1 << 20), "half_more": float64(grown[1]-grown[0]) / (1 << 20)}}
		if err := h.close(); err != nil {
			return err
		}
	}
	return nil
}

// eachOnce asks once for each of the numbers up to the given one.
func eachOnce(h *host, next *atomic.Int64, upTo int64) error {
	errs := make([]error, 64)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			c := h.caller(i)
			defer c.close()
			for {
				n := next.Add(1)
				if n > upTo {
					next.Add(-1)
					return
				}
				a := ask{number: "+659" + strconv.FormatInt(10_000_000+n*6_180_339%10_000_000, 10)[1:]}
				if h.system.name == ours {
					a.client = h.someone(uint64(n), population).client
				}
				if _, errs[i] = c.ask(a); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
