package detect

import (
	"math/rand/v2"
	"testing"
)

// Two weeks of people only: ordinary hours, a flash crowd, an outage, an office, dead numbers. Every block is a false alarm. The
// rate is reported by scope, in trips per million sessions of new numbers, next to its bar.
func TestBenignOnly(t *testing.T) {
	bars := map[Scope]float64{ScopeRange2: 40, ScopeRange3: 30, ScopeRange4: 10, ScopeRange5: 5, ScopeOperator: 5, ScopeAddress: 5, ScopeAddrBlock: 5,
		ScopeNewcomers: 5, ScopeNumber: 30}
	trips, sessions := map[Scope]int{}, 0
	for seed := range uint64(6) {
		w := newWorld(t, Options{Size: 16 << 20, Seed: 100 + seed})
		w.rnd = rand.New(rand.NewPCG(seed, 9))
		for day := range 2 {
			for hour := range 12 {
				w.people("SG", 65, 500, hours)
				w.people("GB", 44, 500, hours)
				switch {
				case day == 1 && hour == 3:
					w.people("SG", 65, 4000, hours) // a flash crowd
				case day == 1 && hour == 6:
					w.outage("GB", 44, 400, hours)
				case hour == 9:
					w.office("SG", 65, 150, 20*minutes)
				}
			}
		}
		sessions += len(w.regular)
		for _, a := range w.e.Alerts(0) {
			trips[a.Signal.Subject.Scope]++
			t.Logf("seed %d: %v", seed, a.Signal)
		}
		if w.denied["people"] > 1 || w.share("people") > .0005 {
			t.Errorf("seed %d: %v", seed, w)
		}
	}
	for s := ScopeNumber; s < scopes; s++ {
		rate := float64(trips[s]) / float64(sessions) * 1e6
		t.Logf("%-18s %d false alarms in %d sessions, %.1f per million (bar %.0f)", s, trips[s], sessions, rate, bars[s])
		if rate > bars[s] {
			t.Errorf("%s: %.1f false alarms per million sessions, bar %.0f", s, rate, bars[s])
		}
	}
}

// outage is an hour in which one message in twenty arrives.
func (w *world) outage(country string, code uint64, n int, over int64) {
	from := w.now
	for i := range n {
		number := w.number(code)
		if w.rnd.IntN(2) == 0 {
			number = w.regular[w.rnd.IntN(len(w.regular))]
		}
		s := Send{Number: number, Country: CountryOf(country), Client: w.gateway(country), Account: 1}
		at := from + over/int64(n)*int64(i)
		if w.rnd.IntN(20) == 0 {
			w.person("people", s, at)
		} else {
			w.send("people", s, at, true)
		}
	}
}

// office is colleagues with neighbouring numbers behind one address.
func (w *world) office(country string, code uint64, n int, over int64) {
	from, base, client := w.now, w.number(code)/1000*1000, w.home(country)
	for i, v := range w.rnd.Perm(1000)[:n] {
		w.person("people", Send{Number: base + uint64(v), Country: CountryOf(country), Client: client, Account: 1}, from+over/int64(n)*int64(i))
	}
}
