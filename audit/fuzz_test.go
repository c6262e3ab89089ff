package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// What parses is what was sealed: the parts of the record are those of the text, and the seal is that of the line.
func FuzzParseLine(f *testing.F) {
	s := newSealer(secret)
	for _, data := range []string{"", `{"a":1}`, `{"seal":"00000000000000000000000000000000"}`} {
		b, _, err := s.appendLine(nil, seal{}, 7, start, "test", []byte(data))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimSuffix(b, []byte("\n")))
	}
	f.Add([]byte(`{"seq":1,"seq":2,"t":"2026-01-01T00:00:00Z","kind":"a","seal":"00000000000000000000000000000000"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLine(b)
		if err != nil {
			return
		}
		var same Record
		if json.Unmarshal(append(bytes.Clone(l.text), '}'), &same) != nil || same.Seq != l.Seq || same.Kind != l.Kind || !same.Time.Equal(l.Time) || !bytes.Equal(same.Data, l.Data) {
			t.Errorf("%q is sealed, and the record is %+v", l.text, l.Record)
		}
	})
}

// No content of a file makes anything but a report; what is not ours makes a fault; and a log can be opened on it.
func FuzzVerify(f *testing.F) {
	from := f.TempDir()
	l := open(f, options(from))
	fill(f, l, 0, 3)
	l.Close()
	all, _ := segments(from)
	ours := content(f, &all[0])
	f.Add(ours)
	f.Add(ours[:len(ours)-9])
	f.Add([]byte("\n\n{}\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(dir, [][]byte{secret}, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Faults) == 0 && r.Lines > 0 { // there is no head
			t.Error("no fault")
		}
		for range Read(dir) {
		}
		l, err := Open(options(dir))
		if err != nil {
			if len(b) < maxLine {
				t.Fatal(err)
			}
			return
		}
		if err := l.Append("test", 1); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(dir, [][]byte{secret}, ""); err != nil || r.Last.Kind != "test" {
			t.Errorf("%+v %v", r, err)
		}
	})
}
