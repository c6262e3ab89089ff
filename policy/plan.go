package policy

import (
	"math/bits"
	"slices"

	"github.com/sendgate/sendgate/internal/clientip"
)

// Plan is the rules that one send meets and the keys they count under. It is scratch space: the zero Plan is ready, reuse
// it from send to send and it stops allocating. It belongs to one goroutine.
type Plan struct {
	// Enforced and Shadow are the limits that apply, each in the order of Policy.Limits.
	Enforced, Shadow []Charge
	// Delays and Spend are those that apply, in the order of the policy's, whatever their mode.
	Delays, Spend []Charge

	bytes []byte
	ends  []int // where key i ends in bytes
	keyOf []int // of each group: 0 not built yet, -1 the send has no such key, else index in ends plus 1
	live  []uint64
}

// Charge is one rule that applies to a send.
type Charge struct {
	Rule int // index in Policy.Limits, Policy.Delays or Policy.Spend
	Key  int // for Plan.Key; rules of one group share it
}

// Keys is how many different keys the plan has.
func (pl *Plan) Keys() int { return len(pl.ends) }

// Key is the bytes of a key, valid until the next Policy.Plan. They hold the number in clear: hash them, never store them.
func (pl *Plan) Key(i int) []byte {
	start := 0
	if i > 0 {
		start = pl.ends[i-1]
	}
	return pl.bytes[start:pl.ends[i]]
}

// Plan fills pl with the rules that apply to s. It does not allocate once pl has grown, and reads p only.
func (p *Policy) Plan(s *Send, pl *Plan) {
	x := &p.index
	pl.Enforced, pl.Shadow = pl.Enforced[:0], pl.Shadow[:0]
	pl.Delays, pl.Spend = pl.Delays[:0], pl.Spend[:0]
	pl.bytes, pl.ends = pl.bytes[:0], pl.ends[:0]
	pl.keyOf = append(pl.keyOf[:0], x.noKeys...)
	pl.live = append(pl.live[:0], x.all...)
	for i := range x.asked {
		a := &x.asked[i]
		pl.live = and(pl.live, a.accepting(s.value(a.dimension)))
	}
	for word, live := range pl.live {
		for ; live != 0; live &= live - 1 {
			i := word<<6 + bits.TrailingZeros64(live)
			l := &x.limits[i]
			if l.asks && !p.Limits[i].picks(s) {
				continue
			}
			key := pl.key(p, l.group, s)
			switch {
			case key < 0:
			case l.shadow:
				pl.Shadow = append(pl.Shadow, Charge{i, key})
			default:
				pl.Enforced = append(pl.Enforced, Charge{i, key})
			}
		}
	}
	// Delays and budgets are few, so each is asked.
	for i := range p.Delays {
		y := &p.Delays[i]
		if y.Purpose != s.Purpose || y.OnLimit == Challenge && s.ChallengePassed || !y.When.Holds(s) {
			continue
		}
		if key := pl.key(p, x.delays[i], s); key >= 0 {
			pl.Delays = append(pl.Delays, Charge{i, key})
		}
	}
	for i := range p.Spend {
		b, at := &p.Spend[i], &x.spend[i]
		if at.match && !b.Match.Holds(s) || at.unless && b.Unless.Holds(s) || !b.When.Holds(s) {
			continue
		}
		if key := pl.key(p, at.group, s); key >= 0 {
			pl.Spend = append(pl.Spend, Charge{i, key})
		}
	}
}

// key returns the index of the group's key, and builds it when it is the first of its group to be asked for.
func (pl *Plan) key(p *Policy, g int, s *Send) int {
	if k := pl.keyOf[g]; k != 0 {
		return max(k-1, -1)
	}
	b, ok := p.index.groups[g].appendKey(pl.bytes, s, &p.ClientAddress, p.index.tier)
	pl.bytes = b
	if !ok {
		pl.keyOf[g] = -1
		return -1
	}
	pl.ends = append(pl.ends, len(b))
	pl.keyOf[g] = len(pl.ends)
	return len(pl.ends) - 1
}

