package limitertest
import "testing"
func testLinearizable(t *testing.T, s Suite) {}
func testHistory(t *testing.T, s Suite) {}
