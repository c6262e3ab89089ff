package detect

import (
	"net/netip"
	"testing"
)

// One scenario a detector: an ordinary morning, then the attack, and what becomes of it and of the people meanwhile.

// morning is a world in which people of three countries have verified for twelve hours.
func morning(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, Options{Size: 16 << 20, Seed: 3})
	for range 6 {
		w.people("SG", 65, 400, hours)
		w.people("GB", 44, 400, hours)
	}
	w.nobodyHurt("morning", 0)
	w.count()
	return w
}

// nobodyHurt fails when people were denied, or more than a share of them challenged.
func (w *world) nobodyHurt(when string, challenged float64) {
	w.t.Helper()
	if w.denied["people"] > 0 || w.share("people") > challenged {
		w.t.Errorf("%s: %d people denied, %.2f%% stopped, of %d: %v", when, w.denied["people"], 100*w.share("people"), w.sent["people"], w.kinds["people"])
	}
}

// caught fails when less than a share of the bots was stopped, or not for the reason.
func (w *world) caught(least float64, kinds ...Kind) {
	w.t.Helper()
	if w.share("bots") < least {
		w.t.Errorf("%.1f%% of %d messages stopped, want %.1f%%: %v", 100*w.share("bots"), w.sent["bots"], 100*least, w.kinds["bots"])
	}
	right := 0
	for _, k := range kinds {
		right += w.kinds["bots"][k]
	}
	if right < w.stopped["bots"]*9/10 {
		w.t.Errorf("stopped for %v, want %v", w.kinds["bots"], kinds)
	}
}

func one(a string) func(int) netip.Addr {
	addr := netip.MustParseAddr(a)
	return func(int) netip.Addr { return addr }
}

func TestIPFanout(t *testing.T) {
	t.Run("a burst from one address meets its allowance of open sessions", func(t *testing.T) {
		w := morning(t)
		w.bots("GB", 600, 10*minutes, func(int) uint64 { return w.number(44) }, one("45.9.9.9"))
		w.caught(.95, IPFanout)
	})
	t.Run("one a minute stays below any rate and is known by what never verifies", func(t *testing.T) {
		w := morning(t)
		w.bots("GB", 600, 10*hours, func(int) uint64 { return w.number(44) }, one("45.9.9.9"))
		w.caught(.93, IPFanout)
		if len(w.e.Blocks(w.now)) == 0 {
			t.Error("no block while attempts go on")
		}
	})
	t.Run("an IPv6 attacker changes the address within his /64", func(t *testing.T) {
		w := morning(t)
		w.bots("GB", 600, 30*minutes, func(int) uint64 { return w.number(44) }, func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x2a, 9, 9: byte(i >> 8), 15: byte(i)})
		})
		w.caught(.95, IPFanout)
	})
	t.Run("a carrier's gateway in the hands of a bot is challenged, its people are not denied", func(t *testing.T) {
		w := morning(t)
		for range 6 {
			w.bots("GB", 60, 10*minutes, func(int) uint64 { return w.number(44) }, func(int) netip.Addr { return w.gateway("GB") })
			w.people("GB", 44, 40, 10*minutes)
		}
		if w.denied["people"] > 0 {
			t.Errorf("%d people denied on a shared gateway", w.denied["people"])
		}
	})
	t.Run("an office signs in on a Monday", func(t *testing.T) {
		w := morning(t)
		office := netip.MustParseAddr("62.1.2.3")
		from := w.now
		for i := range 200 {
			w.person("people", Send{Number: 44_7700_900_000 + uint64(i*7919%1000), Country: CountryOf("GB"), Client: office, Account: 1}, from+int64(i)*9*seconds)
		}
		w.nobodyHurt("office with neighbouring numbers", .03)
	})
}

func TestVictimFlood(t *testing.T) {
	t.Run("many strangers ask for one number", func(t *testing.T) {
		w := morning(t)
		victim := w.regular[3]
		w.bots("SG", 300, 5*hours, func(int) uint64 { return victim }, func(int) netip.Addr { return w.home("ZZ") })
		w.caught(.95, VictimFlood)
	})
	t.Run("a botnet in one block, ever from another address", func(t *testing.T) {
		w := morning(t)
		victim := w.regular[3]
		w.bots("SG", 300, 5*hours, func(int) uint64 { return victim }, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{45, 9, 9, byte(i)}) })
		w.caught(.9, VictimFlood)
	})
	t.Run("somebody presses send again at home until the message arrives", func(t *testing.T) {
		w := morning(t)
		home := w.home("SG")
		for i := range int64(8) {
			w.send("people", Send{Number: w.regular[5], Country: CountryOf("SG"), Client: home, Account: 1}, w.now+i*70*seconds, true)
		}
		w.nobodyHurt("resends", 0)
	})
}

