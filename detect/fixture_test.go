package detect

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"hash/fnv"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fixtureEvent is a line of the labelled traffic. Label is ground truth: the engine never sees it.
type fixtureEvent struct {
	T, Type, ID, Msisdn, IP, Account, Endpoint, Purpose, Label, Outcome string
}

func readFixture(t *testing.T) []fixtureEvent {
	t.Helper()
	f, err := os.Open("testdata/dev-10-tiny-fixture.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []fixtureEvent
	for sc := bufio.NewScanner(z); sc.Scan(); {
		var ev fixtureEvent
		if err := json.Unmarshal(sc.Bytes(), &ev); err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
	return all
}

func fixtureHash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// score of a replay: what was stopped of each label, and the benign sends that were denied or challenged by detection.
type score struct {
	stopped, sent      map[string]int
	denied, challenged int
	verdicts           strings.Builder
}

// replayFixture plays the fixture counterfactually: a send that was stopped has no outcomes; people solve challenges, bots do not.
// Two plain limits stand behind the engine, one a minute and ten in half an hour by number, and what they refuse is reported.
func replayFixture(t *testing.T, events []fixtureEvent, size int64) *score {
	t.Helper()
	e, err := New(Options{Size: size, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	sc := &score{stopped: map[string]int{}, sent: map[string]int{}}
	stopped := map[string]bool{}
	taken := map[uint64][]int64{}
	countryOf := map[string]string{"+65": "SG", "+44": "GB", "+99": "UZ"}
	for _, ev := range events {
		at, err := time.Parse(time.RFC3339, ev.T)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Type == "outcome" {
			if what, ok := ParseOutcome(ev.Outcome); ok && !stopped[ev.ID] {
				e.Outcome(at.UnixNano(), fixtureHash(ev.ID), what)
			}
			continue
		}
		s := Send{ID: fixtureHash(ev.ID), At: at.UnixNano(), Account: fixtureHash(ev.Account), Lookup: ev.Endpoint != "signup",
			Country: CountryOf(countryOf[ev.Msisdn[:3]]), Client: netip.MustParseAddr(ev.IP)}
		if ev.Purpose != "otp" {
			s.Purpose = Transactional
		}
		if s.Number, err = strconv.ParseUint(ev.Msisdn[1:], 10, 64); err != nil {
			t.Fatal(err)
		}
		r := e.Observe(&s)
		verdict, limited := r.Advice, false
		if s.Purpose == OTP && (r.Advice < Delay || r.Advice == Challenge) {
			q := taken[s.Number]
			for len(q) > 0 && q[0] <= s.At-30*minutes {
				q = q[1:]
			}
			if limited = len(q) >= 10 || len(q) > 0 && q[len(q)-1] > s.At-minutes; limited {
				e.Denied(&s, &r)
				verdict = Deny
			} else {
				q = append(q, s.At)
			}
			taken[s.Number] = q
		}
		sc.verdicts.WriteString(verdict.String() + " " + r.Kind.String() + "\n")
		sc.sent[ev.Label]++
		if verdict.Stops() {
			sc.stopped[ev.Label]++
			if ev.Label == "benign" && !limited {
				if verdict == Challenge {
					sc.challenged++
				} else {
					sc.denied++
				}
			}
			stopped[ev.ID] = verdict != Challenge || ev.Label != "benign"
		}
	}
	return sc
}

// The bars of the labelled traffic, on its smallest scenario: a loud range, a slow range among real subscribers, a flooded number.
func TestFixture(t *testing.T) {
	events := readFixture(t)
	for _, tc := range []struct {
		size int64
		slip float64 // recall that smaller tables may cost
	}{{64 << 20, 0}, {8 << 20, .02}} {
		sc := replayFixture(t, events, tc.size)
		for label, least := range map[string]float64{"c_tiny": .99, "f_tiny": .95, "b_tiny": .95} {
			if got := float64(sc.stopped[label]) / float64(sc.sent[label]); got < least-tc.slip {
				t.Errorf("%d MiB: %s: %.1f%% stopped, want %.1f%%", tc.size>>20, label, 100*got, 100*least)
			}
		}
		if sc.sent["benign"] < 13000 {
			t.Fatalf("only %d benign sends", sc.sent["benign"])
		}
		if sc.denied > 1 || sc.challenged > 5 {
			t.Errorf("%d MiB: %d of %d benign sends denied, %d challenged by detection", tc.size>>20, sc.denied, sc.sent["benign"], sc.challenged)
		}
	}
}

// The same log gives the same verdicts.
func TestReplayIsDeterministic(t *testing.T) {
	events := readFixture(t)
	a, b := replayFixture(t, events, 16<<20), replayFixture(t, events, 16<<20)
	if a.verdicts.String() != b.verdicts.String() {
		t.Error("two replays of one log differ")
	}
}
