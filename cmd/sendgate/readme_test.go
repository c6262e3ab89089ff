package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/policy"
)

func TestReadme_policyIsOne(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	yaml, _, _ := strings.Cut(rest, "```")
	p, err := policy.Parse("README.md", []byte(yaml))
	if err != nil || len(p.Limits) == 0 {
		t.Errorf("the example of the README: %v", err)
	}
}
