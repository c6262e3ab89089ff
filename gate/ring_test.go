package gate

import (
	"sync"
	"testing"

	"go.uber.org/goleak"
)

type counting struct {
	hold chan struct{} // nil: never waits
	last map[string]int64
	seen int
	bad  bool
}

func (c *counting) Checked(e *Event) {
	if c.hold != nil {
		<-c.hold
	}
	c.seen++
	c.bad = c.bad || e.Cost <= c.last[e.Send.Account]
	c.last[e.Send.Account] = e.Cost
}

func TestRing_losesNothingItHasRoomFor(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := &counting{last: map[string]int64{}}
	r := newRing(1<<10, []Observer{c})
	const writers, each = 8, 20_000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			e := Event{}
			e.Send.Account = string(rune('a' + w))
			for i := range each {
				e.Cost = int64(i + 1)
				r.tell(&e)
			}
		})
	}
	wg.Wait()
	r.close()
	if got := c.seen + int(r.dropped.Load()); got != writers*each {
		t.Errorf("%d seen and %d dropped of %d", c.seen, r.dropped.Load(), writers*each)
	}
	if c.bad {
		t.Error("events of one writer came out of order or twice")
	}
}

func TestRing_dropsAndCountsWhenFull(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := &counting{hold: make(chan struct{}), last: map[string]int64{}}
	r := newRing(4, []Observer{c})
	for i := range 10 {
		r.tell(&Event{Cost: int64(i + 1)}) // never waits, though the observer does
	}
	close(c.hold)
	r.close()
	if dropped := int(r.dropped.Load()); c.seen+dropped != 10 || dropped < 5 || c.bad {
		t.Errorf("%d seen and %d dropped of 10 with room for 4 and one in hand", c.seen, dropped)
	}
}

func TestRing_wakesAfterSleep(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	told := make(chan struct{})
	r := newRing(4, []Observer{observerFunc(func(*Event) { told <- struct{}{} })})
	for range 20 {
		r.tell(&Event{})
		<-told
	}
	r.close()
}

type observerFunc func(*Event)

func (f observerFunc) Checked(e *Event) { f(e) }
