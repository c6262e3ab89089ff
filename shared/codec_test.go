package shared

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
)

func sightings() []gate.Sighting {
	const at = 1_800_000_000_123 * milli
	return []gate.Sighting{
		{What: gate.SightWent, Send: detect.Send{ID: 1<<63 + 7, At: at, Number: 6581234567, Country: detect.CountryOf("SG"), Client: netip.MustParseAddr("203.0.113.7"), Account: 1 << 62, Lookup: true, Silent: true}},
		{What: gate.SightStopped, Send: detect.Send{ID: 1, At: at + 5*milli, Number: 999_999_999_999_999, Client: netip.MustParseAddr("2001:db8::7"), ChallengePassed: true, Exempt: true}},
		{What: gate.SightDenied, Send: detect.Send{ID: 2, At: at - 5000*milli, Number: 6581234567}},
		{What: gate.SightOutcome, Send: detect.Send{ID: 1, At: at}, Outcome: detect.NotSent, Account: [4]byte{1, 2, 3, 4}},
		{What: gate.SightReleased, Send: detect.Send{At: at}, Released: detect.Subject{Scope: detect.ScopeRange3, Country: detect.CountryOf("SG"), Digits: 65812}},
		{What: gate.SightReleased, Send: detect.Send{At: at}, Released: detect.AddressSubject(detect.ScopeAddrBlock, netip.MustParsePrefix("203.0.113.0/24"))},
	}
}

func encode(all []gate.Sighting) []byte {
	base := all[0].Send.At / milli
	b := binary.AppendVarint(nil, base)
	for i := range all {
		b = appendRecord(b, base, &all[i])
	}
	return b
}

// TestRecords: what is told is what is heard.
func TestRecords(t *testing.T) {
	want := sightings()
	b := encode(want)
	t.Logf("%d bytes for %d sightings", len(b), len(want))
	var got []gate.Sighting
	if err := readRecords(b, func(s *gate.Sighting) { got = append(got, *s) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d of %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
	for n := range b {
		heard := 0
		if err := readRecords(b[:n], func(*gate.Sighting) { heard++ }); err == nil && heard == len(want) {
			t.Errorf("%d bytes of %d were enough", n, len(b))
		}
	}
}

// TestSeal: nobody without the secret reads a batch, and no bit of it can be changed.
func TestSeal(t *testing.T) {
	s, err := newSeal(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	records := encode(sightings())
	b := s.batch([8]byte{1}, 7, records)
	if bytes.Contains(b, records[:8]) {
		t.Error("the records are in the clear")
	}
	from, number, opened, err := s.open(b)
	if err != nil || from != [8]byte{1} || number != 7 || !bytes.Equal(opened, records) {
		t.Fatal(from, number, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, _, _, err := s.open(bad); err == nil {
			t.Fatalf("byte %d was changed", i)
		}
	}
	other, err := newSeal(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := other.open(b); err == nil {
		t.Error("another secret opens it")
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(encode(sightings()))
	f.Add([]byte{0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var all []gate.Sighting
		if readRecords(b, func(s *gate.Sighting) { all = append(all, *s) }) != nil || len(all) == 0 {
			return
		}
		var again []gate.Sighting
		if err := readRecords(encode(all), func(s *gate.Sighting) { again = append(again, *s) }); err != nil || len(again) != len(all) {
			t.Fatalf("%d, then %d: %v", len(all), len(again), err)
		}
	})
}
