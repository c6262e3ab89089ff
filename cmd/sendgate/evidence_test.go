package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sendgate/sendgate/detect"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

func testEvidence(t *testing.T, dir string, bytes int64) (*evidence, *strings.Builder) {
	t.Helper()
	said := new(strings.Builder)
	e, err := openEvidence(dir, bytes, slog.New(slog.NewTextHandler(said, nil)), testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return e, said
}

// flood asks for one number from ever other networks until it is held.
func flood(t *testing.T, e *evidence) (at int64, s detect.Send) {
	t.Helper()
	s = detect.Send{At: 1_800_000_000e9, Number: 6581234567, Country: detect.CountryOf("SG")}
	for i := range 40 {
		s.At += 60e9
		s.Client = netip.AddrFrom4([4]byte{20, byte(i), 1, 1})
		if e.Observe(&s).Advice == detect.Deny {
			return s.At, s
		}
	}
	t.Fatal("40 networks ask for one number and nothing is seen")
	return
}

func TestEvidence_blocksSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	e, _ := testEvidence(t, dir, 8<<20)
	_, s := flood(t, e)
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(e.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want a file that only its owner reads", info.Mode(), err)
	}
	e, said := testEvidence(t, dir, 8<<20)
	defer e.close()
	s.At += 60e9
	if r := e.Observe(&s); r.Advice != detect.Deny || !r.Blocked {
		t.Errorf("after the restart the number is %v, want it still denied", r.Advice)
	}
	if said.Len() > 0 {
		t.Errorf("said %s", said)
	}
}

func TestEvidence_putsAsideWhatDoesNotFit(t *testing.T) {
	dir := t.TempDir()
	e, _ := testEvidence(t, dir, 8<<20)
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	e, said := testEvidence(t, dir, 16<<20)
	defer e.close()
	if !strings.Contains(said.String(), "set the same size") {
		t.Errorf("said %q, want the reason", said)
	}
	if _, err := os.Stat(filepath.Join(dir, "evidence.unusable")); err != nil {
		t.Error(err)
	}
}

func TestEvidence_isSavedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := testEvidence(t, t.TempDir(), 8<<20)
		flood(t, e)
		time.Sleep(snapshotEvery + time.Second)
		synctest.Wait()
		saved, err := os.Open(e.path)
		if err != nil {
			t.Fatalf("no snapshot after %s: %v", snapshotEvery, err)
		}
		defer saved.Close()
		var plain bytes.Buffer
		err = unseal(saved, testSecret, func(r io.Reader) error {
			_, err := plain.ReadFrom(r)
			return err
		})
		if err != nil || !bytes.HasPrefix(plain.Bytes(), []byte("sgdetect")) {
			t.Errorf("what was saved after %s is no snapshot: %v", snapshotEvery, err)
		}
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
}

// The snapshot holds numbers, so it is sealed: in no form does a number lie in the file, and no changed file is believed.
func TestEvidence_isSealed(t *testing.T) {
	dir := t.TempDir()
	e, _ := testEvidence(t, dir, 8<<20)
	_, s := flood(t, e)
	var plain bytes.Buffer
	if err := e.Snapshot(&plain); err != nil {
		t.Fatal(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	saved, err := os.ReadFile(e.path)
	if err != nil {
		t.Fatal(err)
	}
	forms := [][]byte{[]byte("6581234567"), binary.LittleEndian.AppendUint64(nil, s.Number), binary.BigEndian.AppendUint64(nil, s.Number)}
	found := false
	for _, form := range forms {
		found = found || bytes.Contains(plain.Bytes(), form)
		if bytes.Contains(saved, form) {
			t.Errorf("the number lies in the file as %x", form)
		}
	}
	if !found {
		t.Error("the number is not even in the snapshot: the search shows nothing")
	}
	read := func(b []byte, secret []byte) error {
		return unseal(bytes.NewReader(b), secret, func(r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
	}
	if err := read(saved, testSecret); err != nil {
		t.Errorf("as it was written: %v", err)
	}
	changed := bytes.Clone(saved)
	changed[len(changed)/2] ^= 1
	for name, err := range map[string]error{
		"another secret": read(saved, bytes.Repeat([]byte("x"), 32)), "changed": read(changed, testSecret),
		"cut off": read(saved[:len(saved)/2], testSecret), "cut at a part": read(saved[:sealSalt+2*(64<<10+32)], testSecret),
		"salt only": read(saved[:sealSalt], testSecret), "empty": read(nil, testSecret),
	} {
		if !errors.Is(err, errSealed) {
			t.Errorf("%s: %v, want errSealed", name, err)
		}
	}
}
