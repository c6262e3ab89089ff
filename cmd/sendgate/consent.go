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

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/limiter/redisstore"
	"github.com/sendgate/sendgate/shared"
)

// agreements are the consent that a gate keeps, and where.
type agreements struct {
	*consent.Ledger
	templates *template.Book
	store     consent.Store
	shared    *redisstore.Consent // nil where the store is its own
}

// bulkOnServer is how many changes a server that answers checks as well is given at once: it takes half a millisecond.
const bulkOnServer = 256

// openConsent opens the consent of a gate, under the gate's secret and those of before: in its folder, or on the store that it shares, of
// which the folder then has a copy.
func openConsent(ctx context.Context, data string, common *sharing, secret []byte, old ...[]byte) (*agreements, error) {
	folder, own := filepath.Join(data, "consent"), filepath.Join(data, "consent-shared")
	if common != nil {
		folder, own = own, folder
	}
	file, err := consent.OpenFile(folder)
	if err != nil {
		return nil, err
	}
	p, o := &agreements{store: file}, consent.Options{Secret: secret, Old: old}
	if common != nil {
		p.shared, o.Copy, o.Bulk = common.store.Consent(), file, bulkOnServer
		if common.outs, err = shared.NewConsent(ctx, p.shared, file, common.log); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		p.store = common.outs
		if err := moveConsent(ctx, own, p.shared, common.log); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	o.Store = p.store
	if p.Ledger, err = consent.Open(ctx, o); err == nil {
		p.templates, err = template.OpenCopy(ctx, p.store, file, template.Pacing{})
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// moveConsent brings what a gate kept for itself to the store that it shares from now on.
func moveConsent(ctx context.Context, folder string, to consent.Store, log *slog.Logger) error {
	path := filepath.Join(folder, consent.FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	from, err := consent.OpenFile(folder)
	if err != nil {
		return err
	}
	moved, err := consent.Move(ctx, from, to, bulkOnServer)
	if err := errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("--store: consent of %s is to be moved there: %w", folder, err)
	}
	log.Info("consent is on the shared store now", "moved", moved, "from", path)
	return reason(os.Remove(path))
}

func (p *agreements) close() error { return p.store.Close() }

// sweepEvery is shorter than a day, so that no day is left out.
const sweepEvery = 23 * time.Hour

// sweep removes what is kept no longer, once a day and at the start. Of those who share a store one does it.
func (p *agreements) sweep(ctx context.Context, now func() time.Time, log *slog.Logger) {
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	for {
		var swept consent.Swept
		mine, err := true, error(nil)
		if p.shared != nil {
			mine, err = p.shared.Turn(ctx, "sweep", sweepEvery)
		}
		if mine && err == nil {
			swept, err = p.Sweep(ctx, now())
		}
		switch {
		case errors.Is(err, consent.ErrClosed) || ctx.Err() != nil:
			return
		case err != nil:
			log.Error("consent: old records were not removed", "error", err)
		case len(swept) > 0:
			log.Info("consent: old records removed", "records", swept)
		}
		select {
		case <-ctx.Done():
			return
		case <-daily.C:
		}
	}
}
