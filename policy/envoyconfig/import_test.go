package envoyconfig_test

import (
	"fmt"
	"testing"

	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/policy/envoyconfig"
)

func ExampleConfig_Import() {
	c, err := envoyconfig.Parse(envoyconfig.File{Name: "ratelimit.yaml", Text: []byte(`
domain: messaging
descriptors:
  - key: message_type
    value: marketing
    descriptors:
      - {key: to_number, rate_limit: {unit: day, requests_per_unit: 5}}
  - {key: to_number, rate_limit: {unit: day, requests_per_unit: 100}, shadow_mode: true}
  - {key: remote_address, value: 50.0.0.5, rate_limit: {unit: second, requests_per_unit: 0}}
  - {key: database, value: users, rate_limit: {unit: second, requests_per_unit: 500}}
  - {key: path, value: "/api/*", rate_limit: {unit: hour, requests_per_unit: 7}}
`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, left, err := c.Import(envoyconfig.Parts())
	fmt.Print(text, left, " left, ", err, "\n")
	// Output:
	// # Made of a configuration of envoyproxy/ratelimit. Windows are exact here: they begin anywhere, not at full minutes, and all
	// # limits of a send are charged or none. Which key stands for which part of a send was guessed by its name, or said with --map.
	// version: 1
	//
	// limits:
	//   # messaging.message_type_marketing.to_number
	//   - {name: message_type-marketing-to_nu, by: [number, purpose], limit: 5, window: 1d, match: {purpose: "marketing"}}
	//   # messaging.to_number
	//   - {name: to_number-day, by: [number], limit: 100, window: 1d, mode: shadow}
	//   # not imported: messaging.database_users: say what the key database stands for: --map database=PART
	//   # not imported: messaging.path_/api/*: a policy has no wildcards
	//
	// lists:
	//   block:
	//     - "50.0.0.5" # messaging.remote_address_50.0.0.5
	// 2 left, <nil>
}

// Whatever a configuration says, what comes out is a policy, or an error that says why not.
func FuzzImport(f *testing.F) {
	f.Add([]byte("domain: a\ndescriptors:\n- {key: to, rate_limit: {name: default, unit: day, requests_per_unit: 5}}\n- {key: to, value: x, rate_limit: {unit: day, requests_per_unit: 0}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := envoyconfig.Parse(envoyconfig.File{Name: "x", Text: text})
		if err != nil {
			return
		}
		if out, _, err := c.Import(envoyconfig.Parts()); err == nil {
			if _, err := policy.Parse("x", []byte(out)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		}
	})
}
