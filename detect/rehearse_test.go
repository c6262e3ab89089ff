package detect

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// A rehearsal says what Observe says then, in peace and under attack, and leaves the engine as it is.
func TestRehearse(t *testing.T) {
	w := newWorld(t, Options{Size: MinSize, Seed: 7})
	w.people("SG", 65, 1500, 6*hours)
	w.pump("UZ", 9982001, 40, 200, 0)
	e, at := w.e, w.now
	random := rand.New(rand.NewPCG(1, 2))
	said := map[Advice]int{}
	for i := range uint64(3000) {
		at += int64(random.IntN(4)) * seconds
		s := Send{ID: 7e9 + i, At: at, Account: 1, Country: CountryOf("SG"), Number: 65_8100_0000 + uint64(random.IntN(400)), Client: netip.AddrFrom4([4]byte{62, 9, byte(random.IntN(3)), byte(random.IntN(4))})}
		switch random.IntN(4) {
		case 0: // the pumped range
			s.Country, s.Number = CountryOf("UZ"), 998_2001_0000+uint64(random.IntN(3000))
		case 1: // a victim
			s.Number, s.Client = 65_8123_4567, netip.AddrFrom4([4]byte{byte(random.IntN(200)), 9, 9, 9})
		}
		s.ChallengePassed = random.IntN(5) == 0
		for range 20 {
			e.judgeDue(e.tick(at))
		}
		var before, after bytes.Buffer
		if i%150 == 0 {
			if err := e.Snapshot(&before); err != nil {
				t.Fatal(err)
			}
		}
		rehearsed := e.Rehearse(&s).Observe(&s)
		evidence := e.Evidence(&s)
		if i%150 == 0 {
			if err := e.Snapshot(&after); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before.Bytes(), after.Bytes()) {
				t.Fatalf("send %d: the rehearsal changed the engine", i)
			}
		}
		r := e.Observe(&s)
		said[r.Advice]++
		if r.Advice != rehearsed.Advice || r.Kind != rehearsed.Kind || r.Scope != rehearsed.Scope || r.Blocked != rehearsed.Blocked ||
			r.RetryAfter != rehearsed.RetryAfter || r.Signals != rehearsed.Signals {
			t.Fatalf("send %d: rehearsed %v %v %v, then %v %v %v", i, rehearsed.Advice, rehearsed.Kind, rehearsed.Seen(), r.Advice, r.Kind, r.Seen())
		}
		if r.Blocked {
			blocked := false
			for _, x := range evidence {
				blocked = blocked || x.BlockedUntil > at
			}
			if !blocked {
				t.Fatalf("send %d is blocked by %v and the evidence names no block: %+v", i, r.Signals[0], evidence)
			}
		}
		switch {
		case r.Advice.Stops() && random.IntN(3) == 0:
			e.Admitted(&s, &r)
		case random.IntN(4) == 0:
			e.Denied(&s, &r)
		}
		e.Outcome(at+seconds, s.ID-uint64(random.IntN(9)), OutcomeKind(random.IntN(3)))
	}
	for _, a := range []Advice{Allow, Challenge, Deny} {
		if said[a] < 30 {
			t.Errorf("%v was said %d times only: the test shows little", a, said[a])
		}
	}
}
