package policy

import (
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v4"
)

// BothWays gives an expression to the typed matcher and to CEL itself.
func BothWays(text string) (typedly, byCEL func(*Send) string) {
	env, err := newSendEnv()
	if err != nil {
		panic(err)
	}
	x, wrong := compile(env, text, sendVariables(), []*cel.Type{cel.BoolType}, sendSizes(), maxExpressionCost)
	if wrong != nil {
		panic(text + ": " + wrong[0].message)
	}
	t := typed(x.ast.NativeRep().Expr())
	if t == nil {
		panic(text + " is not typed")
	}
	words := []string{no: "no", yes: "yes", failed: "failed"}
	return func(s *Send) string { return words[t(s)] }, func(s *Send) string { return words[evaluate(x.program, s)] }
}

// CheckPlaces writes a text into a file in some style and looks where its characters are found.
func CheckPlaces(t interface{ Fatalf(string, ...any) }, text, style string) {
	var src string
	switch indented := "    " + strings.ReplaceAll(text, "\n", "\n    "); style {
	case "single":
		src = "a:\n  when: '" + strings.ReplaceAll(strings.ReplaceAll(text, "'", "''"), "\n", "\n\n    ") + "'\n"
	case "double":
		src = "a:\n  when: \"" + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "é", `\u00e9`).Replace(text) + "\"\n"
	case "literal":
		src = "a:\n  when: |-\n" + indented + "\n"
	case "folded":
		src = "a:\n  when: >\n" + indented + "\n"
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(src), &doc); err != nil {
		return // some texts cannot be written so
	}
	n := doc.Content[0].Content[1].Content[1]
	lines := strings.Split(src, "\n")
	where := places([]byte(src), n)
	for i, r := range []rune(n.Value) {
		if r == ' ' || r == '\n' {
			continue
		}
		line := []rune(lines[where[i][0]-1])
		at := line[where[i][1]-1]
		if at != r && !(style == "double" && at == '\\') {
			t.Fatalf("%s: rune %d %q of %q is found at %v %q\n%s", style, i, r, n.Value, where[i], at, src)
		}
	}
}
