package main

import (
	"os"
	"strings"
	"testing"
)

// The story of docs/operations.md is a script: each command and each policy of the page stands in it, in the page's order.
func TestOperations_runsWhatThePageSays(t *testing.T) {
	script, err := os.ReadFile("testdata/script/operations.txtar")
	if err != nil {
		t.Fatal(err)
	}
	steps, files, _ := strings.Cut(string(script), "\n-- policy.yaml --\n")
	steps, commands := "\n"+steps, 0
	for _, b := range blocks(t, "../../docs/operations.md") {
		if b.language == "yaml" && !strings.Contains("-- policy.yaml --\n"+files, " --\n"+b.text+"--") {
			t.Errorf("line %d: this policy is none of the script's:\n%s", b.line, b.text)
		}
		for line := range strings.Lines(b.commands()) {
			commands++
			_, rest, ok := strings.Cut(steps, "\n"+line)
			if !ok {
				t.Errorf("line %d: the script does not run, in this order: %s", b.line, line)
				continue
			}
			steps = "\n" + rest
		}
	}
	if commands < 9 {
		t.Errorf("the page has %d commands only", commands)
	}
}
