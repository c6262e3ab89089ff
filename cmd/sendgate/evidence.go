package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// evidence is what detection knows, kept over restarts: a snapshot in the data directory, written now and then and at the end. A
// process that is killed loses what it saw since the last one, which is at most snapshotEvery.
type evidence struct {
	*detect.Engine
	path    string
	secrets [][]byte // the first seals the snapshot, which holds numbers; each opens it
	log     *slog.Logger
	stop    context.CancelFunc
	done    chan struct{}
}

const snapshotEvery = 5 * time.Minute

// openEvidence makes an engine and reads the last snapshot back. One that does not fit is put aside: protection that starts from
// nothing is better than none.
func openEvidence(dir string, bytes int64, log *slog.Logger, secret []byte, old ...[]byte) (*evidence, error) {
	var seed [8]byte
	rand.Read(seed[:])
	engine, err := detect.New(detect.Options{Size: bytes, Seed: binary.LittleEndian.Uint64(seed[:])})
	if err != nil {
		return nil, err
	}
	e := &evidence{Engine: engine, path: filepath.Join(dir, "evidence"), secrets: append([][]byte{secret}, old...), log: log, done: make(chan struct{})}
	switch err := e.restore(); {
	case errors.Is(err, detect.ErrSnapshot), errors.Is(err, errSealed):
		aside := e.path + ".unusable"
		log.Warn("detection starts from nothing", "reason", err.Error(), "kept_as", aside)
		err = os.Rename(e.path, aside)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("put %s aside: %w", e.path, reason(err)), engine.Close())
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, errors.Join(fmt.Errorf("%s: %w", e.path, reason(err)), engine.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	go e.keep(ctx)
	return e, nil
}

func (e *evidence) restore() error {
	f, err := os.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, secret := range e.secrets {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			err = unseal(f, secret, e.Restore)
		}
		if !errors.Is(err, errSealed) {
			break
		}
	}
	return err
}

// keep writes snapshots until ctx ends.
func (e *evidence) keep(ctx context.Context) {
	defer close(e.done)
	saveEvery(ctx, snapshotEvery, e.log, "what detection knows was not saved; the last snapshot stays", e.save)
}

// save replaces the snapshot by a whole new one, or leaves it as it was.
func (e *evidence) save() error {
	return replaceFile(e.path, func(w io.Writer) error { return seal(w, e.secrets[0], e.Snapshot) })
}

// close saves for the last time and frees the memory.
func (e *evidence) close() error {
	e.stop()
	<-e.done
	return errors.Join(e.save(), e.Close())
}
