package policy

import (
	_ "embed"
	"fmt"
	"slices"
)

//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML is the text of the built-in policy.
func DefaultYAML() []byte { return slices.Clone(defaultYAML) }

// Default is the built-in policy: 1 per 60 s and 10 per 30 m by number, 10 per minute and 3000 per second by client,
// 1800 per second by account; known-good numbers have the first two for themselves and 4 per 30 m by client and number, and are
// challenged where others are denied; detection at its standard level.
func Default() *Policy {
	p, err := Parse("default.yaml", defaultYAML)
	if err != nil {
		panic(fmt.Sprintf("policy: internal error: the built-in policy is wrong: %v", err))
	}
	return p
}
