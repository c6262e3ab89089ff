package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	prombridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/prometheus/client_golang/prometheus"
)

// TelemetryOptions of NewTelemetry.
type TelemetryOptions struct {
	// Endpoint is where OTLP over gRPC is taken, such as http://127.0.0.1:4317. Default: what OpenTelemetry's environment variables
	// say; if they say nothing either, nothing is exported.
	Endpoint string
	// Share is of how many calls that come without a trace of their own one is begun, 0 to 1. OTEL_TRACES_SAMPLER goes before it. A call
	// that is part of a trace does as that says.
	Share float64
	// Getenv is os.Getenv. Required.
	Getenv func(string) string
	// Version of the program.
	Version string
	// Log is told, at most once a minute, when the receiver does not take what it is sent. Default slog.Default().
	Log *slog.Logger
}

// Telemetry exports spans and the metrics of /metrics by OTLP. It is given to New in Options.Telemetry, and closed by who made it.
type Telemetry struct {
	tracing *tracing // nil for none
	spans   *sdktrace.TracerProvider
	values  metric.Exporter // nil for none
	about   *resource.Resource
	meter   *metric.MeterProvider
}

// NewTelemetry connects nowhere yet: a receiver that is away is no reason not to serve. It returns nil where nothing is to be exported.
func NewTelemetry(ctx context.Context, o TelemetryOptions) (*Telemetry, error) {
	traces, err := o.wants("TRACES")
	if err != nil {
		return nil, err
	}
	metrics, err := o.wants("METRICS")
	if err != nil || !traces && !metrics {
		return nil, err
	}
	if p := o.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "grpc" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL %q: only grpc is spoken here", p)
	}
	share, err := o.share()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	// The one place that OpenTelemetry leaves for this is global.
	otel.SetErrorHandler(&exportErrors{log: o.Log})
	t := new(Telemetry)
	t.about, err = resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("sendgate"), semconv.ServiceVersion(o.Version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if traces {
		var at []otlptracegrpc.Option
		if o.Endpoint != "" {
			at = append(at, otlptracegrpc.WithEndpointURL(o.Endpoint))
		}
		exporter, err := otlptracegrpc.New(ctx, at...)
		if err != nil {
			return nil, fmt.Errorf("OTLP traces: %w", err)
		}
		t.spans = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(t.about), sdktrace.WithSampler(sdktrace.AlwaysSample()))
		t.tracing = &tracing{tracer: t.spans.Tracer("github.com/sendgate/sendgate/server"), share: share}
	}
	if metrics {
		var at []otlpmetricgrpc.Option
		if o.Endpoint != "" {
			at = append(at, otlpmetricgrpc.WithEndpointURL(o.Endpoint))
		}
		if t.values, err = otlpmetricgrpc.New(ctx, at...); err != nil {
			return nil, errors.Join(fmt.Errorf("OTLP metrics: %w", err), t.Close(ctx))
		}
	}
	return t, nil
}

// wants says whether a signal is to be exported.
func (o *TelemetryOptions) wants(signal string) (bool, error) {
	if o.Getenv("OTEL_SDK_DISABLED") == "true" {
		return false, nil
	}
	switch by := o.Getenv("OTEL_" + signal + "_EXPORTER"); by {
	case "none":
		return false, nil
	case "", "otlp":
	default:
		return false, fmt.Errorf("OTEL_%s_EXPORTER %q: write otlp or none", signal, by)
	}
	if o.Endpoint == "" {
		return o.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || o.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != "", nil
	}
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false, fmt.Errorf("%q is no address of an OTLP receiver: write one like http://127.0.0.1:4317, or https:// for TLS", o.Endpoint)
	}
	return true, nil
}

// share is of how many calls without a trace one is begun.
func (o *TelemetryOptions) share() (float64, error) {
	switch by := o.Getenv("OTEL_TRACES_SAMPLER"); by {
	case "":
		return o.Share, nil
	case "parentbased_always_on":
		return 1, nil
	case "parentbased_always_off":
		return 0, nil
	case "parentbased_traceidratio":
		text := o.Getenv("OTEL_TRACES_SAMPLER_ARG")
		share, err := strconv.ParseFloat(text, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG %q: write a share from 0 to 1", text)
		}
		return share, nil
	default:
		return 0, fmt.Errorf("OTEL_TRACES_SAMPLER %q: write parentbased_traceidratio, parentbased_always_on or parentbased_always_off", by)
	}
}

// export sends what a registry holds, every OTEL_METRIC_EXPORT_INTERVAL (a minute).
func (t *Telemetry) export(g prometheus.Gatherer) {
	if t == nil || t.values == nil {
		return
	}
	reader := metric.NewPeriodicReader(t.values, metric.WithProducer(prombridge.NewMetricProducer(prombridge.WithGatherer(g))))
	t.meter = metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(t.about))
}

// Close sends what is left, for as long as ctx allows.
func (t *Telemetry) Close(ctx context.Context) (err error) {
	if t == nil {
		return nil
	}
	if t.spans != nil {
		err = t.spans.Shutdown(ctx)
	}
	switch {
	case t.meter != nil:
		err = errors.Join(err, t.meter.Shutdown(ctx))
	case t.values != nil:
		err = errors.Join(err, t.values.Shutdown(ctx))
	}
	return err
}

// exportErrors tells of a receiver that does not take what it is sent.
type exportErrors struct {
	log  *slog.Logger
	told atomic.Int64 // when, in seconds
}

// Handle is called by OpenTelemetry.
func (e *exportErrors) Handle(err error) {
	now := time.Now().Unix()
	if last := e.told.Load(); now-last >= 60 && e.told.CompareAndSwap(last, now) {
		e.log.Warn("telemetry is not taken", "error", err)
	}
}
