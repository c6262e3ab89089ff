package detect

// A CUSUM adds up evidence and starts again whenever there is none left: it forgets good times at once and never forgets a slow
// attack. Reaching h by chance takes about e^h trials for independent honest traffic (Lorden 1971). Failures within a small range
// are not independent, so the real rate is measured, not promised: see the benign-only test.
const (
	threshold     = 13.8            // ln(1e6)
	thresholdOnly = 2.2 * threshold // composition alone, before any outcome is known
)

// add moves a CUSUM.
func add(c *float32, evidence float64) { *c = float32(max(0, float64(*c)+evidence)) }
