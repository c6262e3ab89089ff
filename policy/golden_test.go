package policy_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/policy"
)

var update = flag.Bool("update", false, "write the golden files of testdata")

// golden compares with a file beside the input.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it)\ngot\n%s\nwant\n%s", path, got, want)
	}
}

func inputs(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return files
}

func TestParse_good(t *testing.T) {
	for _, file := range inputs(t, "*.good.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := policy.Parse(file, src)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(p, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".json", string(text)+"\n")
		})
	}
}

func TestParse_bad(t *testing.T) {
	for _, file := range inputs(t, "*.bad.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := policy.Parse("policy.yaml", src)
			var problems *policy.Error
			if p != nil || !errors.As(err, &problems) {
				t.Fatalf("got %v, %v", p, err)
			}
			if !slices.IsSortedFunc(problems.Problems, func(a, b policy.Problem) int { return a.Line - b.Line }) {
				t.Error("the problems are not sorted by line")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

// Somebody will paste a number, or a key, where it does not belong. Neither may come back in the error, which goes to logs.
func TestParse_errorsKeepSecrets(t *testing.T) {
	for _, file := range inputs(t, "*.bad.yaml") {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = policy.Parse("policy.yaml", src)
		for _, secret := range []string{`65 ?9888 ?7766`, `9888x7766`, `659888`, `hunter2`} {
			if found := regexp.MustCompile(secret).FindString(err.Error()); found != "" {
				t.Errorf("%s: the error shows %q:\n%v", file, found, err)
			}
		}
	}
}

// What the reference lists is what the full example uses, key by key.
func TestReference_isWhatTheFullExampleUses(t *testing.T) {
	src, err := os.ReadFile("testdata/full.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, f := range policy.Reference() {
		if seen[f.Path] {
			t.Errorf("%s is listed twice", f.Path)
		}
		seen[f.Path] = true
		if f.Meaning == "" || f.Type == "" || !strings.HasSuffix(f.Meaning, ".") {
			t.Errorf("%s has no type or no meaning: %+v", f.Path, f)
		}
		if f.Required && f.Default != "" {
			t.Errorf("%s is required and has a default", f.Path)
		}
		key := f.Path[strings.LastIndex(f.Path, ".")+1:]
		if !regexp.MustCompile(`(?m)[ {]` + key + `:|^` + key + `:`).Match(src) {
			t.Errorf("full.good.yaml has no %s", f.Path)
		}
		// A key that was taken out of the schema, or renamed, must be refused: the paths are the parser's own.
		broken := strings.Replace(string(src), key+":", key+"_x:", 1)
		if _, err := policy.Parse("x", []byte(broken)); err == nil {
			t.Errorf("%s_x is accepted", key)
		}
	}
}
