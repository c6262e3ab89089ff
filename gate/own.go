package gate

import (
	"encoding/binary"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// mark is one thing that is remembered of a check after its answer: a rule of one unit, so that the store says who was first. The
// marks of a check and its tag fill one slot of 64 bytes, which is free again when outcomes would be late.
type mark uint8

const (
	markSent mark = iota
	markDelivered
	markUndelivered
	markVerified // VERIFIED or VERIFIED_OTHER_WAY
	markEnded    // FAILED or EXPIRED
	// markNotSent is claimed last of all words that NOT_SENT takes, and so decides: a process that is killed then leaves this one or none.
	markNotSent
	markSettled // all that the outcome changes elsewhere was done
	marks
)

var markNames = [marks]string{"sent", "delivered", "undelivered", "verified", "ended", "not_sent", "settled"}

// ownRules are what the gate counts beside the policy's rules. Their names begin with "gate/", which no rule of a policy does.
type ownRules struct {
	marks     [marks]*limiter.Rule
	knownGood *limiter.Rule // by account and number
	reporting *limiter.Rule // one key: codes that were entered are reported
	silent    *limiter.Rule // one key: they are not
	verify    verifyRules
}

// clockSlack is how far the clocks of processes that share a store may differ.
const clockSlack = time.Minute

// ownLimits are the limits of ownRules, in the order in which newOwnRules takes the rules.
func ownLimits(p *policy.Policy) []limiter.Limit {
	out := verifyLimits(p)
	for _, name := range markNames {
		out = append(out, limiter.Limit{Name: "gate/" + name, Group: "gate/check", N: 1, Window: p.OTP.OutcomeTimeout + clockSlack})
	}
	marker := func(name, group string) {
		out = append(out, limiter.Limit{Name: "gate/" + name, Group: group, Kind: limiter.Marker, FailOpen: true})
	}
	marker("known_good", "gate/account+number")
	marker("reporting", "gate/feedback")
	marker("silent", "gate/feedback")
	return out
}

func newOwnRules(p *policy.Policy, defined []*limiter.Rule) ownRules {
	var o ownRules
	defined = o.verify.take(p, defined)
	defined = defined[copy(o.marks[:], defined[:marks]):]
	o.knownGood, o.reporting, o.silent = defined[0], defined[1], defined[2]
	return o
}

// key hashes the bytes of a key, to what a check id has room for.
func (g *Gate) key(b []byte) limiter.Key { return shortKey(g.store.Key(b)) }

// checkKey is the key of what is remembered of a check.
func (g *Gate) checkKey(c *checkID) limiter.Key {
	var b [12]byte
	copy(b[:], c.start[:])
	binary.BigEndian.PutUint64(b[4:], c.sequence)
	return g.key(b[:])
}

// numberKey is the key of what an account knows of a number. Another account knows nothing of it: a customer must not be able to
// speak for the numbers of others.
func (g *Gate) numberKey(account string, number uint64) limiter.Key {
	return g.key(appendNumberKey(nil, account, number))
}

func appendNumberKey(b []byte, account string, number uint64) []byte {
	return append(binary.BigEndian.AppendUint64(b, number), account...)
}
