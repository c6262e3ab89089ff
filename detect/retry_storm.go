package detect

// Retry storm: one client repeats itself in machine rhythm. It is a fault, not an attack: the answer is to wait, and no shared
// key hears of it. More than a hundred in a row are somebody's load test.
const (
	machineGap   = 20 * second
	stormGaps    = 3
	loadTestGaps = 100
)

func (o *observation) retries(n *numberCell) bool {
	if n.gaps < stormGaps || n.others != 0 {
		return false
	}
	kind, limit := RetryStorm, stormGaps
	if n.gaps > loadTestGaps {
		kind, limit = LoadTest, loadTestGaps
	}
	sig := o.e.numberSignal(kind, o.s.Number, o.s.Country, n, float64(n.gaps), float64(limit))
	o.advise(Delay, sig, o.now+minute, false)
	return o.res.Advice >= Delay
}
