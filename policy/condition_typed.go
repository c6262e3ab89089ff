package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/sendgate/sendgate/internal/phone"
)

// outcome is what a condition comes to.
type outcome uint8

const (
	no outcome = iota
	yes
	failed
)

func outcomeOf(b bool) outcome {
	if b {
		return yes
	}
	return no
}

// test is a condition as Go: what CEL would answer, without CEL, and without allocating.
type test func(*Send) outcome

// typed turns an expression into a test, or returns nil where it has a part that only CEL can do. Only what conditions are mostly
// made of is known here: and, or, not, ?:, fields compared with literals, prefixes, ranges, blocks and hours.
func typed(e ast.Expr) test {
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			answer := outcomeOf(bool(b))
			return func(*Send) outcome { return answer }
		}
	case ast.IdentKind:
		switch e.AsIdent() {
		case varKnownGood:
			return func(s *Send) outcome { return outcomeOf(s.KnownGood) }
		case varChallengePassed:
			return func(s *Send) outcome { return outcomeOf(s.ChallengePassed) }
		}
	case ast.SelectKind: // has(send.attributes.tier)
		x := e.AsSelect()
		if x.IsTestOnly() && isVar(x.Operand(), varAttributes) {
			return hasAttribute(x.FieldName())
		}
	case ast.CallKind:
		return typedCall(e.AsCall())
	}
	return nil
}

func typedCall(c ast.CallExpr) test {
	args := c.Args()
	switch c.FunctionName() {
	case operators.LogicalNot:
		return negated(typed(args[0]))
	case operators.LogicalAnd:
		return chained(args, no)
	case operators.LogicalOr:
		return chained(args, yes)
	case operators.Conditional:
		return chosen(typed(args[0]), typed(args[1]), typed(args[2]))
	case operators.Equals:
		return equality(args[0], args[1])
	case operators.NotEquals:
		return negated(equality(args[0], args[1]))
	case operators.In:
		return membership(args[0], args[1])
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return comparison(c.FunctionName(), args[0], args[1])
	}
	if c.IsMemberFunction() && len(args) == 1 {
		if text, ok := textOf(args[0]); ok {
			return member(c.FunctionName(), c.Target(), text)
		}
	}
	return nil
}

func negated(t test) test {
	if t == nil {
		return nil
	}
	return func(s *Send) outcome {
		switch t(s) {
		case no:
			return yes
		case yes:
			return no
		}
		return failed
	}
}

// chained is && (decided by no) and || (decided by yes). As in CEL, a side that decides outweighs one that failed.
func chained(args []ast.Expr, decides outcome) test {
	tests := make([]test, len(args))
	for i, a := range args {
		if tests[i] = typed(a); tests[i] == nil {
			return nil
		}
	}
	return func(s *Send) outcome {
		answer := yes
		if decides == yes {
			answer = no
		}
		for _, t := range tests {
			switch t(s) {
			case decides:
				return decides
			case failed:
				answer = failed
			}
		}
		return answer
	}
}

func chosen(condition, then, otherwise test) test {
	if condition == nil || then == nil || otherwise == nil {
		return nil
	}
	return func(s *Send) outcome {
		switch condition(s) {
		case yes:
			return then(s)
		case no:
			return otherwise(s)
		}
		return failed
	}
}

// equality is a field and a literal, either first.
func equality(a, b ast.Expr) test {
	if a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	if text, ok := textOf(b); ok {
		if d, ok := textVar(a); ok {
			return func(s *Send) outcome { return outcomeOf(s.value(d) == text) }
		}
		if key, ok := attributeOf(a); ok {
			return func(s *Send) outcome {
				v, there := s.Attributes[key]
				if !there {
					return failed // as CEL: no such key
				}
				return outcomeOf(v == text)
			}
		}
	}
	if b.Kind() == ast.LiteralKind {
		if want, ok := b.AsLiteral().(types.Bool); ok {
			if bool(want) {
				return typed(a)
			}
			return negated(typed(a))
		}
	}
	return comparison(operators.Equals, a, b)
}

// membership is a field in a list of literals, or a literal in the attributes.
func membership(a, b ast.Expr) test {
	if key, ok := textOf(a); ok && isVar(b, varAttributes) {
		return hasAttribute(key)
	}
	d, ok := textVar(a)
	if !ok || b.Kind() != ast.ListKind {
		return nil
	}
	var words []string
	for _, e := range b.AsList().Elements() {
		word, ok := textOf(e)
		if !ok {
			return nil
		}
		words = append(words, word)
	}
	return func(s *Send) outcome { return outcomeOf(slices.Contains(words, s.value(d))) }
}

