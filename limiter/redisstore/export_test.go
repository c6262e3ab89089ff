package redisstore

import "time"

// SetClockOff makes a store believe that its machine's clock is off. Call it before any other method.
func SetClockOff(s *Store, off time.Duration) {
	s.wall = func() time.Time { return time.Now().Add(off) }
}
