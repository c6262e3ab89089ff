package server_test

import "testing"

// A condition that cannot be answered applies its rule, and shows in the metrics from the start.
func TestConditions(t *testing.T) {
	r := start(t, setup{policy: `
limits: [{name: free, by: client, limit: 1, window: 1h, when: 'send.attributes["plan"] == "free"'}]
detect: {level: off}
`})
	unanswered := func(want float64) {
		t.Helper()
		if series, _ := r.scrape(t, "text/plain"); value(series["sendgate_condition_unanswered_total"], "rule", "free") != want {
			t.Errorf("%v, want %v", series["sendgate_condition_unanswered_total"], want)
		}
	}
	unanswered(0)
	paid := send("+6581234567", "203.0.113.7")
	paid.Attributes = map[string]string{"plan": "paid"}
	r.check(t, paid)
	unanswered(0)
	r.check(t, send("+6581234568", "203.0.113.7"))
	unanswered(1)
	if verdict := r.check(t, send("+6581234569", "203.0.113.7")); verdict.Rule != "free" {
		t.Errorf("%v", verdict)
	}
}
