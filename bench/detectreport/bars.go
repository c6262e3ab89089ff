package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// bar is one promise: what is measured must reach it.
type bar struct {
	name     string
	measured float64
	must     float64
	stretch  float64
	atMost   bool // else at least
	percent  bool
	of       string // which case it is about
	found    bool   // there was something to measure
}

func (b *bar) met() bool {
	if b.atMost {
		return b.measured <= b.must
	}
	return b.measured >= b.must
}

func (b *bar) stretched() bool {
	if math.IsNaN(b.stretch) {
		return false
	}
	if b.atMost {
		return b.measured <= b.stretch
	}
	return b.measured >= b.stretch
}

func (b *bar) format(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case b.percent:
		return fmt.Sprintf("%.4g %%", 100*v)
	}
	return fmt.Sprintf("%.4g", v)
}

// sign is how a bar is to be read.
func (b *bar) sign() string {
	if b.atMost {
		return "<="
	}
	return ">="
}

// recalls are the bars for each attack by itself, from section 5 of facts/detect.md: what development scenarios must reach, and the
// stretch.
var recalls = []struct {
	name          string
	must, stretch float64
	holds         func(*attack) bool
}{
	{"loud ranges, enumeration from 60 a minute", .99, .99, func(a *attack) bool { return (a.Type == "ait_range" || a.Type == "enumeration") && a.rate >= 60 }},
	{"medium ranges", .98, .99, func(a *attack) bool { return a.Type == "ait_range" && a.rate < 60 }},
	{"medium enumeration (no bar; the prototype)", .96, .97, func(a *attack) bool { return a.Type == "enumeration" && a.rate < 60 }},
	{"low and slow", .90, .95, func(a *attack) bool { return a.Type == "low_slow" }},
	{"IP fan-out", .97, .98, func(a *attack) bool { return a.Type == "ip_fanout" }},
	{"victim flood", .93, .95, func(a *attack) bool { return a.Type == "victim_flood" }},
	{"brute force", .87, .87, func(a *attack) bool { return a.Type == "otp_bruteforce" && !a.spread }},
	{"brute force spray", .87, .87, func(a *attack) bool { return a.Type == "otp_bruteforce" && a.spread }},
	{"country, conversion", .94, .94, func(a *attack) bool {
		return (a.Type == "country_anomaly" || a.Type == "conversion_collapse") && !a.spread
	}},
	{"conversion, spread uniformly", .80, .90, func(a *attack) bool { return a.Type == "conversion_collapse" && a.spread }},
}

// bars compares what was measured with what is promised. The worst case of each counts.
func bars(results []*result) []bar {
	var all []bar
	none := math.NaN()
	for _, r := range recalls {
		b := bar{name: r.name, must: r.must, stretch: r.stretch, measured: 2, percent: true}
		for _, s := range results {
			for _, a := range s.Attacks {
				if r.holds(a) {
					b.found = true
					if a.Recall < b.measured {
						b.measured, b.of = a.Recall, s.Name+" "+a.Label
					}
				}
			}
		}
		all = append(all, b)
	}
	var recalls []float64
	var spent, total float64
	var hard, challenged, honest int
	worstHard, worstChallenge := bar{atMost: true}, bar{atMost: true}
	machines := bar{name: "hard false positives on campaign, transactional, integration test", atMost: true, stretch: none}
	storm := bar{name: "retry storm throttled", must: .85, stretch: none, measured: 2, percent: true}
	test := bar{name: "load test throttled", must: .99, stretch: none, measured: 2, percent: true}
	wrong := bar{name: "of these, named an attack", atMost: true, stretch: none}
	for _, s := range results {
		for _, a := range s.Attacks {
			recalls = append(recalls, a.Recall)
			spent += a.USDLost
			total += a.USDTotal
		}
		n := &s.Benign
		hard, challenged, honest = hard+n.Hard, challenged+n.Challenge, honest+n.N
		if share := float64(n.Hard) / float64(n.N); share > worstHard.measured || worstHard.of == "" {
			worstHard.measured, worstHard.of = share, s.Name
		}
		if share := float64(n.Challenge) / float64(n.N); share > worstChallenge.measured || worstChallenge.of == "" {
			worstChallenge.measured, worstChallenge.of = share, s.Name
		}
		for _, sub := range []string{"campaign", "transactional", "integration_test"} {
			if x, ok := n.BySub[sub]; ok {
				machines.found = true
				machines.measured += float64(x.Hard)
			}
		}
		for label, g := range s.Gray {
			b := &storm
			if label == "load_test" {
				b = &test
			}
			b.found, wrong.found = true, true
			if g.Throttled < b.measured {
				b.measured, b.of = g.Throttled, s.Name
			}
			for kind, n := range g.NamedAsAttack {
				if kind != "retry_storm" && kind != "load_test" {
					wrong.measured += float64(n)
				}
			}
		}
	}
	mean := 0.0
	for _, r := range recalls {
		mean += r / float64(len(recalls))
	}
	all = append(all,
		bar{name: "macro recall", measured: mean, must: .96, stretch: .97, percent: true, found: len(recalls) > 0},
		bar{name: "money saved", measured: 1 - spent/max(total, 1e-9), must: .98, stretch: .99, percent: true, found: total > 0},
		bar{name: "hard false positives, limits apart", measured: float64(hard) / float64(honest), must: .0001, stretch: .00005, atMost: true, percent: true, found: true},
		bar{name: "the same, worst scenario", measured: worstHard.measured, of: worstHard.of, must: .0003, stretch: .0002, atMost: true, percent: true, found: true},
		bar{name: "challenge false positives", measured: float64(challenged) / float64(honest), must: .0005, stretch: .00025, atMost: true, percent: true, found: true},
		bar{name: "the same, worst scenario", measured: worstChallenge.measured, of: worstChallenge.of, must: .0025, stretch: .00125, atMost: true, percent: true, found: true},
		machines, storm, test, wrong)
	return slices.DeleteFunc(all, func(b bar) bool { return !b.found })
}

// sortAttacks orders attacks by kind, the loudest first.
func sortAttacks(all []*attack) {
	slices.SortFunc(all, func(a, b *attack) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(b.rate, a.rate), cmp.Compare(a.Label, b.Label))
	})
}
