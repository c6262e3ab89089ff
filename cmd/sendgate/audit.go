package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// auditFile is where changes by operators are told. A line is on the disk when Write returns.
type auditFile struct{ *os.File }

func openAudit(dir string) (auditFile, error) {
	name := filepath.Join(dir, "admin.jsonl")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return auditFile{}, fmt.Errorf("audit log %s: %w", name, reason(err))
	}
	return auditFile{f}, nil
}

func (f auditFile) Write(line []byte) (int, error) {
	n, err := f.File.Write(line)
	return n, errors.Join(err, f.Sync())
}
