package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/sendgate/sendgate/internal/phone"
)

// comparesOnly reports whether an expression that is typed asks for nothing but whether dimensions are equal to literals.
func comparesOnly(e ast.Expr) bool {
	only := true
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			_, dimension := dimensionOf(e.AsIdent())
			only = only && (dimension || e.AsIdent() == varKnownGood || e.AsIdent() == varChallengePassed)
		case ast.CallKind:
			only = only && !e.AsCall().IsMemberFunction()
		case ast.SelectKind:
			only = false
		}
	}))
	return only
}

// literal is a text that a condition compares something with.
type literal struct {
	expr    ast.Expr
	of      string // the variable, or the function that takes it
	text    string
	dynamic bool // it is no literal, where only one will do
}

// literalsOf is what a call compares with fields that know their words, and what it gives functions that take literals only.
func literalsOf(c ast.CallExpr) []literal {
	args := c.Args()
	switch fn := c.FunctionName(); fn {
	case operators.Equals, operators.NotEquals:
		a, b := args[0], args[1]
		if a.Kind() == ast.LiteralKind {
			a, b = b, a
		}
		if text, ok := textOf(b); ok && a.Kind() == ast.IdentKind {
			return []literal{{expr: b, of: a.AsIdent(), text: text}}
		}
	case operators.In:
		if args[0].Kind() != ast.IdentKind || args[1].Kind() != ast.ListKind {
			return nil
		}
		var out []literal
		for _, e := range args[1].AsList().Elements() {
			if text, ok := textOf(e); ok {
				out = append(out, literal{expr: e, of: args[0].AsIdent(), text: text})
			}
		}
		return out
	case fnHasPrefix, fnInRange, fnWithin, "getHours", "getMinutes", "getDayOfWeek", "getDate", "getDayOfMonth", "getMonth", "getFullYear", "getDayOfYear", "getSeconds", "getMilliseconds":
		if len(args) == 1 {
			if strings.HasPrefix(fn, "get") {
				fn = "zone"
			}
			text, ok := textOf(args[0])
			return []literal{{expr: args[0], of: fn, text: text, dynamic: !ok}}
		}
	}
	return nil
}

// check says what is wrong with a literal.
func (l *literal) check() error {
	if l.dynamic {
		return errors.New("this must be written out: write a text in quotes")
	}
	switch l.of {
	case varCountry:
		return readCountry(new(string), l.text)
	case varType:
		return numberType(new(string)).check(l.text)
	case varPurpose:
		return purpose(new(string)).check(l.text)
	case varChannel:
		return channel(new(string)).check(l.text)
	case varAccount:
		if l.text == "" {
			return nil
		}
		return accountName(new(string)).check(l.text)
	case fnHasPrefix:
		_, err := parseLeading(l.text)
		return err
	case fnInRange:
		_, err := phone.ParseRange(l.text)
		return err
	case fnWithin:
		_, err := parsePrefix(l.text)
		return err
	case "zone":
		if zoneOffset.MatchString(l.text) {
			return nil
		}
		if _, err := time.LoadLocation(l.text); err != nil || l.text == "" || l.text == "Local" {
			return fmt.Errorf("%s is no time zone: write one such as Asia/Singapore or +08:00", quote(l.text))
		}
	}
	return nil
}

var zoneOffset = regexp.MustCompile(`^[+-]?[0-9]{2}:[0-9]{2}$`)
