package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/policy"
)

// privacyFlags are the part of serve that is about where data is, and which secrets sealed it.
type privacyFlags struct {
	Region        string   `help:"Where this sidecar and its stores are, such as eu. Accounts that the policy binds to another region are refused, and stores of another are not written to." placeholder:"NAME" env:"SENDGATE_REGION"`
	OldSecretFile []string `help:"File of a secret of before, so that what it sealed of consent and lists is still found; three at most. See sendgate privacy reseal." placeholder:"FILE" sep:";" env:"SENDGATE_OLD_SECRET_FILE"`
}

var regionName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

func (f *privacyFlags) validate() error {
	if f.Region != "" && !regionName.MatchString(f.Region) {
		return fmt.Errorf("--region %q: write a lower-case word, such as eu", f.Region)
	}
	return nil
}

// oldSecrets reads the secrets of before.
func (f *privacyFlags) oldSecrets() (out [][]byte, err error) {
	for _, file := range f.OldSecretFile {
		secret, err := readSecret(file, "")
		if err != nil {
			return nil, fmt.Errorf("--old-secret-file: %w", err)
		}
		out = append(out, secret)
	}
	return out, nil
}

// claim marks the data directory, and a shared store, with the region, or refuses those of another. What was there before without a
// mark becomes that of the region.
func (f *privacyFlags) claim(ctx context.Context, data string, store limiter.Store) error {
	file := filepath.Join(data, "region")
	if f.Region != "" {
		if err := makeFile(file, []byte(f.Region+"\n")); err != nil {
			return fmt.Errorf("mark the data directory: %w", reason(err))
		}
	}
	mark, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", file, reason(err))
	}
	if err := f.same("the data directory "+data, strings.TrimSpace(string(mark))); err != nil {
		return err
	}
	shared, ok := store.(*redisstore.Store)
	if !ok {
		return nil
	}
	// Of values with one stamp the first stays: who comes second reads what the first wrote.
	const field, stamp = "region", 1
	marks := shared.Map("residency")
	if f.Region != "" {
		value := append(binary.BigEndian.AppendUint64(nil, stamp), f.Region...)
		if err := marks.Put(ctx, []string{field}, [][]byte{value}); err != nil {
			return fmt.Errorf("--store: mark it with the region: %w", err)
		}
	}
	there := ""
	_, _, err = marks.After(ctx, "", 0, func(name string, value []byte) {
		if name == field && len(value) > redisstore.StampSize {
			there = string(value[redisstore.StampSize:])
		}
	})
	if err != nil && f.Region == "" {
		return nil // a store that cannot be reached now is no reason not to start; see fail_mode
	}
	if err != nil {
		return fmt.Errorf("--store: read its region: %w", err)
	}
	return f.same("the shared store", there)
}

func (f *privacyFlags) same(what, mark string) error {
	if mark == f.Region || mark == "" && f.Region == "" {
		return nil
	}
	return fmt.Errorf("%s is of region %s: give --region %s, or another place for the data", what, mark, mark)
}

// refused are the accounts that this gate answers nothing for.
func (f *privacyFlags) refused(p *policy.Policy) (names []string) {
	for name, a := range p.Accounts {
		if a.Residency != "" && a.Residency != f.Region {
			names = append(names, name)
		}
	}
	return names
}
