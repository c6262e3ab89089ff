package detect

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// A restart must change nothing: the same traffic gives the same answers after Snapshot and Restore as without.
func TestSnapshotCarriesOn(t *testing.T) {
	run := func(restart bool) []Result {
		w := newWorld(t, Options{Size: 8 << 20, Seed: 11})
		w.people("SG", 65, 3000, 6*hours)
		w.pump("UZ", 9982001, 40, 200, 0)
		if restart {
			var buf bytes.Buffer
			if err := w.e.Snapshot(&buf); err != nil {
				t.Fatal(err)
			}
			e, err := New(Options{Size: 8 << 20, Seed: 99})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Restore(&buf); err != nil {
				t.Fatal(err)
			}
			if err := w.e.Close(); err != nil {
				t.Fatal(err)
			}
			w.e = e
		}
		before := len(w.e.Blocks(w.now))
		if before == 0 {
			t.Fatal("the attack made no block, so the test shows nothing")
		}
		w.results = nil
		w.pump("UZ", 9982001, 40, 100, 0)
		w.people("SG", 65, 500, hours)
		return w.results
	}
	a, b := run(false), run(true)
	if len(a) != len(b) {
		t.Fatalf("%d results without a restart, %d with", len(a), len(b))
	}
	for i := range a {
		if a[i].Advice != b[i].Advice || a[i].Kind != b[i].Kind || a[i].RetryAfter != b[i].RetryAfter {
			t.Fatalf("send %d: %v %v without a restart, %v %v with", i, a[i].Advice, a[i].Kind, b[i].Advice, b[i].Kind)
		}
	}
}

// A torn, flipped or foreign snapshot is a clear error and leaves the engine as it was.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, Options{Size: 4 << 20, Seed: 1})
	w.people("SG", 65, 300, hours)
	w.pump("UZ", 9982001, 60, 60, 0)
	var buf bytes.Buffer
	if err := w.e.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	whole := buf.Bytes()
	blocks := len(w.e.Blocks(w.now))
	try := func(name string, b []byte) {
		t.Helper()
		if err := w.e.Restore(bytes.NewReader(b)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: error %v, want ErrSnapshot", name, err)
		}
		if got := len(w.e.Blocks(w.now)); got != blocks {
			t.Fatalf("%s: %d blocks after the error, %d before", name, got, blocks)
		}
	}
	try("empty", nil)
	try("foreign", bytes.Repeat([]byte("not a snapshot "), 100))
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		try("torn", whole[:rnd.IntN(len(whole))])
		flipped := bytes.Clone(whole)
		flipped[rnd.IntN(len(whole))] ^= 1 << rnd.IntN(8)
		try("flipped", flipped)
	}
	small, err := New(Options{Size: 5 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = small.Close() }()
	if err := small.Restore(bytes.NewReader(whole)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("another size: error %v, want ErrSnapshot", err)
	}
	if err := w.e.Restore(bytes.NewReader(whole)); err != nil {
		t.Errorf("the whole snapshot: %v", err)
	}
}
