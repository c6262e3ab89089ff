package replay_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/traffic"
)

// judged is what became of one label's sends.
type judged struct {
	sends, stopped, refused int
	reasons                 map[string]int
}

// simulate plays a day of our own traffic with one attack and returns what became of it, by label. Like people, those who are
// honest solve challenges; attackers do not, so their outcomes are withheld.
func simulate(t *testing.T, attack string) map[string]*judged {
	t.Helper()
	a, err := traffic.ParseAttack(attack)
	if err != nil {
		t.Fatal(err)
	}
	s, err := traffic.New(traffic.Options{Seed: 5, Length: 11 * time.Hour, Sessions: 7000, Attacks: []traffic.Attack{a}})
	if err != nil {
		t.Fatal(err)
	}
	r := newReplayer(t, nil)
	all, withheld := map[string]*judged{}, map[string]bool{}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if e.Outcome != "" && withheld[e.ID] {
			continue
		}
		line, err := r.Line(t.Context(), bytes.TrimSpace(e.AppendJSON(nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Outcome != "" {
			continue
		}
		var v struct{ ID, Verdict, Reason string }
		if err := json.Unmarshal(line, &v); err != nil || v.ID != e.ID {
			t.Fatalf("%s: %v", line, err)
		}
		j := all[e.Label]
		if j == nil {
			j = &judged{reasons: map[string]int{}}
			all[e.Label] = j
		}
		j.sends++
		if v.Verdict == "deny" || v.Verdict == "challenge" {
			j.stopped++
			j.reasons[v.Verdict+" "+v.Reason]++
			withheld[e.ID] = v.Verdict == "deny" || e.Label != traffic.Benign
		}
		if byLimit := strings.HasPrefix(v.Reason, "limit:"); v.Verdict == "deny" && !byLimit {
			j.refused++
		}
	}
	return all
}

// Every attack of the catalogue is stopped for the most part, named as such, and honest people hardly notice.
func TestSimulated_everyAttackIsStopped(t *testing.T) {
	least := map[string]float64{"ait_range": .95, "low_slow": .4, "ip_fanout": .95, "victim_flood": .9, "country_anomaly": .85, "conversion_collapse": .85,
		"otp_bruteforce": .8, "enumeration": .95, "retry_storm": .8, "load_test": .98}
	for _, k := range traffic.Kinds() {
		t.Run(k[0], func(t *testing.T) {
			t.Parallel()
			when := ":at=9h:for=45m"
			if k[0] == "low_slow" {
				when = ":at=5h:for=6h"
			}
			all := simulate(t, k[0]+when)
			honest := all[traffic.Benign]
			if hard := float64(honest.refused) / float64(honest.sends); hard > .001 {
				t.Errorf("%.4f of honest sends are denied by detection: %v", hard, honest.reasons)
			}
			attack := all[k[0]+"-1"]
			if attack == nil {
				return // nobody's enemy
			}
			share := float64(attack.stopped) / float64(attack.sends)
			t.Logf("%d of %d stopped (%.1f %%), %v; honest %d of %d", attack.stopped, attack.sends, 100*share, attack.reasons, honest.refused, honest.sends)
			if share < least[k[0]] {
				t.Errorf("%.3f of %d sends are stopped, want %.2f: %v", share, attack.sends, least[k[0]], attack.reasons)
			}
		})
	}
}
