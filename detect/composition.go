package detect

import "math"

// Composition: each session of a country is a trial whether it falls into a range. Honest traffic hits a range by the share it
// has earned with verified sessions. A pumped range is hit ten times as often.

// priorShare is the share of its country a range has before anything is known, by masked digits from two to six. A country
// has a few thousand ranges of a hundred numbers in use at once, not as many as the numbering plan has.
var priorShare = [5]float64{1. / 3000, 1. / 1000, 1. / 200, 1. / 40, 1. / 15}

const priorWeight = 400 // verified sessions

// earnedShare is the share of the country's sessions that a range has earned.
func earnedShare(rangeVerified, countryVerified, prior float64) float64 {
	return (rangeVerified + priorWeight*prior) / (countryVerified + priorWeight)
}

// composition returns what a hit adds and what each session elsewhere takes away. Ranges that hold much of a country say
// nothing: ok is false. While a country is young a hit weighs less, down to .4: a cold start looks like a shift.
func composition(share, countryVerified float64) (hit, miss float64, ok bool) {
	if share > .2 {
		return 0, 0, false
	}
	attack := min(.5, max(10*share, .02))
	return math.Log(attack/share) * min(1, .4+.6*countryVerified/300), attack - share, true
}
