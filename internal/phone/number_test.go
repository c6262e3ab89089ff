package phone

import "testing"

func TestDoor(t *testing.T) {
	for _, s := range []string{"+6591234567", "+65 9123-4567", "91234567"} {
		n, err := Parse(s, "SG")
		if err != nil || n.E164() != "+6591234567" || n.String() != "+65****67" || n.Info().Country != "SG" {
			t.Error(n, err)
		}
	}
}
