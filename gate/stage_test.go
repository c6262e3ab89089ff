package gate_test

import (
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
)

// One check in many is timed, each of its stages once and in order, and the clock is not read for the others.
func TestStages(t *testing.T) {
	var readings int
	var got []gate.Stage
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	g, err := gate.New(t.Context(), gate.Options{
		Store: store, Clock: func() time.Time { return time.Unix(1_800_000_000, 0) },
		Stopwatch: func() time.Duration { readings++; return time.Duration(readings) * time.Microsecond },
		Stage: func(s gate.Stage, took time.Duration) {
			if took != time.Microsecond {
				t.Errorf("%s took %s", s, took)
			}
			got = append(got, s)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const checks = 640
	for i := range checks {
		if _, err := g.Check(t.Context(), &gate.Request{Number: "+6581234567", ClientAddress: "203.0.113.7", Cost: 1}); err != nil {
			t.Fatal(i, err)
		}
	}
	// The race detector lets pools forget, and a new scratch counts from 0.
	if len(got) == 0 && !raceEnabled || len(got) > checks/64*int(gate.Stages) || readings != len(got)+len(got)/int(gate.Stages) {
		t.Errorf("%d stages of %d checks, %d readings", len(got), checks, readings)
	}
	for i, s := range got {
		if s != gate.Stage(i%int(gate.Stages)) {
			t.Fatalf("%v", got)
		}
	}
	if name := gate.StageTake.String(); name != "take" {
		t.Error(name)
	}
}
