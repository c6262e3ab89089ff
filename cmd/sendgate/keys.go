package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sendgate/sendgate/internal/identity"
)

type keysCommand struct {
	New  newKeyCommand  `cmd:"" help:"Make an API key. It is printed once and kept nowhere."`
	Hash hashKeyCommand `cmd:"" help:"Read an API key from standard input and print its hash, for accounts.NAME.keys of a policy."`
}

type newKeyCommand struct{}

func (newKeyCommand) Run(s *streams) error {
	key := identity.NewKey()
	_, err := fmt.Fprintf(s.out, "key   %s\nhash  %s\n", key, identity.HashKey(key))
	return err
}

type hashKeyCommand struct{}

func (hashKeyCommand) Run(s *streams) error {
	key, err := readKey(os.Stdin)
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	_, err = fmt.Fprintln(s.out, identity.HashKey(key))
	return err
}

// readKey reads the first line that says something. In a file of keys a name may stand before the key.
func readKey(r io.Reader) (string, error) {
	lines := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		key := fields[len(fields)-1]
		return key, identity.CheckKey(key)
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("no key: write one line with a key, as sendgate keys new prints")
}
