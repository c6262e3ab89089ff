package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sendgate/sendgate/policy"
)

// configFile gives flags their values from the file that --config names. kong asks it for each flag that is not on the
// command line; the environment goes before it, so it stays silent where a variable is set.
type configFile struct {
	loaded   bool
	settings map[string]string
	err      error // why the file was not read; kong would blame the flag that it asked for first
}

// Validate has nothing to look at before the flags are known.
func (c *configFile) Validate(*kong.Application) error { return nil }

// Resolve answers for one flag.
func (c *configFile) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Name == "config" || flag.Name == "help" {
		return nil, nil
	}
	if !c.loaded {
		c.loaded, c.err = true, c.load(ctx)
	}
	value, ok := c.settings[flag.Name]
	if !ok {
		return nil, nil
	}
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	return value, nil
}

func (c *configFile) load(ctx *kong.Context) error {
	path := ""
	var known []string
	for _, flag := range ctx.Flags() {
		switch flag.Name {
		case "help":
		case "config":
			path, _ = ctx.FlagValue(flag).(string)
			if env, ok := os.LookupEnv(flag.Envs[0]); ok && path == "" {
				path = env
			}
		default:
			known = append(known, flag.Name)
		}
	}
	if path == "" {
		return nil
	}
	src, err := readFile(path)
	if err != nil {
		return fmt.Errorf("config file %w", err)
	}
	c.settings, err = policy.Settings(path, src, known)
	return err
}

// readFile reads a file, and says in one line why it cannot.
func readFile(path string) ([]byte, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	return src, nil
}

// reason is what went wrong with a file, without the call and the path that the message names already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// size is a number of bytes, such as 256MiB.
type size int64

// UnmarshalText reads a number with an optional unit KiB, MiB, GiB or TiB.
func (s *size) UnmarshalText(text []byte) error {
	number, unit := string(text), int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > (1<<62)/unit {
		return fmt.Errorf("%q is not a size: write a whole number with KiB, MiB, GiB or TiB, such as 256MiB", text)
	}
	*s = size(n * unit)
	return nil
}

// String writes a size in the largest unit that keeps it whole.
func (s size) String() string {
	n, unit := int64(s), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n < 1024 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	return strconv.FormatInt(n, 10) + unit
}
