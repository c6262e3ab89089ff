package lists

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"
)

// FuzzJournal reads the bytes without a disk, which would allow only a few tries a second. What is read, written
// and read again is the same, and what is left out as torn is at the end.
func FuzzJournal(f *testing.F) {
	const line = `{"op":"add","t":"2026-11-23T12:00:00Z","list":"block","target":"+6591*","reason":"r","author":"kim","expires":"2026-11-24T12:00:00Z"}` + "\n"
	const sealed = `{"op":"add","t":"2026-11-23T12:00:00Z","list":"test","target":"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+65****67","reason":"","author":"kim"}` + "\n"
	const removed = `{"op":"remove","t":"2026-11-23T12:00:00.5+08:00","list":"block","target":"+6591*","reason":"","author":"lee"}` + "\n"
	const header = journalHeader + "\n"
	for _, text := range []string{
		"", header, header + line, header + line + removed + sealed, header + line + line[:40], header + line[:len(line)-1], header + "\x00\x00",
		header[:10], "hello", header + "{}\n", header + line + "x", header + removed,
	} {
		f.Add([]byte(text))
	}
	sealers := []*sealer{{id: 0x5f1c2e90}}
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := readJournal(bytes.NewReader(text), sealers)
		if err != nil {
			return
		}
		if j.size > int64(len(text)) || (j.torn == "") != (j.size == int64(len(text))) {
			t.Fatalf("%d bytes of %d are whole, torn: %q", j.size, len(text), j.torn)
		}
		entries := slices.Collect(j.edit.set.All())
		if len(entries) != j.edit.set.Len() {
			t.Fatalf("%d entries, Len %d", len(entries), j.edit.set.Len())
		}
		again := []byte(header)
		for _, e := range entries {
			if again, err = appendLine(again, opAdd, e); err != nil {
				t.Fatal(err)
			}
		}
		k, err := readJournal(bytes.NewReader(again), sealers)
		if err != nil || k.torn != "" || !slices.Equal(slices.Collect(k.edit.set.All()), entries) {
			t.Fatalf("%s\nis read as %v, %v", again, k, err)
		}
	})
}

func TestNanos_clampsWhatUnixNanoCannotHold(t *testing.T) {
	for year, want := range map[int]int64{1: math.MinInt64 + 1, 9000: math.MaxInt64 - 1} {
		if got := nanos(time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC), 0); got != want {
			t.Errorf("%d: %d", year, got)
		}
	}
	if got := nanos(time.Time{}, 5); got != 5 || !moment(5, 5).IsZero() {
		t.Errorf("zero time: %d", got)
	}
}
