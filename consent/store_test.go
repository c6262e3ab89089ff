package consent_test

import (
	"strings"
	"testing"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/consenttest"
)

func openFile(t testing.TB, dir string) *consent.File {
	t.Helper()
	f, err := consent.OpenFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFile(t *testing.T) {
	consenttest.Run(t, func(t *testing.T, place string) consent.Store { return openFile(t, place) }, true)
}

func TestMemory(t *testing.T) {
	consenttest.Run(t, func(*testing.T, string) consent.Store { return new(consent.Memory) }, false)
}

func TestOpenFile_oneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	openFile(t, dir)
	if _, err := consent.OpenFile(dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second owner got %v", err)
	}
}
