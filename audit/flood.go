package audit

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// flood bounds what refusals cost while an attack lasts. A token bucket says which are written one by one; the others are counted
// by what was answered to whom, and each second's counts become one record, so that every refusal is in the log either way. Without
// it an attacker buys a sealed line of half a kilobyte with each request, and pushes the lines of his first minutes out of the log.
type flood struct {
	rate, burst, tokens float64
	at                  time.Time // of the last refill

	mu      sync.Mutex // guards counted, which a ticker takes
	counted map[refusal]uint64
}

// refusal is what refusals are counted by.
type refusal struct{ kind, reason, account string }

// burstSeconds of the rate may be written at once, after a time of quiet.
const burstSeconds = 30

// maxRefusals bounds how many kinds of refusals are told apart in a second: accounts may be what a caller says.
const maxRefusals = 256

func newFlood(rate float64) *flood {
	return &flood{rate: rate, burst: rate * burstSeconds, tokens: rate * burstSeconds, counted: map[refusal]uint64{}}
}

// pass says whether a refusal at this time is written. Of one goroutine.
func (f *flood) pass(at time.Time) bool {
	if f.rate == 0 {
		return true
	}
	if gone := at.Sub(f.at); gone > 0 {
		if !f.at.IsZero() {
			f.tokens = min(f.burst, f.tokens+gone.Seconds()*f.rate)
		}
		f.at = at
	}
	if f.tokens < 1 {
		return false
	}
	f.tokens--
	return true
}

// count remembers a refusal that is not written.
func (f *flood) count(r refusal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counted[r] == 0 && len(f.counted) >= maxRefusals {
		r = refusal{kind: r.kind}
	}
	f.counted[r]++
}

// Counted is the data of KindCounted: refusals that were not written one by one.
type Counted struct {
	Refusals []Refusals `json:"refusals"`
}

// Refusals are how many were refused for a reason in an account; both empty for what came last of too many reasons and accounts.
type Refusals struct {
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	Account string `json:"account,omitempty"`
	Count   uint64 `json:"count"`
}

// take returns what was counted since the last call, most first; nil for nothing.
func (f *flood) take() *Counted {
	f.mu.Lock()
	counted := f.counted
	if len(counted) > 0 {
		f.counted = map[refusal]uint64{}
	}
	f.mu.Unlock()
	if len(counted) == 0 {
		return nil
	}
	c := &Counted{}
	for r, n := range counted {
		c.Refusals = append(c.Refusals, Refusals{Verdict: r.kind, Reason: r.reason, Account: Clean(r.account), Count: n})
	}
	slices.SortFunc(c.Refusals, func(a, b Refusals) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Account, b.Account))
	})
	return c
}

// Total is how many there are in it.
func (c *Counted) Total() (n uint64) {
	for _, r := range c.Refusals {
		n += r.Count
	}
	return n
}
