package server

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestClock_stepsOfTheSystemChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(time.Time{})
		var step time.Duration
		c.wall = func() time.Time { return time.Now().Add(step) }
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))

		start := c.Now()
		var known time.Duration
		for _, s := range []struct {
			step time.Duration
			says string
		}{
			{0, ""},
			{300 * time.Millisecond, ""},
			{-time.Hour, "stepped back"},
			{-time.Hour, ""}, // told once
			{time.Hour, "stepped forward"},
		} {
			step = s.step
			out.Reset()
			time.Sleep(10 * time.Second) // in the bubble: no wait
			known = c.look(log, known)
			if got := out.String(); (s.says == "") != (got == "") || !strings.Contains(got, s.says) {
				t.Errorf("step %v: log %q, want %q", s.step, got, s.says)
			}
		}
		if passed := c.Now().Sub(start); passed != 50*time.Second {
			t.Errorf("%v passed on the clock, want 50s", passed)
		}
	})
}

func TestClock_goesOnFromWhatTheCountersHaveSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := time.Now().Add(time.Hour) // the system's clock went back while the process was down
		c := NewClock(seen)
		time.Sleep(time.Second)
		if got := c.Now(); !got.Equal(seen.Add(time.Second)) {
			t.Errorf("the clock says %v, want %v", got, seen.Add(time.Second))
		}
		var out bytes.Buffer
		c.look(slog.New(slog.NewTextHandler(&out, nil)), 0)
		if !strings.Contains(out.String(), "stepped back") {
			t.Errorf("log %q does not tell", out.String())
		}
	})
}

func TestClock_watchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(time.Time{})
		var out bytes.Buffer
		var step atomic.Int64
		c.wall = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
		go c.Watch(t.Context(), slog.New(slog.NewTextHandler(&out, nil)), time.Second)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		step.Store(int64(5 * time.Second))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := strings.Count(out.String(), "stepped forward"); got != 1 {
			t.Errorf("told %d times, want once: %s", got, out.String())
		}
	})
}

func TestClock_fast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewFastClock(time.Time{}, 60)
		start := c.Now()
		time.Sleep(time.Second)
		if passed := c.Now().Sub(start); passed != time.Minute {
			t.Errorf("%v passed on the clock, want 1m", passed)
		}
	})
}
