package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/sendgate/sendgate/server"
)

// telemetryFlags say where spans and metrics are sent. /metrics is there in any case.
type telemetryFlags struct {
	OTLP        string  `name:"otlp" help:"Where to send traces and metrics by OTLP over gRPC, such as http://127.0.0.1:4317. Default: what OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere." placeholder:"URL" env:"SENDGATE_OTLP"`
	TraceSample float64 `help:"Of which share of calls that are not part of a trace one is begun, 0 to 1 (${default})." placeholder:"SHARE" default:"0.01" env:"SENDGATE_TRACE_SAMPLE"`
}

func (f *telemetryFlags) validate() error {
	if !(f.TraceSample >= 0 && f.TraceSample <= 1) {
		return fmt.Errorf("--trace-sample %v: write a share from 0 to 1, such as 0.01", f.TraceSample)
	}
	return nil
}

// open makes what exports, nil for nothing. done sends what is left.
func (f *telemetryFlags) open(ctx context.Context, log *slog.Logger) (t *server.Telemetry, done func(), err error) {
	t, err = server.NewTelemetry(ctx, server.TelemetryOptions{Endpoint: f.OTLP, Share: f.TraceSample, Getenv: os.Getenv, Version: buildVersion(), Log: log})
	if err != nil {
		return nil, nil, fmt.Errorf("--otlp: %w", err)
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			log.Warn("telemetry: what was left was not sent", "error", err)
		}
	}, nil
}
