package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// saveEvery saves now and then until ctx ends. Where that fails, failed is what the log says.
func saveEvery(ctx context.Context, every time.Duration, log *slog.Logger, failed string, save func() error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := save(); err != nil {
				log.Error(failed, "error", err)
			}
		}
	}
}

// replaceFile replaces a file by a whole new one that only its owner may read, or leaves it as it was.
func replaceFile(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return reason(err)
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
