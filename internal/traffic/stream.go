package traffic

import (
	"container/heap"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"
)

// Options of New.
type Options struct {
	// Seed decides everything that is drawn.
	Seed uint64
	// Start is when the traffic begins. Default 2026-03-02 00:00 UTC, a Monday.
	Start time.Time
	// Length is for how long it goes on. Default 24h; at most 31 days.
	Length time.Duration
	// Sessions is how many people ask for a code in a day: 1 to 10,000,000. Default 20,000.
	Sessions int
	// Home are the countries where people live, the first the most, as ISO codes. Default SG, ID, MY, GB.
	Home []string
	// Attacks within it.
	Attacks []Attack
}

// Stream gives events in the order of time. It belongs to one goroutine.
type Stream struct {
	Options
	home    []*country
	sources []*source
	queue   queue
	order   uint64
	sends   int
	end     time.Time
}

// source is something that makes sessions from time to time.
type source struct {
	name string
	next time.Time // of its next session
	end  time.Time
	rng  *rand.Rand
	rate func(at time.Time) float64 // sessions a minute
	most float64                    // the largest rate
	make func(at time.Time)
}

// pending is an event that waits for its time. A send has a nil send; an outcome waits for the ID of its own.
type pending struct {
	Event
	order uint64
	send  *pending
	given bool // the send has its ID
}

type queue []*pending

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].At.Equal(q[j].At) {
		return q[i].At.Before(q[j].At)
	}
	return q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*pending)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// New prepares a stream.
func New(o Options) (*Stream, error) {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	}
	if o.Length == 0 {
		o.Length = 24 * time.Hour
	}
	if o.Sessions == 0 {
		o.Sessions = 20_000
	}
	if len(o.Home) == 0 {
		o.Home = []string{"SG", "ID", "MY", "GB"}
	}
	if o.Length < time.Minute || o.Length > 31*24*time.Hour || o.Sessions < 1 || o.Sessions > 10_000_000 {
		return nil, errors.New("traffic: write a length from 1m to 744h and from 1 to 10,000,000 sessions a day")
	}
	s := &Stream{Options: o, end: o.Start.Add(o.Length)}
	world := s.random("world")
	for _, iso := range o.Home {
		p, err := planOf(iso)
		if err != nil {
			return nil, fmt.Errorf("traffic: %w", err)
		}
		s.home = append(s.home, newCountry(p, world))
	}
	s.day()
	for i := range o.Attacks {
		if err := s.attack(i, o.Attacks[i]); err != nil {
			return nil, fmt.Errorf("traffic: attack %d: %w", i+1, err)
		}
	}
	return s, nil
}

// random is a generator of its own for each part, so that no part changes another.
func (s *Stream) random(part string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(part))
	return rand.New(rand.NewPCG(s.Seed, h.Sum64()))
}

// add lets a source make sessions from one time to another, at a rate that may change.
func (s *Stream) add(name string, from, to time.Time, most float64, rate func(time.Time) float64, session func(at time.Time, rng *rand.Rand)) {
	if to.After(s.end) {
		to = s.end
	}
	rng := s.random(name)
	src := &source{name: name, next: from, end: to, rng: rng, rate: rate, most: most, make: func(at time.Time) { session(at, rng) }}
	if src.step(); !src.next.After(src.end) {
		s.sources = append(s.sources, src)
	}
}

// step draws the next session: a Poisson process, thinned where the rate is below its most.
func (s *source) step() {
	for {
		s.next = s.next.Add(time.Duration(s.rng.ExpFloat64() / s.most * float64(time.Minute)))
		if s.next.After(s.end) || s.rng.Float64()*s.most < s.rate(s.next) {
			return
		}
	}
}

// Next returns the next event, false at the end. What became of the last sends may come after the end of the traffic.
func (s *Stream) Next() (Event, bool) {
	for {
		var first *source
		at := -1
		for i, src := range s.sources {
			if first == nil || src.next.Before(first.next) {
				first, at = src, i
			}
		}
		if len(s.queue) > 0 && (first == nil || !s.queue[0].At.After(first.next)) {
			return s.pop(), true
		}
		if first == nil {
			return Event{}, false
		}
		first.make(first.next)
		if first.step(); first.next.After(first.end) {
			s.sources = append(s.sources[:at], s.sources[at+1:]...)
		}
	}
}

func (s *Stream) pop() Event {
	p := heap.Pop(&s.queue).(*pending)
	if p.send == nil {
		s.sends++
		p.ID, p.given = "s"+strconv.Itoa(s.sends), true
		return p.Event
	}
	p.ID = p.send.ID
	return p.Event
}

// send lets an event happen later. It is to be given to outcome.
func (s *Stream) send(e Event) *pending {
	s.order++
	e.At = e.At.Truncate(time.Millisecond)
	p := &pending{Event: e, order: s.order}
	heap.Push(&s.queue, p)
	return p
}

// outcome lets the outcome of a send happen some time after it.
func (s *Stream) outcome(of *pending, after time.Duration, what string) {
	s.order++
	heap.Push(&s.queue, &pending{Event: Event{At: of.At.Add(max(after.Truncate(time.Millisecond), time.Millisecond)), Outcome: what}, order: s.order, send: of})
}
