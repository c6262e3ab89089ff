package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
)

// agreements are the consent that a gate keeps, and the file it is in.
type agreements struct {
	*consent.Ledger
	templates *template.Book
	file      *consent.File
}

// openConsent opens what the folder of a gate has, under the gate's secret and those of before, by way of the store that
// others are told through.
func openConsent(ctx context.Context, data string, common *sharing, secret []byte, old ...[]byte) (*agreements, error) {
	file, err := consent.OpenFile(filepath.Join(data, "consent"))
	if err != nil {
		return nil, err
	}
	ledger, err := consent.Open(ctx, consent.Options{Store: common.consent(file), Secret: secret, Old: old})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	templates, err := template.Open(ctx, file, template.Pacing{})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &agreements{ledger, templates, file}, nil
}

func (p *agreements) close() error { return p.file.Close() }

// sweep removes what is kept no longer, once a day and at the start.
func (p *agreements) sweep(ctx context.Context, now func() time.Time, log *slog.Logger) {
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	for {
		swept, err := p.Sweep(ctx, now())
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
