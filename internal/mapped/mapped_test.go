package mapped

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var kind = Kind{Magic: "SGTEST\x00\x00", Version: 3}

func open(t *testing.T, path string, size int64) *Memory {
	t.Helper()
	m, err := Open(path, size, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestOpen_keepsWhatWasStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	m := open(t, path, 3*Page+1)
	if len(m.Bytes) != 4*Page {
		t.Fatalf("%d bytes, want %d", len(m.Bytes), 4*Page)
	}
	seed := m.Seed
	m.Bytes[0], m.Bytes[4*Page-1] = 7, 8
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, path, 99*Page) // a file keeps its size
	if len(m.Bytes) != 4*Page || m.Bytes[0] != 7 || m.Bytes[4*Page-1] != 8 || m.Seed != seed {
		t.Errorf("%d bytes, first %d, last %d, same seed: %v", len(m.Bytes), m.Bytes[0], m.Bytes[4*Page-1], m.Seed == seed)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".mapped-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpen_keepsItsPlan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	for i, plan := range []string{"two halves", "another"} {
		k := kind
		k.Plan = []byte(plan)
		m, err := Open(path, Page, k)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Plan) != "two halves" {
			t.Errorf("open %d has the plan %q, want that of the one that made it", i, m.Plan)
		}
		m.Close()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[headerLen] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Page, kind); !errors.Is(err, ErrTorn) {
		t.Errorf("a torn plan: %v", err)
	}
	long := kind
	long.Plan = make([]byte, MaxPlan+1)
	if _, err := Open("", Page, long); err == nil {
		t.Error("a plan longer than MaxPlan: no error")
	}
}

func TestAbandon_stragglersTouchNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	m, err := Open(path, Page, kind)
	if err != nil {
		t.Fatal(err)
	}
	m.Bytes[0] = 7
	if err := m.Abandon(); err != nil {
		t.Fatal(err)
	}
	if m.Bytes[0] != 0 {
		t.Error("what was stored is still seen")
	}
	m.Bytes[0] = 8
	if b := open(t, path, Page).Bytes[0]; b != 7 {
		t.Errorf("the file has %d, want 7", b)
	}
}

func TestOpen_inMemory(t *testing.T) {
	a, b := open(t, "", Page), open(t, "", Page)
	a.Bytes[0] = 1
	if b.Bytes[0] != 0 || a.Seed == b.Seed || a.Seed == [32]byte{} {
		t.Error("two memories share something")
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}

func TestOpen_allocatesInFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	open(t, path, 64*Page).Close()
	header, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(t.TempDir(), "copy") // as some programs copy
	if err := errors.Join(os.WriteFile(sparse, header[:headerLen], 0o600), os.Truncate(sparse, 65*Page)); err != nil {
		t.Fatal(err)
	}
	open(t, sparse, Page)
	for _, path := range []string{path, sparse} {
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil || s.Blocks*512 < 65*Page {
			t.Errorf("%s: %d bytes on disk, %v", path, s.Blocks*512, err)
		}
	}
}

func TestOpen_refuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string, b []byte) []byte // nil leaves the file alone
		want   error
	}{
		{"in use", func(t *testing.T, path string, b []byte) []byte { open(t, path, Page); return nil }, ErrInUse},
		{"empty", func(*testing.T, string, []byte) []byte { return []byte{} }, ErrForeign},
		{"other content", func(_ *testing.T, _ string, b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }, ErrForeign},
		{"other version", func(_ *testing.T, _ string, b []byte) []byte { b[8]++; return b }, ErrVersion},
		{"header cut", func(_ *testing.T, _ string, b []byte) []byte { return b[:40] }, ErrTruncated},
		{"file cut", func(_ *testing.T, _ string, b []byte) []byte { return b[:len(b)-1] }, ErrTruncated},
		{"file longer", func(_ *testing.T, _ string, b []byte) []byte { return append(b, 0) }, ErrTruncated},
		{"seed flipped", func(_ *testing.T, _ string, b []byte) []byte { b[30] ^= 1; return b }, ErrTorn},
		{"size flipped", func(_ *testing.T, _ string, b []byte) []byte { b[17] ^= 1; return b }, ErrTorn},
		{"a folder", func(t *testing.T, path string, _ []byte) []byte {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
			return nil
		}, unix.EISDIR},
	} {
		path := filepath.Join(t.TempDir(), "table")
		open(t, path, 2*Page).Close()
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if after := c.damage(t, path, before); after != nil {
			if err := os.WriteFile(path, after, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err = Open(path, 2*Page, kind)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v with the path", c.name, err, c.want)
		}
	}
	for _, size := range []int64{-1, 0, MinSize - 1, MaxSize + 1} {
		if _, err := Open("", size, kind); err == nil {
			t.Errorf("size %d: no error", size)
		}
	}
}

func TestOpen_tellsAFullDisk(t *testing.T) {
	dir := t.TempDir()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Bfree*uint64(s.Bsize) > MaxSize/2 {
		t.Skip("a terabyte may fit here")
	}
	if _, err := Open(filepath.Join(dir, "table"), MaxSize, kind); err == nil || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("a terabyte: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzHeader(f *testing.F) {
	good := header{kind: kind, size: 4 * Page, seed: [32]byte{1, 2}}.marshal()
	f.Add(good, int64(4*Page))
	f.Add(good[:20], int64(20))
	planned := kind
	planned.Plan = []byte("two halves")
	f.Add(header{kind: planned, size: 4 * Page}.marshal(), int64(4*Page))
	f.Add([]byte("SGTEST\x00\x00"), int64(8))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		h, err := parse(b, size, kind)
		if err != nil {
			return
		}
		if h.size != size || size%Page != 0 || !bytes.HasPrefix(b, h.marshal()) {
			t.Errorf("accepted %x of %d bytes", b, size)
		}
	})
}
