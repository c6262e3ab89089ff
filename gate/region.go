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
