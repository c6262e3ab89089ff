package server

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func testOverload() *overload {
	o := newOverload(prometheus.NewCounter(prometheus.CounterOpts{Name: "shed"}), 1)
	o.ready = func() int64 { return 0 }
	return o
}

func TestOverload_whenItBegins(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		waits []time.Duration
		want  bool
	}{
		{"quiet", []time.Duration{0, 1 * ms, 0}, false},
		{"one hiccup", []time.Duration{0, 900 * ms, 0}, false},
		{"one now and then", []time.Duration{900 * ms, 0, 900 * ms, 0, 900 * ms}, false},
		{"two", []time.Duration{150 * ms, 150 * ms}, true},
		{"two that are hardly late", []time.Duration{149 * ms, 150 * ms}, false},
		{"behind", []time.Duration{101 * ms, 150 * ms, 300 * ms}, true},
		{"nearly", []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms}, false},
		{"one good probe does not end it", []time.Duration{200 * ms, 200 * ms, 0}, true},
	} {
		o := testOverload()
		for _, w := range tt.waits {
			o.observe(w)
		}
		if got := o.limited(time.Now); got != tt.want {
			t.Errorf("%s: limited = %v", tt.name, got)
		}
	}
}

// A queue that grows faster than it is worked off keeps each probe for longer than the one before: the connections notice it.
func TestOverload_probeThatDoesNotEnd(t *testing.T) {
	o := testOverload()
	now := o.begun.Add(time.Hour)
	clock := func() time.Time { return now }
	o.probe(now)
	now = now.Add(299 * time.Millisecond)
	if o.limited(clock) {
		t.Error("after 299 ms")
	}
	now = now.Add(time.Millisecond)
	if !o.limited(clock) {
		t.Error("not after 300 ms")
	}

	o = testOverload()
	now = o.begun.Add(time.Hour)
	o.probe(now)
	o.ready = func() int64 { return firstQueue + 1 }
	now = now.Add(99 * time.Millisecond)
	if o.limited(clock) {
		t.Error("after 99 ms with many in the queue")
	}
	now = now.Add(time.Millisecond)
	if !o.limited(clock) {
		t.Error("not after 100 ms with many in the queue")
	}
}

func TestOverload_limit(t *testing.T) {
	o := testOverload()
	step := func(wait time.Duration, refused bool, want int64) {
		t.Helper()
		if refused {
			o.refused.Add(1)
		}
		if o.observe(wait); o.limit.Load() != want {
			t.Fatalf("the limit is %d, not %d", o.limit.Load(), want)
		}
	}
	o.begin()
	step(101*time.Millisecond, true, 256)
	step(100*time.Millisecond, true, 224)
	step(50*time.Millisecond, true, 224+14+1)
	for range 20 {
		o.observe(time.Second)
	}
	step(time.Second, false, leastQueue)
	for range quietProbes - 1 {
		step(0, false, leastQueue)
	}
	step(0, true, leastQueue+leastQueue/16+1) // somebody was refused: it lasts
	for range quietProbes - 1 {
		step(0, false, leastQueue+leastQueue/16+1)
	}
	step(0, false, noLimit)
}

func TestOverload_room(t *testing.T) {
	o := testOverload()
	if room := o.room(5000); room < 1<<40 {
		t.Errorf("room for %d without a limit", room)
	}
	o.limit.Store(100)
	for queue, want := range map[int64]int64{0: 50, 10: 40, 50: 13, 98: 1, 99: 1, 100: 0, 5000: 0} {
		if got := o.room(queue); got != want {
			t.Errorf("room beside %d: %d, not %d", queue, got, want)
		}
	}
}

func TestOverload_whatMayBeRefused(t *testing.T) {
	for method, want := range map[string]bool{
		"/sendgate.v1.SendGateService/CheckSend":                       true,
		"/sendgate.v1.SendGateService/CheckSendStream":                 true,
		"/envoy.service.auth.v3.Authorization/Check":                   true,
		"/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit": true,
		"/sendgate.v1.SendGateService/ReportOutcome":                   false,
		"/sendgate.v1.AdminService/ListAdd":                            false,
		"/grpc.health.v1.Health/Check":                                 false,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":    false,
	} {
		if refusable(method) != want {
			t.Errorf("%s", method)
		}
	}
}

// A check whose caller gave up is not made; an outcome is kept all the same.
func TestOverload_nobodyWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	if err := stale(ctx, checks[0]); err != nil {
		t.Errorf("while somebody waits: %v", err)
	}
	cancel()
	if err := stale(ctx, checks[0]); status.Code(err) != codes.Canceled {
		t.Errorf("a check: %v", err)
	}
	if err := stale(ctx, "/sendgate.v1.SendGateService/ReportOutcome"); err != nil {
		t.Errorf("an outcome: %v", err)
	}
}

// processor is a model of one: a queue of goroutines, each of which has its turn when those before it had theirs. Connections are
// goroutines too, which read what has come, refuse and let in.
type processor struct {
	o        *overload
	now      time.Time
	turns    []func()
	asked    time.Time // when the next check is asked
	backlog  [4][]time.Time
	reading  [4]bool
	answered []time.Duration // how long each took
	refused  []time.Duration
}

