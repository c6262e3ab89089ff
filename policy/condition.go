package policy

import (
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"cel.dev/cel-go/cel"
)

// Condition is a when: a question about a send, written in CEL. It was compiled and type-checked when the policy was read.
// Most are answered by a typed matcher that allocates nothing; what that cannot express is evaluated by CEL, at about ten times
// the cost. It is safe for concurrent use. A nil Condition holds for every send.
type Condition struct {
	text    string
	test    test        // nil where the expression needs CEL itself
	program cel.Program // nil where it does not
	about   []string    // the variables that it asks, such as "send.country"
	// compared are the literals that it compares dimensions with. opaque says that it asks for more than those.
	compared map[dimension][]string
	opaque   bool
	// accounts are the names that it compares the account with, for judgeMatches.
	accounts []named

	failures atomic.Uint64
}

// Holds reports whether c picks s. A condition that cannot be answered, because a send lacks an attribute that it asks for or it
// costs more than a condition may, holds: a rule that cannot be judged away applies. Failures counts these.
func (c *Condition) Holds(s *Send) bool {
	if c == nil {
		return true
	}
	answer := c.answer(s)
	if answer == failed {
		c.failures.Add(1)
	}
	return answer != no
}

// Failures is how often it could not be answered since the policy was read.
func (c *Condition) Failures() uint64 {
	if c == nil {
		return 0
	}
	return c.failures.Load()
}

// String is the expression, with what could be a number masked; "" for nil.
func (c *Condition) String() string { return maskDigits(c.clear()) }

// MarshalText is String.
func (c *Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// clear is the expression as it was written, for the version of a policy.
func (c *Condition) clear() string {
	if c == nil {
		return ""
	}
	return c.text
}

// IsTyped reports whether it is answered without CEL.
func (c *Condition) IsTyped() bool { return c == nil || c.test != nil }

// AsksPlan reports whether it needs what the numbering plan says: country or type.
func (c *Condition) AsksPlan() bool { return c.asks(varCountry) || c.asks(varType) }

// AsksKnownGood reports whether it tells numbers that verified recently from others.
func (c *Condition) AsksKnownGood() bool { return c.asks(varKnownGood) }

// maybe is Holds for a send of which only the dimensions are known.
func (c *Condition) maybe(s *Send) bool { return c == nil || c.opaque || c.Holds(s) }

func (c *Condition) asks(variable string) bool { return c != nil && has(c.about, variable) }

// ConditionFailures is how often conditions of this policy could not be answered, by the name of the rule that has one; a delay is
// called "delay:PURPOSE".
func (p *Policy) ConditionFailures() map[string]uint64 {
	out := make(map[string]uint64)
	seen := make(map[*Condition]bool) // limits of accounts share that of the limit they stand in for
	for rule, c := range p.conditions() {
		if !seen[c] {
			seen[c] = true
			out[rule] += c.Failures()
		}
	}
	return out
}

// conditions yields every condition, with the name of its rule.
func (p *Policy) conditions() iter.Seq2[string, *Condition] {
	return func(yield func(string, *Condition) bool) {
		for i := range p.Limits {
			if l := &p.Limits[i]; l.When != nil && !yield(l.Name, l.When) {
				return
			}
		}
		for i := range p.Spend {
			if b := &p.Spend[i]; b.When != nil && !yield(b.Name, b.When) {
				return
			}
		}
		for i := range p.Delays {
			if y := &p.Delays[i]; y.When != nil && !yield("delay:"+y.Purpose, y.When) {
				return
			}
		}
	}
}

// ConditionVariables are the names that conditions may ask for, sorted.
func ConditionVariables() []string { return slices.Sorted(maps.Keys(sendVariables())) }
