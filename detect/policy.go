package detect

import (
	"errors"
	"fmt"
	"time"
)

// Level is how strict detection is.
type Level uint8

// The levels. The zero value is LevelStandard, so that nothing is off by omission.
const (
	LevelStandard Level = iota // thresholds as calibrated
	LevelOff                   // nothing is observed
	LevelObserve               // everything is observed and reported, nothing enforced
	LevelBasic                 // later and surer; broad scopes only flag
	LevelMax                   // sooner, at the price of more challenges
	levels
)

var levelNames = [levels]string{"standard", "off", "observe", "basic", "max"}

// String returns the name used in policies.
func (l Level) String() string { return levelNames[min(l, levels-1)] }

// ParseLevel finds a level by its name.
func ParseLevel(name string) (Level, bool) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), true
		}
	}
	return 0, false
}

// Mode says whether a detector's advice counts.
type Mode uint8

// The modes.
const (
	Enforce  Mode = iota
	Shadow        // evaluated and reported, never enforced
	Disabled      // not evaluated
)

// BlockSpan is how long blocks of a kind last: First, then Factor times longer each time, at most Max.
type BlockSpan struct {
	First  time.Duration // default 1h; 5m to 12h
	Factor float64       // default 2; 1 to 10
	Max    time.Duration // default 12h; First to 12h
}

// Detector is the policy for one kind.
type Detector struct {
	Mode  Mode
	Block BlockSpan
	// AtMost caps the advice, such as Challenge for a detector that may never deny. 0 means no cap.
	AtMost Advice
}

// Detectors is the policy for each kind.
type Detectors [kinds]Detector

// Expected announces volume, such as a launch: sessions of new users from a country that are not an anomaly.
type Expected struct {
	Country  Country
	Sessions float64 // how many sessions between From and Until
	From     int64   // unix nanoseconds
	Until    int64
}

// Policy is what can be changed while the engine runs. The zero value is the default.
type Policy struct {
	Level    Level
	Accounts map[uint64]Level // by Send.Account; overrides Level
	Kinds    Detectors        // by Kind
	// Overrides are the modes and caps of accounts, by Send.Account, in place of Kinds. How long blocks last is the same for all:
	// a block is about a range or an address, which accounts share.
	Overrides map[uint64]*Detectors
	Expected  []Expected
	// DenyCap is the largest share of honest traffic that detection may be estimated to deny before all Deny becomes
	// Challenge and an alert is raised. Default 0.05; 1 turns the cap off.
	DenyCap float64

	// idle kinds are off for everybody. One that is off for most still blocks, for the accounts that have it on.
	idle [kinds]bool
}

// Ready checks a policy and makes it fit for [Send.Policy]. It is read only from then on.
func (p Policy) Ready() (*Policy, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("detect: %w", err)
	}
	return &p, nil
}

// check fills defaults and names all mistakes.
func (p *Policy) check() error {
	var errs []error
	if p.Level >= levels {
		errs = append(errs, fmt.Errorf("level %d is not known: write one of off, observe, basic, standard, max", p.Level))
	}
	if p.DenyCap == 0 {
		p.DenyCap = .05
	}
	if !(p.DenyCap > 0 && p.DenyCap <= 1) {
		errs = append(errs, fmt.Errorf("deny cap %v: write a share above 0 and at most 1", p.DenyCap))
	}
	for k := IPFanout; k < kinds; k++ {
		b := &p.Kinds[k].Block
		if b.Max == 0 {
			b.Max = 12 * time.Hour
		}
		if b.First == 0 {
			b.First = min(time.Hour, b.Max)
		}
		if b.Factor == 0 {
			b.Factor = 2
		}
		if b.First < 5*time.Minute || b.First > b.Max || b.Max > 12*time.Hour || !(b.Factor >= 1 && b.Factor <= 10) {
			errs = append(errs, fmt.Errorf("%s: block of %v times %v up to %v: write first from 5m to max, factor from 1 to 10, max up to 12h",
				k, b.First, b.Factor, b.Max))
		}
		p.idle[k] = p.Kinds[k].Mode == Disabled
		for _, o := range p.Overrides {
			p.idle[k] = p.idle[k] && o[k].Mode == Disabled
		}
	}
	for i, x := range p.Expected {
		if x.Country == 0 || x.Country >= countries || !(x.Sessions > 0) || x.Until <= x.From {
			errs = append(errs, fmt.Errorf("expected %d: write a country, sessions above 0, and until after from", i+1))
		}
	}
	return errors.Join(errs...)
}

// announced says that a country's volume was expected and is not yet twice what was announced: a launch that grows beyond that
// is judged like any other traffic.
func (p *Policy) announced(c Country, at int64, pace float64) bool {
	for _, x := range p.Expected {
		if x.Country == c && at >= x.From && at < x.Until {
			return pace <= 2*x.Sessions
		}
	}
	return false
}

// detector returns the policy of a kind for an account.
func (p *Policy) detector(k Kind, account uint64) *Detector {
	if d := p.Overrides[account]; d != nil {
		return &d[k]
	}
	return &p.Kinds[k]
}

// levelOf returns the level for an account.
func (p *Policy) levelOf(account uint64) Level {
	if l, ok := p.Accounts[account]; ok {
		return l
	}
	return p.Level
}
