package gate

import "time"

// Stage is a part of the road of a check.
type Stage uint8

// The stages, in order. A check that is answered early has only the first ones.
const (
	StageRead    Stage = iota // the request is brought to its one spelling
	StageLists                // lists are looked at
	StageObserve              // detection sees the send
	StagePlan                 // consent is asked, and which rules apply
	StageTake                 // the store takes what they charge, all or nothing
	StageShadow               // rules in shadow mode
	Stages                    // how many there are
)

// String returns the stage's lower-case name.
func (s Stage) String() string {
	return [...]string{"read", "lists", "observe", "plan", "take", "shadow", "none"}[min(s, Stages)]
}

// timedEvery is of how many checks one is timed: to read the clock at each stage costs as much as a stage.
const timedEvery = 64

// TimedOneIn is that, for people.
const TimedOneIn = "64"

// laps times the stages of one check in many. It belongs to a scratch.
type laps struct {
	checks uint8
	timed  bool
	last   time.Duration
}

func (g *Gate) startLaps(l *laps) {
	if l.checks++; g.stage == nil || l.checks%timedEvery != 0 {
		l.timed = false
		return
	}
	l.timed, l.last = true, g.stopwatch()
}

// lap tells that a stage is done.
func (g *Gate) lap(l *laps, s Stage) {
	if l.timed {
		now := g.stopwatch()
		g.stage(s, now-l.last)
		l.last = now
	}
}
