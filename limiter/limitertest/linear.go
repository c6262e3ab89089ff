package limitertest

import "testing"

func testLinearizable(t *testing.T, s Suite) {}
