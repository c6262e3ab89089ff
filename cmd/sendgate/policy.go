package main

import (
	"fmt"

	"github.com/sendgate/sendgate/policy"
)

type policyCommand struct {
	Validate    validateCommand    `cmd:"" help:"Say whether a policy file is right, or everything that is wrong with it."`
	Test        policyTestsCommand `cmd:"" help:"Run the tests beside a policy, on a clock of their own. Exit code 1 when one fails."`
	Explain     explainCommand     `cmd:"" help:"Say what a send would meet: each rule with its count, lists, consent, detection. It changes nothing."`
	Reload      reloadCommand      `cmd:"" help:"Let a running sidecar read its policy file again, as a change of the file does by itself."`
	Report      reportCommand      `cmd:"" help:"What rules and detectors in shadow, and candidates, would have done on a running sidecar."`
	ImportEnvoy importEnvoyCommand `cmd:"" help:"Turn a configuration of envoyproxy/ratelimit into a policy."`
	Default     defaultCommand     `cmd:"" help:"Print the built-in policy: a good first file of your own."`
}

type defaultCommand struct{}

func (defaultCommand) Run(s *streams) error {
	_, err := s.out.Write(policy.DefaultYAML())
	return err
}

// readPolicy reads a policy file; without one it is the built-in policy.
func readPolicy(file string) (*policy.Policy, error) {
	if file == "" {
		return policy.Default(), nil
	}
	src, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("policy file %w", err)
	}
	return policy.Parse(file, src)
}
