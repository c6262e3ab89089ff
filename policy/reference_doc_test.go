package policy_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/policy"
)

const (
	docFile  = "../docs/policy.md"
	docBegin = "<!-- What follows is written by: go test ./policy -run TestReference_doc -update -->\n"
)

// The reference in docs/policy.md is what the parser reads by. Its examples are those of testdata, which parse.
func TestReference_doc(t *testing.T) {
	text, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	byHand, written, found := strings.Cut(string(text), docBegin)
	if !found {
		t.Fatalf("%s has no line %q", docFile, docBegin)
	}
	want := "\n## Reference: the policy\n" + referenceDoc(t, policy.Reference(), "testdata/full.good.yaml") +
		"\n## Reference: the tests of a policy\n" + referenceDoc(t, policy.TestReference(), "testdata/tests.yaml")
	if *update {
		if err := os.WriteFile(docFile, []byte(byHand+docBegin+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if written != want {
		t.Errorf("the reference in %s is stale: go test ./policy -run TestReference_doc -update writes it", docFile)
	}
	for _, name := range policy.WarningNames() {
		if !strings.Contains(byHand, "`"+name+"`") {
			t.Errorf("%s does not tell of the warning %s", docFile, name)
		}
	}
	for _, name := range policy.ConditionVariables() {
		if !strings.Contains(byHand, "`"+name+"`") {
			t.Errorf("%s does not tell of the variable %s", docFile, name)
		}
	}
}

// referenceDoc is a table for each top-level key.
func referenceDoc(t *testing.T, fields []policy.Field, example string) string {
	src, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Load(src, &doc); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	cell := func(s string) string {
		return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
	}
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`) + "`"
	}
	for i, f := range fields {
		if top := !strings.ContainsAny(f.Path, ".["); top || i == 0 {
			fmt.Fprintf(&b, "\n### `%s`\n| key | type | default | range | example | meaning |\n|---|---|---|---|---|---|\n", f.Path)
		}
		standing := code(f.Default)
		if f.Required {
			standing = "required"
		}
		bounds := f.Range
		if bounds == f.Type {
			bounds = ""
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", f.Path, cell(f.Type), standing, cell(bounds), code(exampleOf(doc.Content[0], f.Path)), cell(f.Meaning))
	}
	return b.String()
}

// exampleOf is the first plain value, or list of them, that a file has at a path of the reference.
func exampleOf(n *yaml.Node, path string) string {
	for _, found := range at(n, regexp.MustCompile(`\[\]|[^.\[\]]+`).FindAllString(path, -1)) {
		switch {
		case found.Kind == yaml.ScalarNode && len(found.Value) < 80 && found.Value != "":
			return found.Value
		case found.Kind == yaml.SequenceNode && len(found.Content) > 0 && found.Content[0].Kind == yaml.ScalarNode:
			var words []string
			for _, item := range found.Content {
				words = append(words, item.Value)
			}
			if text := "[" + strings.Join(words, ", ") + "]"; len(text) < 80 {
				return text
			}
		}
	}
	return ""
}

// at is every node at a path; a step of upper-case letters stands for any key.
func at(n *yaml.Node, steps []string) (out []*yaml.Node) {
	if len(steps) == 0 {
		return []*yaml.Node{n}
	}
	if steps[0] == "[]" {
		if n.Kind == yaml.SequenceNode {
			for _, item := range n.Content {
				out = append(out, at(item, steps[1:])...)
			}
		}
		return out
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == steps[0] || steps[0] == strings.ToUpper(steps[0]) {
			out = append(out, at(n.Content[i+1], steps[1:])...)
		}
	}
	return out
}

// The tests of testdata use every key that tests have.
func TestTestReference_isWhatTheExampleUses(t *testing.T) {
	src, err := os.ReadFile("testdata/tests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.ParseTests("tests.yaml", src, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range policy.TestReference() {
		key := f.Path[strings.LastIndexAny(f.Path, ".]")+1:]
		if !regexp.MustCompile(`(?m)[ {]` + key + `:|^` + key + `:`).Match(src) {
			t.Errorf("tests.yaml has no %s", f.Path)
		}
	}
}
