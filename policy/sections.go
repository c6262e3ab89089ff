package policy

import (
	"net/netip"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// Delay is a wait between the sends of one purpose that grows with each.
type Delay struct {
	// Purpose is the sends it is for, and its name: "otp", "transactional" or "marketing".
	Purpose string
	// Preset names the shape that Backoff started from; "" for none.
	Preset      string `json:",omitempty"`
	By          []Part
	Backoff     limiter.Backoff
	OnLimit     Action // Deny or Challenge
	Mode        Mode
	CountDenied bool
	FailMode    FailMode
	// When is nil where there is no condition.
	When *Condition `json:",omitempty"`

	path string
}

// Of is which sends a budget counts.
type Of string

// The two kinds of budget. What is unverified is given back when the send verifies.
const (
	OfAll        Of = "all"
	OfUnverified Of = "unverified"
)

// Spend is a budget: at most so much money per key in any Window.
type Spend struct {
	Name     string
	By       []Part
	Budget   int64  // millionths of the currency
	Currency string // ISO 4217
	Window   time.Duration
	Of       Of
	// WarnAt and ChallengeAt are shares of the budget, above 0 to 1; 0 for never.
	WarnAt, ChallengeAt float64
	OnLimit             Action
	Mode                Mode
	FailMode            FailMode
	Match               Match `json:",omitzero"`
	Unless              Match `json:",omitzero"`
	// When is nil where there is no condition.
	When *Condition `json:",omitempty"`

	path string
}

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

// Detectors are the names of all detectors.
func Detectors() []string {
	return []string{"ip_fanout", "victim_flood", "ait_range", "country_anomaly", "conversion_collapse", "otp_bruteforce",
		"enumeration", "retry_storm", "load_test"}
}

// Detect says what detection does.
type Detect struct {
	Level Level
	// Detectors has all of [Detectors].
	Detectors map[string]Detector
	// DenyAtMost is the largest share of honest traffic of a country that detection may be estimated to deny before it asks for
	// challenges instead, above 0 to 1. It is that of the whole policy, as is Expected.
	DenyAtMost float64
	// Expected are volumes that were announced, such as a launch.
	Expected []Expected `json:",omitempty"`
}

// Expected says that so many sessions of new users from a country, between two times, are no anomaly.
type Expected struct {
	Country     string
	Sessions    int64
	From, Until time.Time
}

// Detector says what one detector does.
type Detector struct {
	// Mode is "" for what the level says.
	Mode Mode
	// OnSignal is Deny or Challenge, or "" for what the detector finds fit: deny narrow scopes, challenge broad ones.
	OnSignal Action
	Block    Block
}

// Block is how long a signal stops its subject: First, then Factor times longer each time, up to Max.
type Block struct {
	First  time.Duration
	Factor float64
	Max    time.Duration
}

// Lists are the lists that the policy fixes. More entries come at run time.
type Lists struct {
	// Allow wins over limits and detection, never over an opt-out.
	Allow, Block []Entry
	// TestNumbers are allowed and counted nowhere.
	TestNumbers []Entry
}

// Numbers says which numbers are sent to at all.
type Numbers struct {
	// DefaultRegion is the country of numbers written without one; "" wants every number with its +.
	DefaultRegion string
	// Invalid is for numbers that no numbering plan has: Allow, Deny or Challenge.
	Invalid Action
	// Types maps names of [phone.Type] to an action. A type that is not there is allowed.
	Types     map[string]Action
	Countries Countries
	// Recommended is the dated set of defaults that is in force, already part of the fields above; "off" for none.
	Recommended string
}

// Countries says which countries are sent to. ZZ stands for numbers of no country.
type Countries struct {
	// Allow, when it is not empty, is all that there is: others are denied.
	Allow, Block, Challenge []string
}

// Judge is what Countries says of a country; "" is a number of no country.
func (c *Countries) Judge(country string) Action {
	if country == "" {
		country = NoCountry
	}
	switch {
	case has(c.Block, country), len(c.Allow) > 0 && !has(c.Allow, country) && !has(c.Challenge, country):
		return Deny
	case has(c.Challenge, country):
		return Challenge
	}
	return Allow
}

// Account is one that pays for sends, and how its callers are known.
type Account struct {
	// KeysFromEnv names environment variables, each with one API key.
	KeysFromEnv []string
	// KeysFromFile names files with one API key a line.
	KeysFromFile []string
	// Keys are hashed API keys, "sha256:" and 64 hex digits.
	Keys []string
	// Identities are names in client certificates: SPIFFE IDs, or subjects such as CN=billing,O=Acme.
	Identities []string
	// AllowAddresses are the peers that may use this account; empty for any.
	AllowAddresses []netip.Prefix
	// Residency names the region where this account's data stays; "" for anywhere. In the file it is region.
	Residency string
	// DefaultRegion is the country of numbers written without one.
	DefaultRegion string
	// Mode is Enforce or Shadow. In Shadow its limits, delays, budgets and detection are judged and reported, with counters of their
	// own, and stop nothing.
	Mode Mode
	// Countries is nil where those of numbers hold.
	Countries *Countries
	// Detect is detection for this account: that of the whole policy where the account says nothing else.
	Detect Detect
}

// OTP is the life of a one-time password.
type OTP struct {
	// OutcomeTimeout is how long a send may stay without an outcome until it counts as unverified.
	OutcomeTimeout time.Duration
	// KnownGoodFor is how long a number is known good after it verified. Its limits are those with KnownGood set.
	KnownGoodFor time.Duration
	Verify       Verify
}

// Verify is how the entering of codes is guarded. The numbers are those of NIST SP 800-63B-4, 3.2.2: at most 100 consecutive
// failures, waits from 30 seconds up to an hour, and what came before a success is disregarded.
type Verify struct {
	// Codes is how many wrong codes one OTP takes.
	Codes int64
	// Consecutive is how many wrong codes may follow one another for a number. Half of them are for users who passed a challenge.
	Consecutive int
	// Number is the wait between wrong codes for a number.
	Number limiter.Backoff
	// ClientN is how many codes one client may enter in any ClientWindow, right ones too; then it is challenged.
	ClientN      int64
	ClientWindow time.Duration
}
