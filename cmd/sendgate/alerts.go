package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/sendgate/sendgate/alert"
)

// alertFlags say who is told what detection sees. The log always is.
type alertFlags struct {
	AlertWebhook    string        `help:"Where to POST alerts, signed as Standard Webhooks have it. Default: they are only logged." placeholder:"URL" env:"SENDGATE_ALERT_WEBHOOK"`
	AlertSecretFile string        `help:"File with the webhook's secret, whsec_ and base64 of 24 to 64 bytes." placeholder:"FILE" env:"SENDGATE_ALERT_SECRET_FILE"`
	AlertSilence    time.Duration `help:"How long nothing more is told of what was told (${default})." placeholder:"TIME" default:"1h" env:"SENDGATE_ALERT_SILENCE"`
}

func (f *alertFlags) validate() error {
	switch {
	case f.AlertSilence <= 0:
		return fmt.Errorf("--alert-silence %s: must be more than 0, such as 1h", f.AlertSilence)
	case (f.AlertWebhook == "") != (f.AlertSecretFile == ""):
		return errors.New("--alert-webhook and --alert-secret-file: give both or none")
	}
	return nil
}

// open makes what tells, which runs until the function it returns is called.
func (f *alertFlags) open(seen *evidence, now func() time.Time, log *slog.Logger) (stop func(), err error) {
	o := alert.Options{Source: seen.Alerts, Now: now, Log: log, Silence: f.AlertSilence, DeadLetter: filepath.Join(filepath.Dir(seen.path), "alerts.dead.jsonl")}
	if f.AlertWebhook != "" {
		secret, err := readFile(f.AlertSecretFile)
		if err != nil {
			return nil, fmt.Errorf("--alert-secret-file %w", err)
		}
		if o.Webhook, err = alert.NewWebhook(f.AlertWebhook, strings.TrimSpace(string(secret))); err != nil {
			return nil, err
		}
	}
	teller, err := alert.New(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		teller.Run(ctx)
	}()
	return func() { cancel(); <-done }, nil
}
