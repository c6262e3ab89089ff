package detect

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// More failures never lower a CUSUM, more successes never raise it, and it is never below 0.
func TestEvidenceIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expected := rapid.Float64Range(.10, .85).Draw(t, "expected")
		fail, success := evidenceOf(expected)
		if fail <= 0 || success >= 0 {
			t.Fatalf("expected %.2f: a failure weighs %v, a success %v", expected, fail, success)
		}
		var x evidence
		for i, ok := range rapid.SliceOf(rapid.Bool()).Draw(t, "outcomes") {
			before := x
			end := ending{ok: ok, evidence: success}
			if !ok {
				end.evidence = fail
			}
			x.weigh(&end, 0)
			if ok && x.outcome > before.outcome || !ok && x.outcome < before.outcome || x.outcome < 0 || x.compose < 0 || x.failures < 0 {
				t.Fatalf("outcome %d (%v): %v to %v", i, ok, before, x)
			}
		}
	})
}

// A late verification takes back what the failure had added, whatever came before, unless the CUSUM had touched 0 or its cap.
func TestLateVerificationRefunds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fail, success := evidenceOf(rapid.Float64Range(.2, .85).Draw(t, "expected"))
		start := rapid.Float32Range(5, outcomeCap-5).Draw(t, "start")
		early := evidence{outcome: start, compose: start}
		early.weigh(&ending{ok: true, evidence: success}, 0)
		late := evidence{outcome: start, compose: start}
		late.weigh(&ending{evidence: fail}, 0)
		late.weigh(&ending{ok: true, evidence: success, refund: fail}, 0)
		if math.Abs(float64(early.outcome-late.outcome)) > 1e-3 || early.failures != late.failures || early.verified != late.verified {
			t.Fatalf("in time %+v, late %+v", early, late)
		}
	})
}

// The end of failed sessions does not depend on the order in which they are counted.
func TestFailuresCommute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Float64Range(.1, 1), 1, 12).Draw(t, "weights")
		order := rapid.Permutation(weights).Draw(t, "order")
		sum := func(all []float64) float32 {
			var x evidence
			for _, w := range all {
				x.weigh(&ending{evidence: w}, 0)
			}
			return x.outcome
		}
		if a, b := sum(weights), sum(order); math.Abs(float64(a-b)) > 1e-4 {
			t.Fatalf("%v or %v", a, b)
		}
	})
}

// A range that has earned more of its country is hit with less surprise, and honest traffic drifts down.
func TestComposition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		verified := rapid.Float64Range(0, 1e6).Draw(t, "country")
		own := rapid.Float64Range(0, 1).Draw(t, "portion") * verified
		more := own + rapid.Float64Range(0, 1).Draw(t, "more")*(verified-own)
		prior := priorShare[rapid.IntRange(0, 4).Draw(t, "width")]
		a, b := earnedShare(own, verified, prior), earnedShare(more, verified, prior)
		if a <= 0 || b >= 1 || b < a {
			t.Fatalf("shares %v and %v", a, b)
		}
		hitA, missA, okA := composition(a, verified)
		hitB, _, okB := composition(b, verified)
		if okB && !okA || okB && hitB > hitA+1e-9 {
			t.Fatalf("hits %v and %v for shares %v and %v", hitA, hitB, a, b)
		}
		if okA && a*hitA-(1-a)*missA > 1e-9 {
			t.Fatalf("share %v of honest traffic drifts up: hit %v miss %v", a, hitA, missA)
		}
	})
}

// Scores fade with time, never grow, and in two steps as in one.
func TestDecay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := tick(rapid.Uint32Range(0, uint32(30*day)).Draw(t, "a")), tick(rapid.Uint32Range(0, uint32(30*day)).Draw(t, "b"))
		tau := tick(rapid.Uint32Range(uint32(second), uint32(day)).Draw(t, "tau"))
		one, two := decay(a+b, tau), decay(a, tau)*decay(b, tau)
		if one > decay(a, tau) || one < 0 || math.Abs(one-two) > 1e-12 {
			t.Fatalf("%v in one step, %v in two", one, two)
		}
	})
}

// A country expects less of strangers while the numbers it knows fail too, and recovers in about an hour.
func TestControlGroup(t *testing.T) {
	var c countryState
	c.init()
	c.baseN, c.baseV = 1000, 800
	usual := c.expectation()
	now := day
	for range 30 {
		now += 10 * second
		c.control(true, false, now)
	}
	if c.healthy() || c.expectation() > usual/2 {
		t.Errorf("after 30 failures of known numbers: healthy %v, expectation %.2f, usually %.2f", c.healthy(), c.expectation(), usual)
	}
	c.control(false, false, now+hour)
	if !c.healthy() || c.expectation() < .9*usual {
		t.Errorf("an hour later: healthy %v, expectation %.2f, usually %.2f", c.healthy(), c.expectation(), usual)
	}
}

// The cap turns a country down when honest traffic would be denied, not when an attack is.
func TestDenyCap(t *testing.T) {
	now := day
	var attack, mistake denyCap
	for range 5000 {
		now += second
		attack.see(now)
		attack.deny(.001, .05)
		mistake.see(now)
		mistake.see(now)
		mistake.deny(.8, .05)
	}
	if attack.down {
		t.Error("an attack on an unused range turned detection down")
	}
	if !mistake.down {
		t.Error("a block on honest people did not")
	}
}

// The widths that tell where people are follow from where people verified.
func TestTelling(t *testing.T) {
	var c countryState
	c.init()
	for range 500 {
		c.uncover(0b110) // five digits tell, four do not
	}
	if got := c.telling(); got != 1 {
		t.Errorf("telling %d, want 1 (five digits)", got)
	}
}

func TestVictimScoreIsForgiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n numberCell
		n.victim = rapid.Float32Range(0, 30).Draw(t, "score")
		n.failed = rapid.Float32Range(0, 30).Draw(t, "codes")
		victim, failed := n.victim, n.failed
		n.fade(tick(rapid.Uint32Range(0, uint32(20*day)).Draw(t, "later")))
		if n.victim > victim || n.failed > failed || n.victim < 0 || n.failed < 0 {
			t.Fatalf("%v and %v became %v and %v", victim, failed, n.victim, n.failed)
		}
	})
}

// A number remembers the latest address blocks, and longest those where its owner verified.
func TestOrigins(t *testing.T) {
	var n numberCell
	n.own(fingerprint(77 << 40))
	for i := range uint64(100) {
		n.visit(fingerprint((1000 + i) << 41))
	}
	if !n.owns(fingerprint(77 << 40)) {
		t.Error("a hundred strangers pushed the owner's block out")
	}
	if _, seen, _ := n.visit(fingerprint(1099 << 41)); !seen {
		t.Error("the latest block is not remembered")
	}
	if _, seen, _ := n.visit(fingerprint(1000 << 41)); seen {
		t.Error("a block a hundred ago is still remembered")
	}
}
