package policy_test

import (
	"fmt"
	"testing"

	"github.com/sendgate/sendgate/policy"
)

func TestDefault(t *testing.T) {
	var got string
	for _, l := range policy.Default().LimiterLimits() {
		got += fmt.Sprintf("%s by %s: %d per %v open=%v\n", l.Name, l.Group, l.N, l.Window, l.FailOpen)
	}
	want := `number-minute by number: 1 per 1m0s open=true
number-30m by number: 10 per 30m0s open=true
client-minute by client: 10 per 1m0s open=true
client-second by client: 3000 per 1s open=true
account-second by account: 1800 per 1s open=true
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
