package detect

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, Options{Size: MinSize, Seed: 2})
	w.people("SG", 65, 300, hours)
	e, from := w.e, w.now
	sends := benchSends(4000)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range sends {
				s := sends[(i+g*1000)%len(sends)]
				s.At, s.ID = from+int64(i)*50e6, uint64(g)<<32|uint64(i)+1
				if i%5 == 0 {
					s.Number = 65_8123_0000 + uint64(i%200)
				}
				r := e.Observe(&s)
				switch {
				case i%7 == 0:
					e.Denied(&s, &r)
				case r.Advice.Stops() && i%3 == 0:
					e.Admitted(&s, &r)
				}
				if i > 100 {
					e.Outcome(s.At, uint64(g)<<32|uint64(i-100)+1, OutcomeKind(i%6))
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			for _, b := range e.Blocks(from) {
				e.Release(from, b.ID)
			}
			e.Alerts(0)
			e.Stats()
			if err := e.SetPolicy(Policy{Level: LevelMax}); err != nil {
				t.Error(err)
			}
			var buf bytes.Buffer
			if err := e.Snapshot(&buf); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func TestObserveDoesNotAllocate(t *testing.T) {
	w := newWorld(t, Options{Size: 8 << 20, Seed: 2})
	sends := benchSends(20000)
	i := 0
	if n := testing.AllocsPerRun(15000, func() {
		s := &sends[i%len(sends)]
		s.At, s.ID = w.now+int64(i)*10e6, uint64(i)+1
		r := w.e.Observe(s)
		if i%9 == 0 {
			w.e.Denied(s, &r)
		}
		w.e.Outcome(s.At, uint64(i-20), Verified)
		i++
	}); n != 0 {
		t.Errorf("%v allocations a send", n)
	}
}

// A send that the caller's own limits refuse leaves no trace in allowances, scores and sessions.
func TestDeniedNeverHappened(t *testing.T) {
	w := morning(t)
	client := netip.MustParseAddr("62.9.9.9")
	for i := range uint64(100) {
		s := Send{ID: 1e9 + i, At: w.now + int64(i)*seconds/2, Number: 44_7711_000_000 + i*37, Country: CountryOf("GB"), Client: client, Account: 1}
		r := w.e.Observe(&s)
		if r.Advice.Stops() {
			t.Fatalf("send %d was stopped although none before went out: %v", i, r.Signals[0])
		}
		w.e.Denied(&s, &r)
		if w.e.Outcome(s.At+seconds, s.ID, Failed) && i == 0 {
			continue // known, but harmless
		}
	}
	w.until(w.now + 10*minutes)
	w.people("GB", 44, 10, 10*minutes)
	if all := w.e.Blocks(w.now); len(all) != 0 {
		t.Errorf("refused sends made a block: %v", all[0].Signal)
	}
}

// What a caller lets pass against the advice is waited for, and can clear the name of a blocked range.
func TestAdmittedIsWaitedFor(t *testing.T) {
	w := morning(t)
	w.pump("UZ", 9982001, 60, 400, 0)
	before := len(w.e.Blocks(w.now))
	id := uint64(5e9)
	for i := range uint64(400) {
		s := Send{ID: id + i, At: w.now + int64(i)*10*seconds, Number: 998_2001_0000 + 5000 + i, Country: CountryOf("UZ"), Client: w.home("UZ"), Account: 1}
		r := w.e.Observe(&s)
		if r.Advice.Stops() {
			w.e.Admitted(&s, &r)
		}
		if !w.e.Outcome(s.At+9*seconds, s.ID, Verified) {
			t.Fatalf("send %d with advice %v is not remembered", i, r.Advice)
		}
	}
	w.now += 4000 * seconds
	after := 0
	for _, b := range w.e.Blocks(w.now) {
		if b.Subject.Scope == ScopeRange4 {
			after++
		}
	}
	if before == 0 || after != 0 {
		t.Errorf("%d blocks before, %d on the wide range after everybody verified", before, after)
	}
}

func TestLevelsAndModes(t *testing.T) {
	attack := func(p Policy) (*world, int) {
		w := newWorld(t, Options{Size: 8 << 20, Seed: 4, Policy: p})
		w.people("SG", 65, 600, 3*hours)
		w.count()
		w.pump("UZ", 9982001, 60, 400, 0)
		signals := 0
		for _, r := range w.results {
			signals += r.Count
		}
		return w, signals
	}
	shadow := Policy{}
	shadow.Kinds[AITRange].Mode, shadow.Kinds[CountryAnomaly].Mode, shadow.Kinds[ConversionCollapse].Mode = Shadow, Shadow, Shadow
	capped := Policy{}
	for k := range capped.Kinds {
		capped.Kinds[k].AtMost = Challenge
	}
	stopped := map[string]int{}
	for _, tc := range []struct {
		name           string
		policy         Policy
		stops, signals bool
	}{
		{"standard", Policy{}, true, true},
		{"max", Policy{Level: LevelMax}, true, true},
		{"basic", Policy{Level: LevelBasic}, true, true},
		{"observe", Policy{Level: LevelObserve}, false, true},
		{"off", Policy{Level: LevelOff}, false, false},
		{"off for the account", Policy{Accounts: map[uint64]Level{1: LevelOff}}, false, false},
		{"shadow", shadow, false, true},
		{"at most challenge", capped, true, true},
	} {
		w, signals := attack(tc.policy)
		stopped[tc.name] = w.stopped["bots"]
		if got := w.stopped["bots"] > 300; got != tc.stops {
			t.Errorf("%s: %d of 400 stopped", tc.name, w.stopped["bots"])
		}
		if got := signals > 0; got != tc.signals {
			t.Errorf("%s: %d signals", tc.name, signals)
		}
		if tc.name == "at most challenge" && w.denied["bots"] > 0 {
			t.Errorf("%s: %d denied", tc.name, w.denied["bots"])
		}
		for _, r := range w.results {
			for _, s := range r.Seen() {
				if s.Shadow != (tc.name == "shadow") {
					t.Fatalf("%s: signal %v has shadow %v", tc.name, s, s.Shadow)
				}
			}
		}
	}
	if !(stopped["basic"] <= stopped["standard"] && stopped["standard"] <= stopped["max"]) || stopped["basic"] == stopped["max"] {
		t.Errorf("stricter levels do not stop more: %v", stopped)
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	all := Catalogue()
	for i, k := range Kinds() {
		if i >= len(all) || all[i].Kind != k || all[i].Keys == "" || all[i].Statistic == "" || all[i].Action == "" {
			t.Fatalf("the catalogue lacks %v", k)
		}
	}
	if len(all) != len(Kinds()) {
		t.Errorf("%d entries for %d kinds", len(all), len(Kinds()))
	}
}

func TestCountries(t *testing.T) {
	w := morning(t)
	all := w.e.Countries()
	if len(all) != 2 {
		t.Fatalf("%d countries, want SG and GB", len(all))
	}
	for _, c := range all {
		if !c.Mature || c.Baseline < .6 || c.Baseline > .95 || c.PerDay < 1000 || c.TellingOf < 4 || c.TellingOf > 6 || c.TurnedDown {
			t.Errorf("%+v", c)
		}
	}
}

func TestChallengePassedAndExempt(t *testing.T) {
	w := morning(t)
	w.pump("UZ", 9982001, 60, 300, 0)
	s := Send{ID: 1e12, At: w.now, Number: 998_2001_0299, Country: CountryOf("UZ"), Client: w.home("ZZ"), Account: 1}
	r := w.e.Observe(&s)
	if !r.Advice.Stops() || r.RetryAfter <= 0 || !r.Blocked {
		t.Fatalf("advice %v, retry after %v, blocked %v", r.Advice, time.Duration(r.RetryAfter), r.Blocked)
	}
	exempt := s
	exempt.Exempt, exempt.ID = true, 1e12+1
	if r := w.e.Observe(&exempt); r.Advice != Flag || r.Count == 0 {
		t.Errorf("exempt: advice %v with %d signals, want flag with some", r.Advice, r.Count)
	}
}

func TestRelease(t *testing.T) {
	w := morning(t)
	w.pump("UZ", 9982001, 60, 300, 0)
	for _, b := range w.e.Blocks(w.now) {
		if !w.e.Release(w.now, b.ID) {
			t.Errorf("block %d could not be released", b.ID)
		}
		if w.e.Release(w.now, b.ID) {
			t.Errorf("block %d was released twice", b.ID)
		}
	}
	if left := w.e.Blocks(w.now); len(left) != 0 {
		t.Errorf("%d blocks left", len(left))
	}
	w.count()
	if !w.send("x", Send{Number: 998_2001_9999, Country: CountryOf("UZ"), Client: w.home("UZ"), Account: 1}, w.now+seconds, false) {
		t.Error("the range is still stopped")
	}
	if w.e.Release(w.now, 1<<60) {
		t.Error("a block that never was, was released")
	}
}

// A full number never appears in a text.
func TestTextsMask(t *testing.T) {
	w := morning(t)
	victim := w.regular[3]
	w.bots("SG", 60, hours, func(int) uint64 { return victim }, func(int) netip.Addr { return w.home("ZZ") })
	w.pump("UZ", 9982001, 60, 300, 0)
	texts := 0
	for _, a := range w.e.Alerts(0) {
		text := a.Text + a.Signal.String() + a.Signal.Subject.String()
		texts++
		digits := 0
		for _, c := range text {
			if c >= '0' && c <= '9' {
				if digits++; digits > 9 {
					t.Fatalf("too many digits in a row: %s", text)
				}
			} else {
				digits = 0
			}
		}
	}
	if texts == 0 {
		t.Fatal("no alerts")
	}
	if got := (Subject{Scope: ScopeRange3, Digits: 6591234}).String(); got != "+6591234***" {
		t.Errorf("range prints as %s", got)
	}
}

func TestPolicyErrorsSayWhatToWrite(t *testing.T) {
	for name, p := range map[string]Policy{
		"write one of off": {Level: 77},
		"write a share":    {DenyCap: 2},
		"write a country":  {Expected: []Expected{{}}},
		"write first from": {Kinds: [kinds]Detector{AITRange: {Block: BlockSpan{First: time.Second}}}},
	} {
		if _, err := New(Options{Policy: p}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
	if _, err := New(Options{Size: 1}); err == nil || !strings.Contains(err.Error(), "write from") {
		t.Errorf("size 1: %v", err)
	}
}

func TestNamesRoundTrip(t *testing.T) {
	for _, k := range Kinds() {
		if got, ok := ParseKind(k.String()); !ok || got != k {
			t.Errorf("kind %q reads as %v %v", k, got, ok)
		}
	}
	for l := range levels {
		if got, ok := ParseLevel(l.String()); !ok || got != l {
			t.Errorf("level %q reads as %v %v", l, got, ok)
		}
	}
	for _, c := range []string{"SG", "AA", "ZZ"} {
		if got := CountryOf(c).String(); got != c {
			t.Errorf("country %s prints as %s", c, got)
		}
	}
	if CountryOf("sg") != 0 || CountryOf("") != 0 {
		t.Error("half a country code was taken")
	}
}
