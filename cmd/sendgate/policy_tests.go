package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/sendgate/sendgate/internal/policytest"
	"github.com/sendgate/sendgate/policy"
)

type policyTestsCommand struct {
	File  string   `arg:"" help:"The policy file."`
	Tests []string `arg:"" optional:"" help:"Files of tests. Default: that beside the policy, policy_test.yaml for policy.yaml."`
	JSON  bool     `name:"json" help:"Print the result as JSON, one object a file."`
}

// Run exits with 1 when a test fails.
func (c *policyTestsCommand) Run(s *streams) error {
	p, err := readPolicy(c.File)
	if err != nil {
		return err
	}
	if len(c.Tests) == 0 {
		c.Tests = []string{testsBeside(c.File)}
	}
	failed := 0
	for _, file := range c.Tests {
		src, err := readFile(file)
		if err != nil {
			return fmt.Errorf("tests of the policy: %w: docs/policy.md says how to write them", err)
		}
		tests, err := policy.ParseTests(file, src, p)
		if err != nil {
			return err
		}
		report, err := policytest.Run(context.Background(), p, tests)
		if err != nil {
			return err
		}
		failed += report.Failed
		if c.JSON {
			err = json.NewEncoder(s.out).Encode(report)
		} else {
			err = printReport(s.out, report)
		}
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return exitCode(1)
	}
	return nil
}

// testsBeside is where the tests of a policy are: policy_test.yaml for policy.yaml.
func testsBeside(file string) string {
	ext := filepath.Ext(file)
	return strings.TrimSuffix(file, ext) + "_test" + ext
}

// printReport writes a line for each test, and below one that fails what came out differently, the place first so that editors find it.
func printReport(w io.Writer, r *policytest.Report) error {
	var b strings.Builder
	for _, t := range r.Tests {
		f := t.Failure
		if f == nil {
			fmt.Fprintf(&b, "ok    %s\n", t.Name)
			continue
		}
		fmt.Fprintf(&b, "FAIL  %s\n%s:%d:%d: step %d", t.Name, r.File, f.Line, f.Column, f.Step)
		if f.Time > 0 {
			fmt.Fprintf(&b, ", time %d", f.Time)
		}
		fmt.Fprintf(&b, ", at %s: %s\n", f.At, f.What)
		for _, d := range f.Differ {
			if d.Want == "" && d.Field == "reason" {
				fmt.Fprintf(&b, "      %-12s got %s\n", d.Field, d.Got)
			} else {
				fmt.Fprintf(&b, "      %-12s got %s, want %s\n", d.Field, shown(d.Got), shown(d.Want))
			}
		}
	}
	fmt.Fprintf(&b, "%s: %d passed, %d failed (policy %s)\n", r.File, r.Passed, r.Failed, r.Policy)
	_, err := io.WriteString(w, b.String())
	return err
}

func shown(s string) string {
	if s == "" {
		return `""`
	}
	return s
}
