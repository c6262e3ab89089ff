package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
)

// shadow is what rules and detectors in shadow mode keep, and what they would have done. Its directory is made with the first policy
// that has any: counters of their own, evidence of their own, and the report. On a shared store the counters are shared too, under keys
// of their own; evidence and report are of each sidecar.
type shadow struct {
	book   *report.Book
	dir    string
	serve  *serveCommand
	secret []byte
	log    *slog.Logger

	store limiter.Store // nil while no policy needed them
	seen  *evidence
	stop  context.CancelFunc
	done  chan struct{}
}

// reportEvery is how much of the report a process that is killed loses, at most.
const reportEvery = time.Minute

// openShadow reads the report back. One that cannot be read is put aside.
func (c *serveCommand) openShadow(secret []byte, log *slog.Logger) (*shadow, error) {
	s := &shadow{dir: filepath.Join(c.Data, "shadow"), serve: c, secret: secret, log: log, book: report.New(), done: make(chan struct{})}
	f, err := os.Open(s.report())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%s: %w", s.report(), reason(err))
	default:
		book, err := report.Load(f)
		f.Close()
		if err != nil {
			aside := s.report() + ".unusable"
			log.Warn("the report of what shadow would have done starts from nothing", "reason", err.Error(), "kept_as", aside)
			if err := os.Rename(s.report(), aside); err != nil {
				return nil, fmt.Errorf("put %s aside: %w", s.report(), reason(err))
			}
			break
		}
		s.book = book
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.keep(ctx)
	return s, nil
}

func (s *shadow) report() string { return filepath.Join(s.dir, "report.json") }

// join tells a gate where shadow keeps its state.
func (s *shadow) join(o gate.Options) gate.Options {
	o.Report, o.OpenShadow, o.OpenShadowDetect = s.book, s.openStore, s.openDetect
	return o
}

func (s *shadow) openStore() (store limiter.Store, err error) {
	c := *s.serve
	if c.shared() {
		c.StorePrefix += "-shadow"
		s.store, _, err = c.openStore(s.secret, s.log)
		return s.store, err
	}
	if err := openData(s.dir); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, "counters")
	table, err := limiter.Open(limiter.Options{Path: path, Size: int64(c.ShadowSize), Secret: s.secret})
	if err != nil {
		return nil, fmt.Errorf("counters %s: %w", path, err)
	}
	s.store = table
	return table, nil
}

func (s *shadow) openDetect() (*detect.Engine, error) {
	if err := openData(s.dir); err != nil {
		return nil, err
	}
	seen, err := openEvidence(s.dir, int64(s.serve.DetectSize), s.log, s.secret)
	if err != nil {
		return nil, err
	}
	s.seen = seen
	return seen.Engine, nil
}

// keep saves the report now and then.
func (s *shadow) keep(ctx context.Context) {
	defer close(s.done)
	saveEvery(ctx, reportEvery, s.log, "the report of what shadow would have done was not saved; the last one stays", s.save)
}

// save replaces the report by a whole new one. Where nothing was ever in shadow there is none.
func (s *shadow) save() error {
	if len(s.book.Entries(time.Time{})) == 0 {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return reason(err)
	}
	return replaceFile(s.report(), s.book.Save)
}

// close saves for the last time. No check may be under way.
func (s *shadow) close() error {
	s.stop()
	<-s.done
	err := s.save()
	if s.seen != nil {
		err = errors.Join(err, s.seen.close())
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}
