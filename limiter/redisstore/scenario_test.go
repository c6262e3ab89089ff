package redisstore_test

import (
	"testing"

	"github.com/sendgate/sendgate/gate/gatetest"
	"github.com/sendgate/sendgate/limiter"
)

// TestScenarios: the stories of the gate end the same way on Redis.
func TestScenarios(t *testing.T) {
	r := startServer(t)
	gatetest.Scenarios(t, "../../gate/testdata/scenarios", func(t *testing.T) limiter.Store { return open(t, byReadings(r.addr)) })
}
