package console_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"testing"
)

// What is kept of others is what docs/dependencies.md says it is.
func TestVendored(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\S+\.(?:js|css)) \|.*\| ([0-9a-f]{64}) \|$`).FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 3 {
		t.Fatalf("%d files are told, want 3 at least", len(rows))
	}
	for _, row := range rows {
		file, err := os.ReadFile("../../" + row[1])
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != row[2] {
			t.Errorf("%s: the sum is %x, not what docs/dependencies.md says", row[1], sum)
		}
	}
}
