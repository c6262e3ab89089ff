package lists_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
	"pgregory.net/rapid"
)

var (
	secret      = []byte("0123456789abcdef")
	otherSecret = []byte("fedcba9876543210")
)

func open(t testing.TB, dir string) *lists.Store {
	t.Helper()
	s, err := lists.Open(dir, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t testing.TB, s *lists.Store, entries ...lists.Entry) []lists.Entry {
	t.Helper()
	out, err := s.Add(noon, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func closeStore(t testing.TB, s *lists.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func all(s *lists.Store) []lists.Entry { return slices.Collect(s.Snapshot().All()) }

func journal(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "lists.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStore_survivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := entry(t, lists.Block, "+6591234567")
	e.Expires = noon.Add(time.Hour)
	stored := add(t, s, e, entry(t, lists.Allow, "203.0.113.0/24"), entry(t, lists.Block, "+6591*"), entry(t, lists.Block, "ID"))
	if gone, ok, err := s.Remove(noon, lists.Block, target(t, "+6591*"), "over", "lee"); err != nil || !ok || gone.Reason != stored[2].Reason {
		t.Fatal(gone, ok, err)
	}
	if _, ok, err := s.Remove(noon, lists.Block, target(t, "+6591*"), "again", "lee"); err != nil || ok {
		t.Fatal("removed twice", err)
	}
	before := all(s)
	closeStore(t, s)

	s = open(t, dir)
	if after := all(s); !slices.Equal(before, after) || len(after) != 3 {
		t.Fatalf("before %v\nafter %v", before, after)
	}
	got := s.Lookup(singapore, noon)
	if e := got.Block.Number.Entry(); e != stored[0] || e.Author != "kim" || !e.Created.Equal(noon) {
		t.Fatalf("got %+v, want %+v", e, stored[0])
	}
	if s.Lookup(singapore, noon.Add(time.Hour)).Block.OK() {
		t.Fatal("expired entry still counts")
	}
	if len(s.Notes()) != 0 {
		t.Fatal(s.Notes())
	}
}

func TestStore_keepsNumbersSealed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	stored := add(t, s, entry(t, lists.Block, "+6591234567"), entry(t, lists.Block, "+6591234***"))
	text := string(journal(t, dir))
	if strings.Contains(text, "91234567") || !strings.Contains(text, ":+65****67") || !strings.Contains(text, "+6591234***") {
		t.Fatal(text)
	}
	if info, err := os.Stat(filepath.Join(dir, "lists.jsonl")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	// What is shown can be used to remove it.
	id := stored[0].Target.ID()
	if _, ok, err := s.Remove(noon, lists.Block, target(t, id), "", "lee"); err != nil || !ok {
		t.Fatal(id, ok, err)
	}
	if got := name(s.Lookup(singapore, noon).Block.Number); got != "+6591234***" {
		t.Fatal(got)
	}
}

func TestStore_replaces(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i, text := range append(modelTexts, modelTexts...) {
		e := entry(t, lists.Block, text)
		e.Reason = fmt.Sprint(i)
		add(t, s, e)
	}
	check := func() {
		t.Helper()
		got := all(s)
		if len(got) != len(modelTexts) || s.Snapshot().Len() != len(modelTexts) {
			t.Fatalf("%d entries, want %d", len(got), len(modelTexts))
		}
		for i, e := range got {
			if want := fmt.Sprint(len(modelTexts) + i); e.Reason != want {
				t.Errorf("%s has reason %s, want %s", e.Target, e.Reason, want)
			}
		}
	}
	check()
	closeStore(t, s)
	s = open(t, dir)
	check()
}

func TestStore_rotatesSecrets(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, entry(t, lists.Block, "+6591234567"), entry(t, lists.Block, "+6591234568"))
	closeStore(t, s)

	if _, err := lists.Open(dir, otherSecret); err == nil || !strings.Contains(err.Error(), "lists.jsonl:2: sealed with another secret") {
		t.Fatal(err)
	}
	s, err := lists.Open(dir, otherSecret, secret)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Lookup(singapore, noon).Block.OK() {
		t.Fatal("not found by the old secret")
	}
	add(t, s, entry(t, lists.Block, "+6591234567")) // moves to the new secret
	if n := s.Snapshot().Len(); n != 2 {
		t.Fatalf("%d entries", n)
	}
	if _, ok, err := s.Remove(noon, lists.Block, target(t, "+6591234568"), "", "lee"); err != nil || !ok {
		t.Fatal("not removed by the old secret", err)
	}
	closeStore(t, s)
	if s, err = lists.Open(dir, otherSecret, secret); err != nil {
		t.Fatal(err)
	}
	if n := s.Snapshot().Len(); n != 1 || !s.Lookup(singapore, noon).Block.OK() {
		t.Fatalf("%d entries", n)
	}
	closeStore(t, s)
	for _, bad := range [][][]byte{{[]byte("short")}, {secret, []byte("short")}, {secret, secret, secret, secret, secret}} {
		if _, err := lists.Open(t.TempDir(), bad[0], bad[1:]...); err == nil {
			t.Errorf("%d secrets: no error", len(bad))
		}
	}
}

func TestStore_refusesBadChanges(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	good := entry(t, lists.Block, "+6591*")
	before := journal(t, dir)
	for want, change := range map[string]func(*lists.Entry){
		"author: write who":      func(e *lists.Entry) { e.Author = "" },
		"expires: lies not":      func(e *lists.Entry) { e.Expires = noon },
		"parse one with":         func(e *lists.Entry) { e.Target = lists.Target{} },
		"list: write allow":      func(e *lists.Entry) { e.List = 3 },
		"holds a phone number":   func(e *lists.Entry) { e.Reason = "+6591234567" },
		"year outside of range ": func(e *lists.Entry) { e.Expires = time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		e := good
		change(&e)
		if _, err := s.Add(noon, good, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, _, err := s.Remove(noon, lists.Block, good.Target, "", ""); err == nil {
		t.Error("removed without an author")
	}
	if s.Snapshot().Len() != 0 || !bytes.Equal(before, journal(t, dir)) {
		t.Error("a refused change left something behind")
	}
	if _, err := lists.Open(dir, secret); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
	closeStore(t, s)
	if _, err := s.Add(noon, good); !errors.Is(err, lists.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestStore_compacts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	short := entry(t, lists.Block, "+6591234***")
	short.Expires = noon.Add(time.Second)
	keep := add(t, s, entry(t, lists.Block, "+6591234567"), short, entry(t, lists.Allow, "SG"))
	old := s.Snapshot()
	e := entry(t, lists.Block, "+6581*")
	for i := range 12 {
		var batch []lists.Entry
		for k := range 100 {
			e.Reason = fmt.Sprint(i, k)
			batch = append(batch, e)
		}
		if _, err := s.Add(noon.Add(time.Minute), batch...); err != nil {
			t.Fatal(err)
		}
	}
	if n := bytes.Count(journal(t, dir), []byte("\n")); n > 300 {
		t.Fatalf("%d lines after compaction", n)
	}
	was, err := os.ReadFile(filepath.Join(dir, "lists.jsonl.old"))
	if err != nil || bytes.Count(was, []byte("\n")) != 1+3+1100 || !bytes.Contains(was, []byte("+6591234***")) {
		t.Fatalf("old journal: %d lines, %v", bytes.Count(was, []byte("\n")), err)
	}
	want := []lists.Entry{keep[0], keep[2], e}
	want[2].Created = noon.Add(time.Minute)
	for range 2 {
		if got := all(s); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		closeStore(t, s)
		s = open(t, dir)
	}
	if !old.Lookup(singapore, noon).Block.OK() || old.Len() != 3 {
		t.Fatal("an old snapshot changed")
	}
}

// A crash can cut the file after any byte. What was acknowledged before is there, the rest is gone, and it is told.
func TestStore_crashAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	type state struct {
		size    int
		entries []lists.Entry
	}
	states := []state{{len(journal(t, dir)), nil}}
	note := func() { states = append(states, state{len(journal(t, dir)), all(s)}) }
	for _, text := range []string{"+6591234567", "+6591234***", "203.0.113.0/24"} {
		add(t, s, entry(t, lists.Block, text))
		note()
	}
	if _, _, err := s.Remove(noon, lists.Block, target(t, "+6591234567"), "over", "lee"); err != nil {
		t.Fatal(err)
	}
	note()
	closeStore(t, s)
	text := journal(t, dir)

	for cut := range len(text) + 1 {
		for _, tail := range []string{"", "\x00\x00\x00"} {
			crashed := t.TempDir()
			if err := os.WriteFile(filepath.Join(crashed, "lists.jsonl"), append(slices.Clone(text[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := lists.Open(crashed, secret)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			// A line that lacks only its end counts: it may have been written in full, and nobody was told that it was not.
			at := 0
			for at+1 < len(states) && states[at+1].size <= cut+1 {
				at++
			}
			if tail != "" && states[at].size > cut {
				at--
			}
			at = max(at, 0)
			if got := all(s); !slices.Equal(got, states[at].entries) {
				t.Fatalf("cut at %d: %v, want %v", cut, got, states[at].entries)
			}
			whole := cut >= states[0].size-1 && (cut == states[at].size || cut == states[at].size-1) && tail == ""
			if told := len(s.Notes()) == 1; told == (whole || cut == 0 && tail == "") {
				t.Fatalf("cut at %d: told %v", cut, s.Notes())
			}
			if tail == "" && cut%16 == 0 {
				add(t, s, entry(t, lists.Allow, "SG"))
			}
			want := all(s)
			closeStore(t, s)
			if s, err = lists.Open(crashed, secret); err != nil || !slices.Equal(all(s), want) || len(s.Notes()) != 0 {
				t.Fatalf("cut at %d, second start: %v", cut, err)
			}
			closeStore(t, s)
		}
	}
}

const header = `{"sendgate":"lists","version":1}` + "\n"

func TestStore_refusesForeignFiles(t *testing.T) {
	line := func(change ...string) string {
		return strings.NewReplacer(change...).Replace(`{"op":"add","t":"2026-11-23T12:00:00Z","list":"block","target":"+6591*","reason":"r","author":"kim"}`) + "\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"another file":         {"hello\n", "lists.jsonl:1: not a list journal"},
		"another file, 1 line": {"hello", "lists.jsonl:1: not a list journal"},
		"another version":      {`{"sendgate":"lists","version":2}` + "\n", "lists.jsonl:1: not a list journal of this version"},
		"garbage inside":       {header + "xxxx\n" + line(), "lists.jsonl:2: not a line that sendgate wrote"},
		"garbage at the end":   {header + line() + "+6591234567", "lists.jsonl:3: not a line that sendgate wrote"},
		"torn inside":          {header + line()[:30] + "\n" + line(), "lists.jsonl:2: not a line"},
		"empty line":           {header + "\n" + line(), "lists.jsonl:2: not a line"},
		"two values":           {header + line("}", "} {}"), "lists.jsonl:2: not a line"},
		"unknown field":        {header + line(`"op"`, `"x":1,"op"`), "lists.jsonl:2: not a line"},
		"unknown operation":    {header + line(`"add"`, `"ad"`), "lists.jsonl:2: op: is neither"},
		"unknown list":         {header + line(`"block"`, `"deny"`), "lists.jsonl:2: list: write allow, block or test"},
		"bad target":           {header + line(`+6591*`, `+6591234567*`), "lists.jsonl:2: target: a prefix has 9 digits"},
		"number in clear":      {header + line(`+6591*`, `+6591234567`), "lists.jsonl:2: target: a number in clear"},
		"no time":              {header + line(`2026`, `0001`, `11-23T12`, `01-01T00`), "lists.jsonl:2: t: no time"},
		"long line":            {header + strings.Repeat("x", 5000) + "\n", "lists.jsonl:2: longer than 4096 bytes"},
		"endless line":         {header + `{"op":"` + strings.Repeat("x", 1<<20), "lists.jsonl:2: longer than 4096 bytes"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "lists.jsonl")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := lists.Open(dir, secret)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "1234567") {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if got := journal(t, dir); string(got) != c.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// The store does what a slice does, over restarts and compactions.
func TestStore_againstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "lists")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, err := lists.Open(dir, secret)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		var m model
		serial := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				var batch []lists.Entry
				for range rapid.IntRange(1, 4).Draw(t, "batch") {
					serial++
					e := drawEntry(t, serial)
					batch = append(batch, e)
					m = append(m.without(e.List, e.Target), e)
				}
				if _, err := s.Add(noon, batch...); err != nil {
					t.Fatal(err)
				}
			},
			"remove": func(t *rapid.T) {
				e := drawEntry(t, 0)
				_, ok, err := s.Remove(noon, e.List, e.Target, "", "lee")
				rest := m.without(e.List, e.Target)
				if err != nil || ok != (len(rest) < len(m)) {
					t.Fatal(ok, err)
				}
				m = rest
			},
			"restart": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = lists.Open(dir, secret); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				q, now := drawQuery(t), noon.Add(time.Duration(rapid.IntRange(-1, 61).Draw(t, "minute"))*time.Minute)
				if got, want := results(s.Lookup(q, now)), m.lookup(q, now); got != want {
					t.Fatalf("got %v, want %v", got, want)
				}
				if s.Snapshot().Len() != len(m) {
					t.Fatalf("%d entries, want %d", s.Snapshot().Len(), len(m))
				}
			},
		})
	})
}

func TestSnapshot_neverChanges(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, entry(t, lists.Block, "GB"), entry(t, lists.Block, "+4477*")) // the next changes are no longer made in place
	for _, text := range modelTexts {
		without := s.Snapshot()
		add(t, s, entry(t, lists.Block, text))
		with := s.Snapshot()
		if _, ok, err := s.Remove(noon, lists.Block, target(t, text), "", "lee"); err != nil || !ok {
			t.Fatal(text, ok, err)
		}
		for set, want := range map[*lists.Set]bool{without: false, with: true, s.Snapshot(): false} {
			if _, ok := set.Find(lists.Block, target(t, text)); ok != want {
				t.Errorf("%s: found %v, want %v", text, ok, want)
			}
		}
	}
}

// Readers see whole snapshots: of a pair that is changed in one batch they never see half.
func TestStore_readersAndWriters(t *testing.T) {
	s := open(t, t.TempDir())
	pair := []lists.Entry{entry(t, lists.Block, "+6591234567"), entry(t, lists.Allow, "203.0.113.0/24")}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				r := s.Lookup(singapore, noon)
				if r.Block.OK() != r.Allow.OK() || r.Block.OK() && r.Block.Match().Entry().Reason != r.Allow.Match().Entry().Reason {
					t.Error("half a change")
					return
				}
			}
		})
	}
	for i := range 520 { // past a compaction
		for k := range pair {
			pair[k].Reason = fmt.Sprint(i)
		}
		add(t, s, pair...)
	}
	close(done)
	readers.Wait()
}
