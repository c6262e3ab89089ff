package server

import (
	"context"
	"log/slog"
	"time"
)

// Clock is the time of the process: the wall time at its start, carried on by the monotonic clock. A step of the system's
// clock therefore changes nothing while the process runs: stepping back cannot make a window shorter than it is, stepping
// forward cannot free what is held. Slewing by NTP is followed, it moves both. [Clock.Watch] reports steps; a restart takes
// the new wall time over. It is safe for concurrent use.
type Clock struct {
	start time.Time        // carries the monotonic reading too
	from  time.Time        // the time it was then, never before what the process's last life has seen
	wall  func() time.Time // the system's clock, for Watch
	speed float64          // how many seconds pass in one; 0 for one
}

// NewClock starts a clock at the system's time, or at notBefore where the system's clock is behind it: counters that outlived a
// restart have seen that time, and would stand still until it came again. Zero for no such time.
func NewClock(notBefore time.Time) *Clock {
	now := time.Now()
	c := &Clock{start: now, from: now.Round(0), wall: time.Now}
	if notBefore.After(c.from) {
		c.from = notBefore
	}
	return c
}

// NewFastClock is a clock for demonstrations: time passes speed times as fast. Do not Watch it.
func NewFastClock(notBefore time.Time, speed float64) *Clock {
	c := NewClock(notBefore)
	c.speed = speed
	return c
}

// Now reads the clock. Readings never decrease.
func (c *Clock) Now() time.Time {
	// Since reads the monotonic clock only, at half the price of Now.
	passed := time.Since(c.start)
	if c.speed != 0 {
		passed = time.Duration(float64(passed) * c.speed)
	}
	return c.from.Add(passed)
}

// maxStep is how far the two clocks may part before it is called a step.
const maxStep = time.Second

// Watch logs when the system's clock has been stepped, and by how much. It looks every `every` until ctx ends.
func (c *Clock) Watch(ctx context.Context, log *slog.Logger, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	known := c.look(log, 0) // what a restart began with
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		known = c.look(log, known)
	}
}

// look compares the clocks and returns how far they are apart; known is what it found the last time.
func (c *Clock) look(log *slog.Logger, known time.Duration) time.Duration {
	apart := c.wall().Round(0).Sub(c.Now())
	if step := apart - known; step.Abs() < maxStep {
		return known
	} else if step > 0 {
		log.Warn("the system's clock was stepped forward; windows keep running on the time of the process", "step", step, "ahead", apart)
	} else {
		log.Warn("the system's clock was stepped back; windows keep running on the time of the process", "step", step, "ahead", apart)
	}
	return apart
}
