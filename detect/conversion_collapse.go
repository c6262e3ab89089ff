package detect

import "math"

// Conversion collapse: newcomers to one operator's prefix (six masked digits) stop verifying. A million numbers are too many for
// composition and for a denial: outcomes alone trip it, six above the usual threshold, and only strangers are challenged. While
// the evidence stands the block is renewed; people who verify under challenge take it down.
const (
	wideExtra     = 3. // five masked digits
	operatorExtra = 6.
)

// sustains is the outcome CUSUM from which a range's block is renewed whatever the attempts.
func sustains(scope Scope) float64 {
	if scope == ScopeOperator {
		return threshold + operatorExtra
	}
	return math.Inf(1)
}