func TestAITRange(t *testing.T) {
	t.Run("a loud range in a country without traffic", func(t *testing.T) {
		w := morning(t)
		w.pump("UZ", 9982001, 120, 3000, 4000)
		w.caught(.99, AITRange)
	})
	t.Run("a range among real subscribers at one in two minutes", func(t *testing.T) {
		w := morning(t)
		for i := range 20 {
			w.pump("SG", 658012, 1, 25, i*25)
			w.people("SG", 65, 10, 25*minutes)
		}
		w.caught(.95, AITRange)
		w.nobodyHurt("meanwhile", .01)
	})
	t.Run("numbers that verified pass a blocked range", func(t *testing.T) {
		w := morning(t)
		known := w.regular[0]
		w.pump("SG", known/10_000, 60, 300, 0)
		if !w.send("owner", Send{Number: known, Country: CountryOf("SG"), Client: w.gateway("SG"), Account: 1}, w.now+minutes, true) {
			t.Error("the owner of a verified number was stopped")
		}
		w.caught(.9, AITRange)
	})
	t.Run("a flash crowd raises all ranges together", func(t *testing.T) {
		w := morning(t)
		w.people("SG", 65, 3000, hours)
		w.nobodyHurt("flash crowd", .001)
	})
	t.Run("each send counts for the one block that decided it", func(t *testing.T) {
		w := morning(t)
		before := len(w.results)
		w.pump("UZ", 9982001, 60, 300, 0)
		decided, counted := 0, uint64(0)
		for _, r := range w.results[before:] {
			if r.Blocked && r.Advice.Stops() {
				decided++
			}
		}
		blocks := w.e.Blocks(w.now)
		for _, b := range blocks {
			counted += b.Stopped
		}
		if len(blocks) < 3 || counted != uint64(decided) {
			t.Errorf("%d blocks say that they stopped %d sends, want %d", len(blocks), counted, decided)
		}
	})
	t.Run("the block ends when the attack does", func(t *testing.T) {
		w := morning(t)
		w.pump("UZ", 9982001, 60, 300, 0)
		if len(w.e.Blocks(w.now)) == 0 {
			t.Fatal("no block")
		}
		if left := w.e.Blocks(w.now + 13*hours); len(left) != 0 {
			t.Errorf("after 13 quiet hours: %v", left[0].Signal)
		}
	})
}

func TestEnumeration(t *testing.T) {
	w := morning(t)
	w.bots2("GB", 600, hours, func(i int) uint64 { return 44_8020_10000 + uint64(i) }, func(i int) netip.Addr { return w.home("ZZ") })
	w.caught(.97, Enumeration)
}

// bots2 are bots at the password reset.
func (w *world) bots2(country string, n int, over int64, number func(int) uint64, client func(int) netip.Addr) {
	from := w.now
	for i := range n {
		w.send("bots", Send{Number: number(i), Country: CountryOf(country), Client: client(i), Account: 1, Lookup: true}, from+over/int64(n)*int64(i), false)
	}
}

func TestCountryAnomaly(t *testing.T) {
	w := morning(t)
	for range 12 {
		w.bots("GB", 60, 10*minutes, func(int) uint64 { return 44_1000_00000 + uint64(w.rnd.IntN(900_000_000)) }, func(int) netip.Addr { return w.home("ZZ") })
		w.people("GB", 44, 60, 10*minutes)
	}
	w.caught(.85, CountryAnomaly, ConversionCollapse, AITRange)
	w.nobodyHurt("meanwhile", .01)
}

func TestConversionCollapse(t *testing.T) {
	w := morning(t)
	// One operator's prefix of a million numbers.
	for range 12 {
		w.bots("GB", 60, 10*minutes, func(int) uint64 { return 44_8999_00000 - 44_8999_00000%1_000_000 + uint64(w.rnd.IntN(1_000_000)) }, func(int) netip.Addr { return w.home("GB") })
		w.people("GB", 44, 60, 10*minutes)
	}
	w.caught(.8, ConversionCollapse, CountryAnomaly, AITRange)
	w.nobodyHurt("meanwhile", .02)
}

func TestOTPBruteforce(t *testing.T) {
	wrong := func(n int) []outcome {
		o := make([]outcome, n)
		for i := range o {
			o[i] = outcome{at: int64(i+2) * 5 * seconds, what: Failed}
		}
		return o
	}
	t.Run("codes of one number are guessed", func(t *testing.T) {
		w := morning(t)
		victim := w.regular[7]
		w.bots("SG", 100, 2*hours, func(int) uint64 { return victim }, func(int) netip.Addr { return w.gateway("SG") }, wrong(5)...)
		w.caught(.95, OTPBruteforce, VictimFlood)
	})
	t.Run("two codes each for many numbers", func(t *testing.T) {
		w := morning(t)
		for range 12 {
			w.bots("SG", 100, 20*minutes, func(i int) uint64 { return w.regular[i] }, func(int) netip.Addr { return w.home("ZZ") }, wrong(2)...)
			w.people("SG", 65, 100, 20*minutes)
		}
		w.caught(.75, OTPBruteforce, VictimFlood, CountryAnomaly)
		// The owners of the sprayed numbers are among the people, and sometimes ask from a block they never verified at.
		if w.share("people") > .03 || w.denied["people"] > w.sent["people"]/200 {
			t.Errorf("people: %v", w)
		}
	})
	t.Run("a slip of the finger", func(t *testing.T) {
		w := morning(t)
		s := Send{Number: w.regular[9], Country: CountryOf("SG"), Client: w.gateway("SG"), Account: 1}
		w.send("people", s, w.now, true, outcome{at: 5 * seconds, what: Failed}, outcome{at: 9 * seconds, what: Failed}, outcome{at: 20 * seconds, what: Verified})
		w.send("people", s, w.now+20*minutes, true)
		w.nobodyHurt("after two wrong codes and a right one", 0)
	})
}

func TestRetryStormAndLoadTest(t *testing.T) {
	w := morning(t)
	client := w.home("SG")
	w.bots("SG", 60, 5*minutes, func(int) uint64 { return 65_8123_4567 }, func(int) netip.Addr { return client })
	w.caught(.85, RetryStorm)
	w.count()
	w.bots("GB", 3000, 15*minutes, func(int) uint64 { return 44_7000_0001 }, one("198.51.100.99"))
	w.caught(.99, LoadTest, RetryStorm)
	if w.kinds["bots"][LoadTest] < 2500 {
		t.Errorf("named %v", w.kinds["bots"])
	}
	for _, b := range w.e.Blocks(w.now) {
		t.Errorf("a fault made a block: %v", b.Signal)
	}
}
