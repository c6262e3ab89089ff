package detect

import "math"

// tick is a time in tenths of a second since the engine's base, which is a day before the first event it saw. 0 is never. It
// keeps cells small and lasts 13 years; a tenth of a second is finer than anything that is judged.
type tick uint32

const (
	second      tick = 10
	minute           = 60 * second
	hour             = 60 * minute
	day              = 24 * hour
	nanosOfTick      = 100_000_000
	never       tick = 0
	forever     tick = 1<<32 - 1
)

// tick converts a caller's time. The first call of an engine's life sets the base.
func (e *Engine) tick(at int64) tick {
	base := e.base.Load()
	if base == 0 {
		e.base.CompareAndSwap(0, at-24*3600e9)
		base = e.base.Load()
	}
	// A time before the base comes from a clock that jumped back: it counts as the first moment.
	return tick(min(max((at-base)/nanosOfTick, 1), int64(forever)-int64(30*day)))
}

// nanos converts back.
func (e *Engine) nanos(t tick) int64 {
	if t == never {
		return 0
	}
	return e.base.Load() + int64(t)*nanosOfTick
}

// since is how long ago a moment was, 0 when events arrive out of order.
func (t tick) since(then tick) tick {
	if then >= t {
		return 0
	}
	return t - then
}

// decay is the factor by which a score with time constant tau has faded after a duration.
func decay(passed, tau tick) float64 {
	if passed == 0 {
		return 1
	}
	return math.Exp(-float64(passed) / float64(tau))
}
