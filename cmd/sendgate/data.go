package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sendgate/sendgate/gate"
)

// openData makes the data directory, which only its owner may look into: what it holds tells who was sent messages.
func openData(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory %s: %w: give another with --data", dir, reason(err))
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("data directory %s: cannot write to it: %w: give another with --data", dir, reason(err))
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// readSecret reads the secret that keys and check ids are hashed and sealed with. Without a file of its own it lives in the
// data directory and is made at the first start. It never comes from the command line, where others could read it.
func readSecret(file, dir string) ([]byte, error) {
	made := file == ""
	if made {
		file = filepath.Join(dir, "secret")
	}
	secret, err := os.ReadFile(file)
	if made && errors.Is(err, fs.ErrNotExist) {
		fresh := make([]byte, gate.SecretSize)
		rand.Read(fresh)
		if err := makeFile(file, fresh); err != nil {
			return nil, fmt.Errorf("make the secret %s: %w", file, reason(err))
		}
		secret, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", file, reason(err))
	}
	if len(secret) != gate.SecretSize {
		return nil, fmt.Errorf("secret %s: it is %d bytes: write %d random ones, as head -c %d /dev/urandom does",
			file, len(secret), gate.SecretSize, gate.SecretSize)
	}
	return secret, nil
}

// makeFile puts a whole file there or none, which only its owner may read. If another process was first, its file stays.
func makeFile(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	// A link fails where the name is taken, a rename would replace it.
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
