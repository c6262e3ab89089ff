package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/policy/envoyconfig"
	"github.com/sendgate/sendgate/server"
)

// rateLimitFlags are what the rate limit service for Envoy runs on.
type rateLimitFlags struct {
	EnvoyRatelimit       string `help:"Configuration of envoyproxy/ratelimit, a file or a directory of *.yaml: answers Envoy's rate limit filter in its place." placeholder:"FILE" env:"SENDGATE_ENVOY_RATELIMIT"`
	EnvoyRatelimitCompat string `help:"How it counts: exact windows, or fixed ones as envoyproxy/ratelimit does (${default})." placeholder:"WAY" enum:"exact,fixed" default:"exact" env:"SENDGATE_ENVOY_RATELIMIT_COMPAT"`
	EnvoyRatelimitSize   size   `help:"Size of a new table for its counters, where they are not in a shared store (${default})." placeholder:"SIZE" default:"64MiB" env:"SENDGATE_ENVOY_RATELIMIT_SIZE"`
}

// readConfig reads the configuration; nil where there is none.
func (f *rateLimitFlags) readConfig() (*envoyconfig.Config, error) {
	if f.EnvoyRatelimit == "" {
		return nil, nil
	}
	return readEnvoyConfig(f.EnvoyRatelimit)
}

// open opens the counters. The store is the caller's to close. common is the store that other sidecars share: then the counters are
// there; nil for a table of their own.
func (f *rateLimitFlags) open(c *envoyconfig.Config, common limiter.Store, data string, secret []byte, clock func() time.Time) (*server.RateLimits, io.Closer, error) {
	limits := &server.RateLimits{Config: c, Read: f.readConfig, Files: f.files, Store: common, Fixed: f.EnvoyRatelimitCompat == "fixed", Clock: clock}
	switch {
	case c == nil:
		return nil, io.NopCloser(nil), nil
	case common != nil:
		return limits, io.NopCloser(nil), nil
	}
	path := filepath.Join(data, "envoy-ratelimit")
	store, err := limiter.Open(limiter.Options{Path: path, Size: int64(f.EnvoyRatelimitSize), Secret: secret})
	if err != nil {
		return nil, nil, fmt.Errorf("counters %s: %w", path, err)
	}
	limits.Store = store
	return limits, store, nil
}

// files are those of the configuration as it is now.
func (f *rateLimitFlags) files() []string { return envoyFiles(f.EnvoyRatelimit) }

// envoyFiles is the file itself, or all *.yaml of a directory.
func envoyFiles(path string) []string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return []string{path}
	}
	names, _ := filepath.Glob(filepath.Join(path, "*.yaml")) // fails for patterns only
	return names
}

func readEnvoyConfig(path string) (*envoyconfig.Config, error) {
	names := envoyFiles(path)
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: there is no *.yaml in it", path)
	}
	var files []envoyconfig.File
	for _, name := range names {
		text, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("ratelimit configuration %w", err)
		}
		files = append(files, envoyconfig.File{Name: name, Text: text})
	}
	return envoyconfig.Parse(files...)
}

// importEnvoyCommand turns such a configuration into a policy.
type importEnvoyCommand struct {
	File string            `arg:"" help:"The configuration: a file, or a directory of *.yaml."`
	Map  map[string]string `help:"Which part of a send a descriptor's key stands for, such as --map dest=number; several with a semicolon between." placeholder:"KEY=PART"`
}

func (c *importEnvoyCommand) Run(s *streams) error {
	config, err := readEnvoyConfig(c.File)
	if err != nil {
		return err
	}
	parts := envoyconfig.Parts()
	known := slices.Compact(slices.Sorted(maps.Values(parts)))
	for key, part := range c.Map {
		if !slices.Contains(known, policy.Part(part)) {
			words := make([]string, len(known))
			for i, k := range known {
				words[i] = string(k)
			}
			return fmt.Errorf("--map %s=%s: write one of %s", key, part, strings.Join(words, ", "))
		}
		parts[key] = policy.Part(part)
	}
	text, left, err := config.Import(parts)
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.out, text)
	if left > 0 {
		_, told := fmt.Fprintf(s.err, "%d of %d limits are not imported: the comments say why\n", left, len(config.Limits()))
		err = errors.Join(err, told)
	}
	return err
}
