package policy

// Level is how eager detection is.
type Level string

// The levels, from nothing to everything. Observe sees and reports, and acts on nothing.
const (
	LevelOff      Level = "off"
	LevelObserve  Level = "observe"
	LevelBasic    Level = "basic"
	LevelStandard Level = "standard"
	LevelMax      Level = "max"
)

// Detect says what detection does.
type Detect struct {
	Level Level
}

type (
	Delay   struct{}
	Spend   struct{}
	Lists   struct{}
	Numbers struct{}
	Account struct{}
	OTP     struct{}
)

func detectFields(t *Detect) []field {
	return []field{
		{"level", choice(&t.Level, LevelOff, LevelObserve, LevelBasic, LevelStandard, LevelMax), "standard", "How eager detection is."},
	}
}
