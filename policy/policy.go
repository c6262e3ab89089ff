package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/sendgate/sendgate/internal/clientip"
	"github.com/sendgate/sendgate/limiter"
)

// Policy is a whole policy file, checked. It is immutable: read it, never write to it.
type Policy struct {
	// Name is the file it came from.
	Name string `json:"-"`
	// Version is the first 12 hex digits of a SHA-256 over what the policy says. Comments, formatting, the order of keys and
	// writing a default out do not change it.
	Version string `json:"-"`

	ClientAddress ClientAddress
	// Limits are all limits that are not off, those of accounts and of known-good numbers among them, in the order in which
	// they are charged: exact limits of numbers and clients first, then large ones, keys that many sends share last.
	// A charge names a limit by its index here.
	Limits  []Limit
	Delays  []Delay
	Spend   []Spend
	Detect  Detect
	Lists   Lists
	Numbers Numbers
	Consent Consent
	// Accounts by name. Empty: callers are not told apart by keys.
	Accounts map[string]*Account
	OTP      OTP
	// Proxies is nil where no proxy asks.
	Proxies *Proxies `json:",omitempty"`
	// FailMode is for what no rule decides. Rules have their own, already settled.
	FailMode FailMode

	failModes map[string]*FailMode // as written: by rule, and "default"
	index     index
}

// Action is what happens to a send that a limit refuses or a detector suspects.
type Action string

// The actions. Bucket is only for a missing client address: all such sends share one key of each rule by client.
const (
	Allow     Action = "allow"
	Deny      Action = "deny"
	Challenge Action = "challenge"
	Bucket    Action = "bucket"
)

// Mode is whether a rule or detector acts.
type Mode string

// The modes. Shadow is evaluated and reported, never enforced.
const (
	Enforce Mode = "enforce"
	Shadow  Mode = "shadow"
	Off     Mode = "off"
)

// FailMode is what a rule answers when its store cannot.
type FailMode string

// The fail modes. Local counts in this process alone while the store is away.
const (
	Open   FailMode = "open"
	Closed FailMode = "closed"
	Local  FailMode = "local"
)

// ClientAddress says how the end user's address is found.
type ClientAddress struct {
	TrustedProxies []netip.Prefix
	TrustedHops    int
	TrustUnix      bool
	Header         string
	IPv6Prefix     int
	NAT64          []netip.Prefix
	// MissingClient is what happens to a send without a client address: Allow, Deny, Challenge or Bucket. With Allow and
	// Challenge, rules by client do not apply to it.
	MissingClient Action
}

// Config is what [clientip.New] takes.
func (c *ClientAddress) Config() clientip.Config {
	return clientip.Config{TrustedProxies: c.TrustedProxies, TrustedHops: c.TrustedHops, TrustUnix: c.TrustUnix,
		Header: c.Header, NAT64: c.NAT64, IPv6Prefix: c.IPv6Prefix}
}

// Limit is one rule: at most N per key in any Window.
type Limit struct {
	// Name is what callers and metrics are told, such as "number-minute". Limits that replace one another share it.
	Name string
	// Account is set for a limit of one account, from accounts.NAME.limits.
	Account string
	// KnownGood is set for a limit from otp.known_good.limits, which judges only numbers that verified recently.
	KnownGood bool
	// AfterChallenge is set for a limit from after_challenge, which judges only sends whose user passed a challenge.
	AfterChallenge bool
	// By names the parts of the key, sorted.
	By     []Part
	N      int64
	Window time.Duration
	// OnLimit is Deny or Challenge.
	OnLimit Action
	Mode    Mode
	// CountDenied charges this limit for sends that are denied too.
	CountDenied bool
	FailMode    FailMode
	Match       Match `json:",omitzero"`
	Unless      Match `json:",omitzero"`
	// When is nil where there is no condition.
	When *Condition `json:",omitempty"`
	// Candidates stand beside this limit, each as a limit of its own in shadow mode with CandidateOf set to this one's Name.
	Candidates  []Candidate `json:",omitempty"`
	CandidateOf string      `json:",omitempty"`

	// NotAccounts have a limit of this name of their own, or have it off, and are not judged by this one.
	NotAccounts []string
	// NotKnownGood says the same of known-good numbers.
	NotKnownGood bool
	// NotAfterChallenge says the same of sends after a challenge: this limit has one of its name in after_challenge, or asked
	// for the challenge itself.
	NotAfterChallenge bool

	path string // where it stands in the file, for problems found late
}

// StoreName is the limit's name in the store: equal across reloads for a limit that keeps its counters, and different from
// that of every other limit.
func (l *Limit) StoreName() string {
	switch name := "account:" + l.Account + "/" + l.Name; {
	case l.KnownGood:
		return "known_good/" + l.Name
	case l.AfterChallenge:
		return "after_challenge/" + l.Name
	case l.Account == "":
		return l.Name
	case len(name) <= maxStoreName:
		return name
	}
	sum := sha256.Sum256([]byte(l.Account))
	return "account#" + hex.EncodeToString(sum[:8]) + "/" + l.Name
}

// maxStoreName is what a store takes; see [limiter.Limit]. Accounts with long names are hashed to fit.
const maxStoreName = 64

// Group names the kind of key, such as "client+number". Limits of one group share one key.
func (l *Limit) Group() string { return groupName(l.By) }

// LimiterLimits is what a store has to define for this policy: first the Delays, then the Limits, then Spend, each in its
// order. A check charges in that order, so that what many sends share comes last.
func (p *Policy) LimiterLimits() []limiter.Limit {
	out := make([]limiter.Limit, 0, len(p.Delays)+len(p.Limits)+len(p.Spend))
	for i := range p.Delays {
		y := &p.Delays[i]
		l := limiter.Limit{Name: "delay/" + y.Purpose, Group: groupName(y.By), Kind: limiter.Delay, Backoff: y.Backoff, FailOpen: y.FailMode != Closed}
		l.Backoff.Insist = y.CountDenied
		out = append(out, l)
	}
	window := func(name string, by []Part, n int64, window time.Duration, mode FailMode) {
		l := limiter.Limit{Name: name, Group: groupName(by), N: n, Window: window, FailOpen: mode != Closed}
		if n > limiter.MaxExact && areShared(by) {
			l.Stripes = sharedStripes
		}
		out = append(out, l)
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		window(l.StoreName(), l.By, l.N, l.Window, l.FailMode)
	}
	for i := range p.Spend {
		b := &p.Spend[i]
		window("spend/"+b.Name, b.By, b.Budget, b.Window, b.FailMode)
	}
	return out
}

// areShared says that all parts of a key are shared, so that its keys are few and hot.
func areShared(by []Part) bool {
	return !slices.ContainsFunc(by, func(p Part) bool { return !p.isShared() })
}

// sharedStripes is how a key that many sends share is divided, so that cores do not meet in it. Four is enough for the cores of
// a sidecar.
const sharedStripes = 4