// index answers "which limits accept this send" with one bit set for each dimension that some limit asks about: the cost
// grows with the dimensions, hardly with the limits.
type index struct {
	all    []uint64 // a bit for each limit
	asked  []answers
	limits []planned
	delays []int // the group of each
	spend  []plannedSpend
	groups []group
	noKeys []int // a zero for each group
	tier   clientip.Tier
}

// planned is what Plan needs of a limit, in few bytes: a Limit has many.
type planned struct {
	group        int
	asks, shadow bool // asks: it has an unless or a when
}

type plannedSpend struct {
	group         int
	match, unless bool // that there is one
}

// answers is which limits accept which value of a dimension.
type answers struct {
	dimension dimension
	byValue   map[string][]uint64
	others    []uint64 // for values that no limit names
}

func (a *answers) accepting(v string) []uint64 {
	if set, ok := a.byValue[v]; ok {
		return set
	}
	return a.others
}

func and(a, b []uint64) []uint64 {
	for i := range a {
		a[i] &= b[i]
	}
	return a
}

// newIndex is called once, when the policy is parsed and its limits have their order.
func (p *Policy) newIndex() index {
	n := len(p.Limits)
	x := index{all: make([]uint64, (n+63)/64), limits: make([]planned, n)}
	// NewTier fails for widths that the schema refuses.
	x.tier, _ = clientip.NewTier(32, p.ClientAddress.IPv6Prefix)
	byName := make(map[string]int)
	groupOf := func(by []Part) int {
		g, known := byName[groupName(by)]
		if !known {
			g = len(x.groups)
			byName[groupName(by)] = g
			x.groups = append(x.groups, newGroup(by))
		}
		return g
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		x.all[i>>6] |= 1 << (i & 63)
		x.limits[i] = planned{group: groupOf(l.By), asks: !l.Unless.empty() || l.When != nil, shadow: l.Mode == Shadow}
	}
	for i := range p.Delays {
		x.delays = append(x.delays, groupOf(p.Delays[i].By))
	}
	for i := range p.Spend {
		b := &p.Spend[i]
		x.spend = append(x.spend, plannedSpend{groupOf(b.By), !b.Match.empty(), !b.Unless.empty()})
	}
	x.noKeys = make([]int, len(x.groups))
	for d := range dimensions {
		if a, asked := p.answers(d); asked {
			x.asked = append(x.asked, a)
		}
	}
	return x
}

// answers tabulates a dimension. It reports false when no limit asks about it.
func (p *Policy) answers(d dimension) (answers, bool) {
	a := answers{dimension: d, byValue: make(map[string][]uint64), others: make([]uint64, (len(p.Limits)+63)/64)}
	for i := range p.Limits {
		if p.Limits[i].Match.values(d) == nil {
			a.others[i>>6] |= 1 << (i & 63)
		}
	}
	of := func(v string) []uint64 {
		if a.byValue[v] == nil {
			a.byValue[v] = slices.Clone(a.others)
		}
		return a.byValue[v]
	}
	for i := range p.Limits {
		for _, v := range p.Limits[i].Match.values(d) {
			of(v)[i>>6] |= 1 << (i & 63)
		}
	}
	for i := range p.Limits { // last, because it takes back what a match gave
		for _, v := range p.Limits[i].replacedFor(d) {
			of(v)[i>>6] &^= 1 << (i & 63)
		}
	}
	return a, len(a.byValue) > 0
}

// picks answers what the index does not: unless and when.
func (l *Limit) picks(s *Send) bool {
	return (l.Unless.empty() || !l.Unless.Holds(s)) && l.When.Holds(s)
}

// replacedFor is the values of a dimension for which another limit of the same name stands in for l.
func (l *Limit) replacedFor(d dimension) []string {
	switch {
	case d == byAccount:
		return l.NotAccounts
	case d == byKnownGood && l.NotKnownGood, d == byChallengePassed && l.NotAfterChallenge:
		return []string{"true"}
	}
	return nil
}
