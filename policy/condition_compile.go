package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
)

// finding is what is wrong at one place of an expression.
type finding struct {
	offset  int // in runes from its begin
	message string
}

// named is a name in an expression that must exist elsewhere in the policy.
type named struct {
	name         string
	line, column int // in the file
}

// expression is an expression that CEL has accepted.
type expression struct {
	text    string
	ast     *cel.Ast
	program cel.Program
	about   []string
}

// compile reads an expression in an environment. It finds everything that is wrong, or nothing.
func compile(env *cel.Env, text string, vars map[string]*cel.Type, want []*cel.Type, lengths cost.Estimator, most uint64) (*expression, []finding) {
	if len(text) > maxExpression {
		return nil, []finding{{0, fmt.Sprintf("it is longer than %d bytes: write a shorter one, or several rules", maxExpression)}}
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, findings(text, issues.Errors(), knownWords(vars))
	}
	if out := checked.OutputType(); !slices.ContainsFunc(want, func(t *cel.Type) bool { return t.IsEquivalentType(out) }) {
		return nil, []finding{{0, fmt.Sprintf("this is a %s and not a %s%s", typeName(out), typeName(want[0]), comparing(out, want[0]))}}
	}
	estimate, err := env.EstimateCost(checked, lengths)
	switch {
	case err != nil:
		return nil, []finding{{0, "its cost cannot be estimated: write a simpler one"}}
	case estimate.Max > most:
		return nil, []finding{{0, fmt.Sprintf("it may cost %s steps for one message and %d are allowed: leave out loops in loops and long patterns", steps(estimate.Max), most)}}
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(most))
	if err != nil {
		return nil, []finding{{0, "it cannot be made into a program: " + maskDigits(firstLine(err.Error()))}}
	}
	x := &expression{text: text, ast: checked, program: program}
	for _, r := range checked.NativeRep().ReferenceMap() {
		if _, is := vars[r.Name]; is && !slices.Contains(x.about, r.Name) {
			x.about = append(x.about, r.Name)
		}
	}
	slices.Sort(x.about)
	return x, nil
}

// knownWords are what a misspelt word may be: a variable, or a function of one.
func knownWords(vars map[string]*cel.Type) []string {
	words := slices.Sorted(maps.Keys(vars))
	if _, request := vars[varRequest]; request {
		return append(append(words, slices.Sorted(maps.Keys(requestParts()))...), fnHas)
	}
	return append(words, fnHasPrefix, fnInRange, fnWithin, "getHours", "getDayOfWeek", "getMinutes", "startsWith", "endsWith", "contains", "matches")
}

// steps is a cost for people.
func steps(n uint64) string {
	if n > 1_000_000_000 {
		return "more than a billion"
	}
	return fmt.Sprint(n)
}

func comparing(out, want *cel.Type) string {
	if want == cel.BoolType && out == cel.StringType {
		return `: compare it, such as == "SG"`
	}
	return ""
}

// findings puts CEL's errors into words of ours.
func findings(text string, errs []*cel.Error, vars []string) []finding {
	var out []finding
	for _, e := range errs {
		f := finding{offsetOf(text, e.Location), maskDigits(firstLine(e.Message))}
		if syntax, is := strings.CutPrefix(f.message, "Syntax error: "); is {
			what, _, _ := strings.Cut(syntax, " expecting ")
			f.message = "this is not CEL: " + strings.ReplaceAll(what, "'<EOF>'", "the end")
			return []finding{{f.offset, f.message + ": check quotes, brackets and operators (==, !=, &&, ||, !, in)"}}
		}
		if m := undeclared.FindStringSubmatch(f.message); m != nil {
			f.offset = startOf(text, f.offset, m[1])
			f.message = fmt.Sprintf("there is no %s%s", quote(m[1]), remedy(m[1], vars))
		} else if m := noOverload.FindStringSubmatch(f.message); m != nil {
			f.message = overloadMessage(m[1], m[2])
		} else if f.message == "invalid matches argument" {
			f.message = "this is no pattern: write a regular expression of RE2"
		}
		out = append(out, f)
	}
	return out
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)
)

// overloadMessage says what does not go together: "(string, int)" for an operator, "number.(string)" for a member.
func overloadMessage(function, applied string) string {
	if target, _, member := strings.Cut(applied, ".("); member {
		return fmt.Sprintf("a %s has no %s for this%s", target, function, membersOf(target))
	}
	operator, _ := operators.FindReverse(function)
	if operator == "" {
		operator = function
	}
	return fmt.Sprintf("%s does not go with %s: write both sides of one type", operator, strings.Trim(applied, "()"))
}

func membersOf(target string) string {
	switch target {
	case numberCEL.TypeName():
		return `: write .hasPrefix("+6591") or .inRange("+6591234***")`
	case clientCEL.TypeName():
		return `: write .within("203.0.113.0/24")`
	}
	return ": write a literal of its type"
}

func typeName(t *cel.Type) string {
	switch t {
	case cel.BoolType:
		return "true or false"
	case cel.StringType:
		return "text"
	}
	return t.String()
}

// startOf moves from the dot in the middle of a name, where CEL points, to where the name begins.
func startOf(text string, offset int, name string) int {
	runes := []rune(text)
	length := utf8.RuneCountInString(name)
	for at := offset; at >= max(0, offset-length); at-- {
		if at+length <= len(runes) && string(runes[at:at+length]) == name {
			return at
		}
	}
	return offset
}

// offsetOf is a location as an offset in runes.
func offsetOf(text string, at common.Location) int {
	line, offset := 1, 0
	for _, r := range text {
		if line == at.Line() {
			break
		}
		if offset++; r == '\n' {
			line++
		}
	}
	return min(offset+max(at.Column(), 0), utf8.RuneCountInString(text))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// sendSizes bounds the variables of conditions.
func sendSizes() sizes {
	name := cost.SizeEstimate{Max: maxNameBytes}
	one := cost.SizeEstimate{Max: 1}
	z := sizes{varNumber: one, varClient: one, varAttributes: {Max: maxAttributes}, varAttributes + " @keys": {Max: 64}, varAttributes + " @values": {Max: maxAttributeBytes}}
	for _, v := range []string{varAccount, varSubaccount, varEndpoint, varChannel, varPurpose, varCountry, varType} {
		z[v] = name
	}
	return z
}

// compileCondition makes a condition of a text.
func compileCondition(env *cel.Env, text string) (*Condition, []finding) {
	x, wrong := compile(env, text, sendVariables(), []*cel.Type{cel.BoolType}, sendSizes(), maxExpressionCost)
	if wrong != nil {
		return nil, wrong
	}
	c := &Condition{text: text, about: x.about, compared: make(map[dimension][]string)}
	info := x.ast.NativeRep().SourceInfo()
	at := func(e ast.Expr) int { return offsetOf(text, info.GetStartLocation(e.ID())) }
	ast.PostOrderVisit(x.ast.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		for _, l := range literalsOf(e.AsCall()) {
			if err := l.check(); err != nil {
				wrong = append(wrong, finding{at(l.expr), err.Error()})
				continue
			}
			if d, ok := dimensionOf(l.of); ok {
				c.compared[d] = append(c.compared[d], l.text)
			}
			if l.of == varAccount {
				c.accounts = append(c.accounts, named{name: l.text, column: at(l.expr)}) // placed by the reader
			}
		}
	}))
	if wrong != nil {
		return nil, wrong
	}
	if c.test = typed(x.ast.NativeRep().Expr()); c.test == nil {
		c.program = x.program
	}
	c.opaque = c.test == nil || !comparesOnly(x.ast.NativeRep().Expr())
	return c, nil
}
