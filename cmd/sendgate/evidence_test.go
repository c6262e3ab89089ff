package main

import (
	"bytes"
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

func testEvidence(t *testing.T, dir string, bytes int64) (*evidence, *strings.Builder) {
	t.Helper()
	said := new(strings.Builder)
	e, err := openEvidence(dir, bytes, slog.New(slog.NewTextHandler(said, nil)))
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
		if saved, err := os.ReadFile(e.path); !bytes.HasPrefix(saved, []byte("sgdetect")) {
			t.Errorf("no snapshot after %s: %v", snapshotEvery, err)
		}
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
}
