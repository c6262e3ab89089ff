package proxies_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/policy/envoyconfig"
)

// Every policy beside a proxy's configuration is one, that of Traefik too, which is not run.
func TestExamples_policies(t *testing.T) {
	var files []string
	for _, pattern := range []string{"examples/*/policy.yaml", "deploy/*/policy.yaml"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 8 {
		t.Errorf("only %d policies were found", len(files))
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(file, src); err != nil {
			t.Error(err)
		}
	}
	src, err := os.ReadFile(root + "examples/envoy-ratelimit/ratelimit.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envoyconfig.Parse(envoyconfig.File{Name: "ratelimit.yaml", Text: src}); err != nil {
		t.Error(err)
	}
}
