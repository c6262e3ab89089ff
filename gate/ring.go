package gate

import (
	"sync"
	"sync/atomic"
	"time"
)

// ring is a bounded queue between the checks and the one goroutine that tells the observers. Putting never waits: a full
// ring drops the event and counts it. It is Vyukov's bounded MPMC queue with a single reader: a slot's turn says whose it
// is. At turn == position it is free for the writer of that position; at position+1 it holds that writer's event; the
// reader sets it to position+size for the next lap.
type ring struct {
	slots   []slot
	mask    uint64
	put     atomic.Uint64 // position of the next writer
	_       [56]byte      // writers and the reader on different cache lines
	take    uint64        // position of the reader, its own
	dropped atomic.Uint64

	// A writer wakes the reader only when it went to sleep, and the reader sleeps at least `pause` between two rounds: at
	// thousands of checks a second a wake-up for each would cost more than the check.
	asleep atomic.Bool
	wake   chan struct{}
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
}

type slot struct {
	turn  atomic.Uint64
	event Event
}

const (
	ringSize = 1 << 14 // more than the largest batch
	pause    = 5 * time.Millisecond
)

func newRing(size int, observers []Observer) *ring {
	r := &ring{
		slots: make([]slot, size), mask: uint64(size - 1),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	go r.run(observers)
	return r
}

// tell queues an event or drops it.
func (r *ring) tell(e *Event) {
	for {
		at := r.put.Load()
		s := &r.slots[at&r.mask]
		switch turn := s.turn.Load(); {
		case turn == at:
			if !r.put.CompareAndSwap(at, at+1) {
				continue
			}
			s.event = *e
			s.turn.Store(at + 1) // publishes the event: the reader loads turn first
			if r.asleep.Load() && r.asleep.CompareAndSwap(true, false) {
				r.wake <- struct{}{} // has room: only one writer wins each sleep
			}
			return
		case turn < at: // still holds the event of a lap ago
			r.dropped.Add(1)
			return
		}
	}
}

func (r *ring) run(observers []Observer) {
	defer close(r.done)
	for {
		r.drain(observers)
		r.asleep.Store(true)
		// Look again after saying so: a writer that came in between saw a reader awake and wakes nobody.
		if r.empty() {
			select {
			case <-r.wake:
			case <-r.quit:
				r.drain(observers)
				return
			}
		} else if !r.asleep.CompareAndSwap(true, false) {
			<-r.wake
		}
		select {
		case <-time.After(pause):
		case <-r.quit:
		}
	}
}

func (r *ring) empty() bool { return r.slots[r.take&r.mask].turn.Load() != r.take+1 }

func (r *ring) drain(observers []Observer) {
	for ; !r.empty(); r.take++ {
		s := &r.slots[r.take&r.mask]
		for _, o := range observers {
			s.event.told(o)
		}
		s.event = Event{} // let go of the request's strings
		s.turn.Store(r.take + r.mask + 1)
	}
}

// close tells what is queued and ends the reader.
func (r *ring) close() {
	r.once.Do(func() { close(r.quit) })
	<-r.done
}