func hasAttribute(key string) test {
	return func(s *Send) outcome {
		_, there := s.Attributes[key]
		return outcomeOf(there)
	}
}

// comparison is a whole number of the send and a literal, the number first or turned around.
func comparison(operator string, a, b ast.Expr) test {
	of := wholeOf(a)
	if of == nil {
		a, b, operator = b, a, turned(operator)
		if of = wholeOf(a); of == nil {
			return nil
		}
	}
	if b.Kind() != ast.LiteralKind {
		return nil
	}
	v, ok := b.AsLiteral().(types.Int)
	if !ok {
		return nil
	}
	than := int64(v)
	switch operator {
	case operators.Equals:
		return func(s *Send) outcome { return outcomeOf(of(s) == than) }
	case operators.Less:
		return func(s *Send) outcome { return outcomeOf(of(s) < than) }
	case operators.LessEquals:
		return func(s *Send) outcome { return outcomeOf(of(s) <= than) }
	case operators.Greater:
		return func(s *Send) outcome { return outcomeOf(of(s) > than) }
	case operators.GreaterEquals:
		return func(s *Send) outcome { return outcomeOf(of(s) >= than) }
	}
	return nil
}

func turned(operator string) string {
	switch operator {
	case operators.Less:
		return operators.Greater
	case operators.LessEquals:
		return operators.GreaterEquals
	case operators.Greater:
		return operators.Less
	case operators.GreaterEquals:
		return operators.LessEquals
	}
	return operator
}

// wholeOf is a whole number of the send: its cost, or the hour or weekday in a place.
func wholeOf(e ast.Expr) func(*Send) int64 {
	if isVar(e, varCost) {
		return func(s *Send) int64 { return s.Cost }
	}
	if e.Kind() != ast.CallKind {
		return nil
	}
	c := e.AsCall()
	if !c.IsMemberFunction() || !isVar(c.Target(), varTime) || len(c.Args()) > 1 {
		return nil
	}
	zone := time.UTC
	if len(c.Args()) == 1 {
		name, ok := textOf(c.Args()[0])
		if !ok {
			return nil
		}
		var err error
		if zone, err = time.LoadLocation(name); err != nil {
			return nil // an offset such as +08:00, which CEL reads
		}
	}
	switch c.FunctionName() {
	case "getHours":
		return func(s *Send) int64 { return int64(s.At.In(zone).Hour()) }
	case "getMinutes":
		return func(s *Send) int64 { return int64(s.At.In(zone).Minute()) }
	case "getDayOfWeek":
		return func(s *Send) int64 { return int64(s.At.In(zone).Weekday()) }
	}
	return nil
}

// member is a function of a field with one literal.
func member(name string, target ast.Expr, text string) test {
	if d, ok := textVar(target); ok {
		switch name {
		case "startsWith":
			return func(s *Send) outcome { return outcomeOf(strings.HasPrefix(s.value(d), text)) }
		case "endsWith":
			return func(s *Send) outcome { return outcomeOf(strings.HasSuffix(s.value(d), text)) }
		case "contains":
			return func(s *Send) outcome { return outcomeOf(strings.Contains(s.value(d), text)) }
		}
		return nil
	}
	switch {
	case name == fnHasPrefix && isVar(target, varNumber):
		if l, err := parseLeading(text); err == nil {
			return func(s *Send) outcome { return outcomeOf(l.begins(s.Number)) }
		}
	case name == fnInRange && isVar(target, varNumber):
		if r, err := phone.ParseRange(text); err == nil {
			return func(s *Send) outcome { return outcomeOf(r.Contains(s.Number)) }
		}
	case name == fnWithin && isVar(target, varClient):
		if p, err := parsePrefix(text); err == nil {
			return within(p)
		}
	}
	return nil
}

func within(p netip.Prefix) test {
	return func(s *Send) outcome { return outcomeOf(p.Contains(s.Client)) }
}

func isVar(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

// textVar is the dimension of a variable that is a text.
func textVar(e ast.Expr) (dimension, bool) {
	if e.Kind() != ast.IdentKind {
		return 0, false
	}
	return dimensionOf(e.AsIdent())
}

// attributeOf is the key of send.attributes["tier"] and of send.attributes.tier.
func attributeOf(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.CallKind:
		if c := e.AsCall(); c.FunctionName() == operators.Index && isVar(c.Args()[0], varAttributes) {
			return textOf(c.Args()[1])
		}
	case ast.SelectKind:
		if x := e.AsSelect(); !x.IsTestOnly() && isVar(x.Operand(), varAttributes) {
			return x.FieldName(), true
		}
	}
	return "", false
}

func textOf(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
