package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// Parse reads a policy. The name is for messages: the path of the file. When anything is wrong the error is an [*Error] that
// lists every problem, and there is no policy.
func Parse(name string, src []byte) (*Policy, error) {
	p, _, err := parse(name, src)
	return p, err
}

// parse also returns where everything stands.
func parse(name string, src []byte) (*Policy, *decoder, error) {
	d := newDecoder(name)
	p := &Policy{Name: name}
	if root := d.document(src); root != nil {
		d.object(root, "", policyFields(p), false)
		d.judge(p)
	}
	if len(d.problems) > 0 {
		return nil, nil, &Error{Problems: sortProblems(d.problems)}
	}
	p.settle()
	p.Version = p.version()
	p.index = p.newIndex()
	return p, d, nil
}

// settle fills in what one part of a checked policy says about another.
func (p *Policy) settle() {
	p.settleChallenges()
	p.settleLimits()
	if p.Proxies != nil {
		p.Proxies.settle()
	}
	if b := &p.Numbers; b.Recommended == Recommended {
		types := recommendedTypes()
		maps.Copy(types, b.Types)
		b.Types = types
		if b.Invalid == "" {
			b.Invalid = Deny
		}
	}
	if p.Numbers.Invalid == "" {
		p.Numbers.Invalid = Allow
	}
	for _, a := range p.Accounts {
		if a.DefaultRegion == "" {
			a.DefaultRegion = p.Numbers.DefaultRegion
		}
	}
}

// afterChallenge is the limits of sends after a challenge where a policy has none of its own and some of its rules challenge: a
// solved challenge must never open the way for good.
func afterChallenge() []Limit {
	return []Limit{
		{Name: "after-challenge-number", AfterChallenge: true, By: []Part{ByNumber}, N: 5, Window: 30 * time.Minute, OnLimit: Deny, Mode: Enforce},
		{Name: "after-challenge-client", AfterChallenge: true, By: []Part{ByClient}, N: 10, Window: 10 * time.Minute, OnLimit: Deny, Mode: Enforce},
	}
}

// settleChallenges adds the limits after a challenge where they are missing.
func (p *Policy) settleChallenges() {
	challenges := slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.OnLimit == Challenge && l.Mode == Enforce }) ||
		slices.ContainsFunc(p.Delays, func(y Delay) bool { return y.OnLimit == Challenge && y.Mode == Enforce })
	if !challenges || slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.AfterChallenge && l.Mode == Enforce }) {
		return
	}
	for _, l := range afterChallenge() {
		l.FailMode = p.FailMode
		p.Limits = append(p.Limits, l)
	}
}

// settleLimits tells each limit where another of its name stands in for it, drops those that are off, and puts the rest into
// the order of charging.
func (p *Policy) settleLimits() {
	accounts, known, after := make(map[string][]string), make(map[string]bool), make(map[string]bool)
	yes := true
	for i := range p.Limits {
		switch l := &p.Limits[i]; {
		case l.AfterChallenge:
			after[l.Name], l.Match.ChallengePassed = true, &yes
		case l.KnownGood:
			known[l.Name], l.Match.KnownGood = true, &yes
		case l.Account != "":
			accounts[l.Name], l.Match.Account = append(accounts[l.Name], l.Account), []string{l.Account}
		}
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		l.NotKnownGood = known[l.Name] && !l.KnownGood && !l.AfterChallenge
		l.NotAfterChallenge = !l.AfterChallenge && (after[l.Name] || l.OnLimit == Challenge && l.Match.ChallengePassed == nil)
		if !l.KnownGood && !l.AfterChallenge && l.Account == "" {
			l.NotAccounts = accounts[l.Name]
			slices.Sort(l.NotAccounts)
		}
	}
	p.Limits = slices.DeleteFunc(p.Limits, func(l Limit) bool { return l.Mode == Off })
	p.settleCandidates()
	slices.SortStableFunc(p.Limits, func(a, b Limit) int { return rank(&a) - rank(&b) })
	p.Delays = slices.DeleteFunc(p.Delays, func(y Delay) bool { return y.Mode == Off })
	p.Spend = slices.DeleteFunc(p.Spend, func(s Spend) bool { return s.Mode == Off })
}

// rank is when a limit is charged. Keys that most checks share come last, so that a check which is going to be denied has
// met its own limits before it touches what everyone waits for.
func rank(l *Limit) int {
	switch {
	case areShared(l.By):
		return 2
	case l.N > limiter.MaxExact:
		return 1
	}
	return 0
}

// version hashes what the policy says, after defaults and settling, so that spelling does not count. Entries of lists are
// added in clear because they mask themselves.
func (p *Policy) version() string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(p); err != nil {
		// Nothing in a policy can fail to encode: no maps but by string, no functions, no numbers that are not.
		return "unknown"
	}
	for _, entries := range [][]Entry{p.Lists.Allow, p.Lists.Block, p.Lists.TestNumbers} {
		for _, e := range entries {
			_, _ = io.WriteString(h, e.clear()+"\n") // a hash never fails
		}
		_, _ = io.WriteString(h, "\n")
	}
	for rule, c := range p.conditions() { // they mask themselves, too
		_, _ = io.WriteString(h, rule+"\n"+c.clear()+"\n")
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
