package policy_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/policy"
)

// Parse never panics, says where each problem is, and reads what it accepts the same way when it is written differently.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/full.good.yaml", "testdata/fields.bad.yaml", "testdata/rules.bad.yaml", "testdata/alias-bomb.bad.yaml",
		"testdata/keys.bad.yaml", "testdata/private.bad.yaml", "testdata/conditions.bad.yaml", "default.yaml"} {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("version: 1\nlimits: [{when: &x [*x]}]")) // a cycle
	f.Add([]byte("version: 1\nlimits: [{name: a, by: [client, number], limit: 1, window: 1m, match: {country: NO}}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := policy.Parse("p.yaml", src)
		if err != nil {
			var e *policy.Error
			if !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Fatalf("not a list of problems: %v", err)
			}
			for _, problem := range e.Problems {
				if problem.Line < 1 || problem.Column < 1 || problem.Message == "" || strings.Contains(problem.String(), "\n") {
					t.Fatalf("a problem without a place: %q", problem)
				}
			}
			return
		}
		var doc yaml.Node
		if err := yaml.Load(src, &doc); err != nil {
			t.Fatal(err)
		}
		bare(&doc)
		again, err := yaml.Dump(&doc)
		if err != nil {
			t.Fatal(err)
		}
		q, err := policy.Parse("p.yaml", again)
		if err != nil {
			t.Fatalf("accepted, and refused when written differently: %v\n%s", err, again)
		}
		if p.Version != q.Version {
			t.Fatalf("another version when written differently\n%s", again)
		}
		p.LimiterLimits()
		p.Plan(&policy.Send{}, new(policy.Plan))
	})
}

// bare takes comments and flow style off.
func bare(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	n.Style &^= yaml.FlowStyle
	for _, c := range n.Content {
		bare(c)
	}
}
