package gate

import (
	"fmt"

	"github.com/sendgate/sendgate/policy"
)

// holds says that the data of an account may be here.
func (r *rules) holds(a *policy.Account) bool { return a.Residency == "" || a.Residency == r.region }

func (r *rules) elsewhere(a *policy.Account) string {
	if r.region == "" {
		return fmt.Sprintf("the data of the account stays in region %s, and this gate does not say where it is: start it with --region %s, or ask the gate there", a.Residency, a.Residency)
	}
	return fmt.Sprintf("the data of the account stays in region %s, and this gate is in %s: ask the gate there", a.Residency, r.region)
}

// Accepts says whether the data of an account may be here, for what operators and platforms tell. The error is a *ForbiddenError.
func (g *Gate) Accepts(account string) error {
	r := g.rules.Load()
	if a := r.policy.Accounts[account]; a != nil && !r.holds(a) {
		return &ForbiddenError{"ACCOUNT_OTHER_REGION", r.elsewhere(a)}
	}
	return nil
}
