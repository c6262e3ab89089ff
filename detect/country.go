package detect

import (
	"math"
	"sync"
)

// country is what is known of one country's traffic.
type country struct {
	mu sync.Mutex
	countryState
}

type countryState struct {
	sessions uint32  // all of numbers that are not known, and known ones
	verified float64 // sessions
	// The slow baseline: sessions of trusted traffic and how many verified. It begins as 65 % worth 40 sessions, learns from
	// trusted traffic and from any success, and halves at 3000, so about the last three thousand count.
	baseN, baseV float64
	// The control group: how numbers that verified before are doing now, fading over 20 minutes. When they fail too, the
	// trouble is the provider's.
	controlN, controlV float64
	controlT           tick
	pace               float64 // sessions, fading over a day
	paceT              tick
	// Inhabited ranges: of the sessions of new numbers that verified, the portion that fell into a range of four, five, six
	// masked digits where others had verified before.
	cover   [3]float32
	covered float32 // how many were seen, up to coverWeight
	cap     denyCap
	// The classes of strangers, from knownStrange on; see country_anomaly.go and otp_bruteforce.go.
	strangers [watched]evidence
}

const (
	priorConversion = .65
	priorSessions   = 40
	controlWeight   = 8   // sessions the control group is worth at rest
	controlUsual    = .80 // what known numbers usually convert
	baselineHalves  = 3000
)

func (c *countryState) init() {
	c.baseN, c.baseV = priorSessions, priorSessions*priorConversion
	c.controlN, c.controlV = controlWeight, controlWeight*.75
}

// expectation is the share of honest sessions that verify now. The country is locked.
func (c *countryState) expectation() float64 {
	control := min(1, c.controlV/c.controlN/controlUsual)
	return min(.85, max(.10, .88*c.baseV/c.baseN*control))
}

// control notes how a session ended. The country is locked.
func (c *countryState) control(known, ok bool, now tick) {
	d := decay(now.since(c.controlT), 20*minute)
	c.controlT = max(c.controlT, now)
	c.controlV = (c.controlV-controlUsual*controlWeight)*d + controlUsual*controlWeight
	c.controlN = (c.controlN-controlWeight)*d + controlWeight
	if known {
		c.controlN++
		if ok {
			c.controlV++
		}
	}
}

// count adds a session and returns the counters that compositions are judged by.
func (c *countryState) count(now tick) {
	c.sessions++
	c.pace = c.pace*decay(now.since(c.paceT), day) + 1
	c.paceT = max(c.paceT, now)
}

const (
	coverWeight = 200
	coverEnough = .85
	inhabitedBy = 2 // verified sessions
)

// uncover learns from a new number that verified how well each width tells where people are.
func (c *countryState) uncover(inhabited uint8) {
	c.covered = min(c.covered+1, coverWeight)
	for i := range c.cover {
		in := float32(inhabited >> i & 1)
		c.cover[i] += (in - c.cover[i]) / c.covered
	}
}

// telling is the narrowest width (0 is four masked digits, 2 is six) at which most honest new numbers fall into ranges where
// people are. Countries differ: by how long their numbers are, and by how much of their traffic is seen here.
func (c *countryState) telling() uint8 {
	for i, x := range c.cover[:2] {
		if x >= coverEnough {
			return uint8(i)
		}
	}
	return 2
}

// healthy says that known numbers verify as they should.
func (c *countryState) healthy() bool { return c.controlV/c.controlN > .55 }

// learn adds a session to the baseline.
func (c *countryState) learn(ok, again bool) {
	if !again {
		c.baseN++
	}
	if ok {
		c.baseV++
	}
	if c.baseN > baselineHalves {
		c.baseN *= .5
		c.baseV *= .5
	}
}

// evidence of one session for and against honest traffic: log-likelihoods of a failure (positive) and of a success (negative)
// when under attack at most a tenth verify instead of the expected share.
func evidenceOf(expected float64) (fail, success float64) {
	attack := min(.10, .4*expected)
	return math.Log((1 - attack) / (1 - expected)), math.Log(attack / expected)
}
