package main

import (
	"encoding/json"
	"fmt"

	"github.com/sendgate/sendgate/policy"
)

type validateCommand struct {
	File   string `arg:"" help:"The policy file."`
	Prices string `help:"The price table that serve gets, for policies with budgets." type:"path" placeholder:"FILE"`
	Strict bool   `help:"Warnings are errors: exit code 1."`
	JSON   bool   `name:"json" help:"Print warnings as JSON, one object a line."`
}

// Run refuses what serve would refuse, and warns of what is probably not meant.
func (c *validateCommand) Run(s *streams) error {
	src, err := readFile(c.File)
	if err != nil {
		return fmt.Errorf("policy file %w", err)
	}
	table, err := readPrices(c.Prices)
	if err != nil {
		return err
	}
	p, warnings, err := policy.Lint(c.File, src, policy.LintOptions{Prices: table})
	if err != nil {
		return err
	}
	for _, w := range warnings {
		if c.JSON {
			err = json.NewEncoder(s.out).Encode(map[string]any{"name": w.Name, "file": w.File, "line": w.Line, "column": w.Column, "field": w.Field, "message": w.Message})
		} else {
			_, err = fmt.Fprintln(s.err, w)
		}
		if err != nil {
			return err
		}
	}
	if c.Strict && len(warnings) > 0 {
		return exitCode(1)
	}
	if c.JSON {
		return nil
	}
	ok := "ok"
	if len(warnings) > 0 {
		ok = fmt.Sprintf("ok, warnings: %d", len(warnings))
	}
	_, err = fmt.Fprintf(s.out, "%s: %s: %d limits, version %s\n", c.File, ok, len(p.Limits), p.Version)
	return err
}
