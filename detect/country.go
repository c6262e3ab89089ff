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
	// The same, fading over four minutes: it sees an outage before a carrier's gateway is blamed for it.
	quickN, quickV float64
	// What known numbers usually convert here: begins as .80 worth 40 sessions, and about the last thousand count.
	usualN, usualV float64
	pace           float64 // sessions, fading over a day
	paceT          tick
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
	controlUsual    = .80 // what known numbers convert, until it is learned
	unhealthy       = .69 // the part of it they convert when something is broken
	baselineHalves  = 3000
)

func (c *countryState) init() {
	c.baseN, c.baseV = priorSessions, priorSessions*priorConversion
	c.controlN, c.controlV = controlWeight, controlWeight*.75
	c.quickN, c.quickV = controlWeight, controlWeight*.75
	c.usualN, c.usualV = priorSessions, priorSessions*controlUsual
}

// expectation is the share of honest sessions that verify now. The country is locked.
func (c *countryState) expectation() float64 {
	control, usual := c.controlV/c.controlN, c.usual()
	if quick := c.quickV / c.quickN; quick < unhealthy*usual {
		control = min(control, quick) // above that it is noise
	}
	control = min(1, control/usual)
	return min(.85, max(.10, .88*c.baseV/c.baseN*control))
}

// control notes how a session ended. The country is locked.
func (c *countryState) control(known, ok bool, now tick) {
	passed, usual := now.since(c.controlT), c.usual()
	c.controlT = max(c.controlT, now)
	slow, quick := decay(passed, 20*minute), decay(passed, 4*minute)
	c.controlV = (c.controlV-usual*controlWeight)*slow + usual*controlWeight
	c.controlN = (c.controlN-controlWeight)*slow + controlWeight
	c.quickV = (c.quickV-usual*controlWeight)*quick + usual*controlWeight
	c.quickN = (c.quickN-controlWeight)*quick + controlWeight
	if known {
		c.controlN++
		c.quickN++
		c.usualN++
		if ok {
			c.controlV++
			c.quickV++
			c.usualV++
		}
		if c.usualN > 1000 {
			c.usualN *= .5
			c.usualV *= .5
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
	coverEnough = .93
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
func (c *countryState) healthy() bool {
	bar := unhealthy * c.usual()
	return c.controlV/c.controlN > bar && c.quickV/c.quickN > bar
}

// usual is what known numbers convert here when nothing is wrong.
func (c *countryState) usual() float64 { return max(.4, c.usualV/c.usualN) }

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
