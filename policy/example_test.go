package policy_test

import (
	"fmt"
	"net/netip"

	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/policy"
)

func ExampleParse() {
	_, err := policy.Parse("policy.yaml", []byte(`
version: 1
limits:
  - {name: number-minute, by: [number], limit: 1, window: 60}
  - {name: login, by: [clinet], limit: 10, window: 1m, match: {endpoint: login}}
`))
	fmt.Println(err)
	// Output:
	// policy.yaml:4:59: limits[0].window: "60" has no unit: write "60s" for seconds, or ms, m, h, d
	// policy.yaml:5:24: limits[1].by[0]: unknown value "clinet": did you mean "client"?
}

func ExamplePolicy_Plan() {
	p, err := policy.Parse("policy.yaml", []byte(`
version: 1
limits:
  - {name: number-minute, by: number, limit: 1, window: 60s}
  - {name: login-burst, by: [client, number], limit: 3, window: 10m, match: {endpoint: login}, unless: {known_good: true}}
  - {name: indonesia, by: country, limit: 500, window: 1h, mode: shadow, match: {country: ID}}
accounts:
  acme:
    limits: [{name: number-minute, limit: 2}] # by and window as above
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	number, _ := phone.Parse("+62 812 3456 789", "")
	send := policy.Send{Number: number, Country: "ID", Client: netip.MustParseAddr("203.0.113.9"), Account: "acme", Endpoint: "login"}

	var plan policy.Plan // scratch: keep it for the next send
	p.Plan(&send, &plan)
	for _, c := range plan.Enforced {
		l := p.Limits[c.Rule]
		fmt.Println(l.StoreName(), "by", l.Group(), "at most", l.N, "per", l.Window)
	}
	for _, c := range plan.Shadow {
		fmt.Println("in shadow:", p.Limits[c.Rule].Name)
	}
	// Output:
	// login-burst by client+number at most 3 per 10m0s
	// account:acme/number-minute by number at most 2 per 1m0s
	// in shadow: indonesia
}