// What things take of a tenth of a processor. To read a call that is let in is a part of answering it.
const (
	modelAnswer, modelRead, modelRefusal = 250 * time.Microsecond, 80 * time.Microsecond, 5 * time.Microsecond

	modelChunk = 250 // calls are read at a time
)

// run asks at so many times of what can be answered.
func (p *processor) run(load float64, d time.Duration) {
	every := time.Duration(float64(modelAnswer) / load)
	if p.asked.Before(p.now) {
		p.asked = p.now
	}
	for end := p.now.Add(d); p.now.Before(end); {
		for n := 0; !p.asked.After(p.now); n++ {
			c := n % len(p.backlog)
			p.backlog[c] = append(p.backlog[c], p.asked)
			p.asked = p.asked.Add(every)
			if !p.reading[c] {
				p.reading[c] = true
				p.turns = append(p.turns, func() { p.read(c) })
			}
		}
		if len(p.turns) == 0 {
			p.now = p.now.Add(100 * time.Microsecond)
			continue
		}
		turn := p.turns[0]
		p.turns = p.turns[1:]
		turn()
	}
}

// read goes on until there is nothing more, or others had to wait for 10 ms.
func (p *processor) read(c int) {
	for end := p.now.Add(10 * time.Millisecond); len(p.backlog[c]) > 0; {
		if p.now.After(end) {
			p.turns = append(p.turns, func() { p.read(c) })
			return
		}
		room := int64(noLimit)
		if p.o.limited(func() time.Time { return p.now }) {
			room = p.o.room(int64(len(p.turns)))
		}
		chunk := p.backlog[c][:min(modelChunk, len(p.backlog[c]))]
		p.backlog[c] = p.backlog[c][len(chunk):]
		for _, asked := range chunk {
			p.o.calls.Add(1)
			if room > 0 {
				room--
				p.now = p.now.Add(modelRead)
				p.turns = append(p.turns, func() {
					p.now = p.now.Add(modelAnswer - modelRead)
					p.answered = append(p.answered, p.now.Sub(asked))
				})
				continue
			}
			p.o.refused.Add(1)
			p.now = p.now.Add(modelRefusal)
			p.refused = append(p.refused, p.now.Sub(asked))
		}
	}
	p.reading[c] = false
}

// probe does as watch.
func (p *processor) probe() {
	start := p.now
	p.o.probe(start)
	p.turns = append(p.turns, func() {
		p.o.observe(p.now.Sub(start))
		next := start.Add(probeEvery)
		var wait func()
		wait = func() { // for the tick: a timer is looked at between turns
			if p.now.Before(next) {
				if len(p.turns) == 0 {
					p.now = p.now.Add(100 * time.Microsecond)
				}
				p.turns = append(p.turns, wait)
				return
			}
			p.probe()
		}
		wait()
	})
}

func TestOverload_modelOfAProcessor(t *testing.T) {
	p := &processor{o: testOverload()}
	p.now = p.o.begun
	p.o.ready = func() int64 { return int64(len(p.turns)) }
	p.probe()
	longest := func(of []time.Duration, part float64) time.Duration {
		of = slices.Sorted(slices.Values(of))
		if len(of) == 0 {
			return 0
		}
		return of[int(part*float64(len(of)-1))]
	}
	forget := func() { p.answered, p.refused = nil, nil }
	can := func(d time.Duration) int { return int(d / modelAnswer) }

	p.run(0.9, 5*time.Second)
	if n := len(p.refused); n > 0 {
		t.Errorf("%d refused at nine tenths of the load", n)
	}
	forget()
	p.run(5, 1500*time.Millisecond) // it is noticed
	t.Logf("begin: %d answered, p99 %v; %d refused", len(p.answered), longest(p.answered, 0.99), len(p.refused))
	if longest(p.answered, 1) > time.Second {
		t.Errorf("one waited for %v", longest(p.answered, 1))
	}
	forget()
	p.run(5, 10*time.Second)
	t.Logf("overload: %d of %d answered, p99 %v; %d refused, p99 %v", len(p.answered), can(10*time.Second), longest(p.answered, 0.99), len(p.refused), longest(p.refused, 0.99))
	if len(p.answered) < can(10*time.Second)*8/10 {
		t.Errorf("%d answered of %d that could be", len(p.answered), can(10*time.Second))
	}
	if w := longest(p.answered, 0.99); w > 2*maxWait {
		t.Errorf("p99 of what was answered is %v", w)
	}
	if w := longest(p.refused, 0.99); w > 2*maxWait {
		t.Errorf("p99 of what was refused is %v", w)
	}
	p.run(0.5, 2*maxWait) // what waits is answered
	forget()
	p.run(0.5, 5*time.Second)
	if n := len(p.refused); n > 0 || longest(p.answered, 1) > maxWait {
		t.Errorf("after the overload %d were refused, and one waited for %v", n, longest(p.answered, 1))
	}
	if p.o.limited(func() time.Time { return p.now }) {
		t.Error("the limit stays")
	}
}
