package phone

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// automaton reads a number digit by digit and ends in a state that knows the
// answer: one table look-up a digit, no allocation. libphonenumber describes a
// plan by dozens of regular expressions; the automaton is all of them at once.
type automaton []state

// state 0 is the dead end: whatever digits follow, the verdict is 0.
type state struct {
	next    [10]uint16 // by digit
	verdict uint16     // for a number that ends here
}

// read returns the verdict on ASCII digits.
func (a automaton) read(digits []byte) uint16 {
	s := &a[len(a)-1] // the start state is built last
	for _, d := range digits {
		s = &a[s.next[d-'0']]
	}
	return s.verdict
}

// recognizes reports whether some beginning of the ASCII digits has a verdict.
func (a automaton) recognizes(digits string) bool {
	s := &a[len(a)-1]
	for i := 0; i < len(digits); i++ {
		next := s.next[digits[i]-'0']
		if next == 0 {
			return false
		}
		if s = &a[next]; s.verdict != 0 {
			return true
		}
	}
	return false
}

// builder makes an automaton by the subset construction over the compiled
// programs of the patterns.
type builder struct {
	progs  []*syntax.Prog
	base   []uint32 // where the instructions of each program start in one common count
	sticky []bool   // a match of a prefix of the number is a match of the number
	// verdict says what a number of that many digits is worth which the patterns
	// in the set match.
	verdict func(matched []bool, digits int) uint16

	states automaton
	known  map[string]uint16 // by position set and digits read
	same   map[state]uint16  // equal states are one state
}

// add takes in a pattern and returns its index in the matched of verdict. A
// pattern of prefixes matches any number that starts with it. The patterns come
// with libphonenumber and a test builds them all, so none is in error.
func (b *builder) add(pattern string, prefixes bool) int {
	prog := &syntax.Prog{Inst: []syntax.Inst{{Op: syntax.InstFail}}}
	if re, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		if p, err := syntax.Compile(re.Simplify()); err == nil {
			prog = p
		}
	}
	next := uint32(0)
	if k := len(b.progs); k > 0 {
		next = b.base[k-1] + uint32(len(b.progs[k-1].Inst))
	}
	b.progs, b.base, b.sticky = append(b.progs, prog), append(b.base, next), append(b.sticky, prefixes)
	return len(b.progs) - 1
}

// build returns the automaton for numbers of at most longest digits.
func (b *builder) build(longest int) automaton {
	b.states = make(automaton, 1, 64)
	b.known = map[string]uint16{}
	b.same = map[state]uint16{{}: 0}
	var start []uint32
	for i, prog := range b.progs {
		start = b.follow(start, i, uint32(prog.Start))
	}
	id := b.state(start, 0, longest)
	if int(id) != len(b.states)-1 {
		b.states = append(b.states, b.states[id])
	}
	return b.states
}

// state returns the state of a position set after so many digits.
func (b *builder) state(set []uint32, digits, longest int) uint16 {
	if len(set) == 0 {
		return 0
	}
	slices.Sort(set)
	set = slices.Compact(set)
	key := make([]byte, 1, 1+4*len(set))
	key[0] = byte(digits)
	for _, at := range set {
		key = binary.LittleEndian.AppendUint32(key, at)
	}
	if id, ok := b.known[string(key)]; ok {
		return id
	}
	var s state
	matched := make([]bool, len(b.progs))
	for _, at := range set {
		i, pc := b.locate(at)
		matched[i] = matched[i] || b.progs[i].Inst[pc].Op == syntax.InstMatch
	}
	s.verdict = b.verdict(matched, digits)
	if digits < longest {
		for d := range s.next {
			s.next[d] = b.state(b.step(set, rune('0'+d)), digits+1, longest)
		}
	}
	id, ok := b.same[s]
	if !ok {
		id = uint16(len(b.states))
		b.states = append(b.states, s)
		b.same[s] = id
	}
	b.known[string(key)] = id
	return id
}

// step returns the positions after one more digit.
func (b *builder) step(set []uint32, digit rune) []uint32 {
	var out []uint32
	for _, at := range set {
		i, pc := b.locate(at)
		switch inst := &b.progs[i].Inst[pc]; inst.Op {
		case syntax.InstMatch:
			if b.sticky[i] {
				out = append(out, at)
			}
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			out = b.follow(out, i, inst.Out)
		case syntax.InstRune, syntax.InstRune1:
			if inst.MatchRune(digit) {
				out = b.follow(out, i, inst.Out)
			}
		}
	}
	return out
}

// follow adds pc and what it leads to without a digit. It takes ^ and $ as met,
// which can only make a pattern match more.
func (b *builder) follow(set []uint32, i int, pc uint32) []uint32 {
	switch inst := &b.progs[i].Inst[pc]; inst.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return b.follow(b.follow(set, i, inst.Out), i, inst.Arg)
	case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
		return b.follow(set, i, inst.Out)
	case syntax.InstFail:
		return set
	default:
		return append(set, b.base[i]+pc)
	}
}

func (b *builder) locate(at uint32) (program int, pc uint32) {
	i, found := slices.BinarySearch(b.base, at)
	if !found {
		i--
	}
	return i, at - b.base[i]
}
