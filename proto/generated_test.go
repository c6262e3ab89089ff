// Package proto_test keeps the generated Go in step with the protos without needing buf, which takes minutes to build.
package proto_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sums holds what the generated code was made from and what came out. Only `make generate` writes it, after buf has linted,
// compared and generated; CI runs buf again and compares its output byte by byte (tools/proto.sh).
const sums = "generated.sum"

// generators are the modules whose version can change the output.
var generators = []string{
	"connectrpc.com/connect",
	"github.com/bufbuild/buf",
	"google.golang.org/grpc/cmd/protoc-gen-go-grpc",
	"google.golang.org/protobuf",
}

var update = flag.Bool("update", false, "write "+sums+"; for make generate only")

func TestGeneratedIsFresh(t *testing.T) {
	got := append(fileSums(t), generatorVersions(t)...)
	if *update {
		if err := os.WriteFile(sums, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(sums)
	if err != nil {
		t.Fatalf("%v: run `make generate`", err)
	}
	want := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("changed since the code was generated: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("was there when the code was generated: %s", line)
		}
	}
	if t.Failed() {
		t.Log("run `make generate` and commit what it writes")
	}
}

// fileSums hashes the protos, the generation template and the generated Go.
func fileSums(t *testing.T) []string {
	t.Helper()
	paths := []string{"../buf.gen.yaml"}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		for _, suffix := range []string{".proto", ".pb.go", ".connect.go"} {
			if strings.HasSuffix(path, suffix) {
				paths = append(paths, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 2 {
		t.Fatal("no .proto file here")
	}
	lines := make([]string, 0, len(paths)+len(generators))
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%x %s", sha256.Sum256(content), filepath.ToSlash(path)))
	}
	return lines
}

// generatorVersions reads the pinned versions from tools/go.mod.
func generatorVersions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../tools/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && slices.Contains(generators, f[0]) {
			lines = append(lines, f[0]+" "+f[1])
		}
	}
	if len(lines) != len(generators) {
		t.Fatalf("tools/go.mod pins %q, want one version of each of %q", lines, generators)
	}
	return lines
}
