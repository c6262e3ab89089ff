package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// detection shows operators what detection sees.
type detection struct {
	sendgatev1.UnsafeDetectionServiceServer
	*admin
	engine   *detect.Engine // nil where there is none
	draining <-chan struct{}
}

// maxBlocks is how many blocks are listed.
const maxBlocks = 10_000

// enter lets operators in, where there is something to see.
func (d *detection) enter(ctx context.Context) error {
	if _, err := operator(ctx); err != nil {
		return err
	}
	if d.engine == nil {
		return &failure{code: codes.FailedPrecondition, reason: "NO_DETECTION", message: "this sidecar runs without detection"}
	}
	return nil
}

// DetectionStatus tells what detection is calibrated on.
func (d *detection) DetectionStatus(ctx context.Context, _ *sendgatev1.DetectionStatusRequest) (*sendgatev1.DetectionStatusResponse, error) {
	if err := d.enter(ctx); err != nil {
		return nil, err
	}
	p, stats := d.gate.Policy(), d.engine.Stats()
	out := &sendgatev1.DetectionStatusResponse{
		Level: string(p.Detect.Level), Feedback: d.gate.Feedback().String(), Bytes: stats.Bytes, SessionsLost: int64(stats.Lost),
		Blocks: int32(len(d.engine.Blocks(d.gate.Now().UnixNano()))), Alerts: int64(stats.Alerts),
	}
	for _, e := range detect.Catalogue() {
		mode := cmp.Or(p.Detect.Detectors[e.Kind.String()].Mode, policy.Enforce)
		out.Detectors = append(out.Detectors, &sendgatev1.DetectorStatus{Kind: e.Kind.String(), Mode: string(mode), Keys: e.Keys, Statistic: e.Statistic, Action: e.Action})
	}
	for _, c := range d.engine.Countries() {
		out.Countries = append(out.Countries, &sendgatev1.CountryStatus{
			Country: c.Country.String(), Sessions: int64(c.Sessions), Verified: c.Verified, Baseline: c.Baseline, Expected: c.Expected, PerDay: c.PerDay,
			Mature: c.Mature, TellingDigits: int32(c.TellingOf), TurnedDown: c.TurnedDown,
		})
	}
	slices.SortStableFunc(out.Countries, func(a, b *sendgatev1.CountryStatus) int { return cmp.Compare(b.PerDay, a.PerDay) })
	for _, t := range tablesOf(&stats) {
		out.Tables = append(out.Tables, &sendgatev1.DetectionTable{Name: t.name, Capacity: int64(t.Cells), Used: int64(t.Used), Evicted: int64(t.Evicted), Refused: int64(t.Refused)})
	}
	return out, nil
}

type namedTable struct {
	name string
	detect.TableStats
}

func tablesOf(s *detect.Stats) []namedTable {
	return []namedTable{{"numbers", s.Numbers}, {"ranges", s.Ranges}, {"addresses", s.Address}}
}

// ListBlocks lists what is stopped now.
func (d *detection) ListBlocks(ctx context.Context, _ *sendgatev1.ListBlocksRequest) (*sendgatev1.ListBlocksResponse, error) {
	if err := d.enter(ctx); err != nil {
		return nil, err
	}
	all := d.blocks(d.gate.Now().UnixNano())
	out := new(sendgatev1.ListBlocksResponse)
	for i := range all[:min(len(all), maxBlocks)] {
		b := &all[i]
		out.Blocks = append(out.Blocks, &sendgatev1.DetectionBlock{
			Id: b.ID, Signal: toSignal(&b.Signal), Since: timestamppb.New(time.Unix(0, b.Since)), Until: timestamppb.New(time.Unix(0, b.Until)),
			Level: int32(b.Level), Stopped: int64(b.Stopped), Shadow: b.Shadow,
		})
	}
	return out, nil
}

// inShadow is added to the IDs of blocks that detectors in shadow would have made: those count on their own.
const inShadow = 1 << 40

// blocks lists what is stopped, then what detectors in shadow would stop.
func (d *detection) blocks(now int64) []detect.Block {
	all := d.engine.Blocks(now)
	if engine := d.gate.ShadowDetect(); engine != nil {
		for _, b := range engine.Blocks(now) {
			if b.Shadow {
				b.ID |= inShadow
				all = append(all, b)
			}
		}
	}
	return all
}

func (d *detection) release(now int64, id uint64) bool {
	if id&inShadow == 0 {
		return d.gate.Release(id)
	}
	engine := d.gate.ShadowDetect()
	return engine != nil && engine.Release(now, id&^inShadow)
}

// ReleaseBlock ends a block.
func (d *detection) ReleaseBlock(ctx context.Context, in *sendgatev1.ReleaseBlockRequest) (*sendgatev1.ReleaseBlockResponse, error) {
	if err := d.enter(ctx); err != nil {
		return nil, err
	}
	entry, err := d.change(ctx, "release_block", in.Reason, in.Author)
	if err != nil {
		return nil, err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	now := d.gate.Now().UnixNano()
	all := d.blocks(now)
	at := slices.IndexFunc(all, func(b detect.Block) bool { return b.ID == in.Id })
	if at < 0 {
		return nil, gone
	}
	entry.Values = []string{all[at].Kind.String() + " " + all[at].Subject.String()}
	err = d.audit.around(entry, func() error {
		if !d.release(now, in.Id) {
			return gone
		}
		return nil
	})
	if err != nil {
		return nil, failureOf(err, d.log)
	}
	return &sendgatev1.ReleaseBlockResponse{}, nil
}

var gone = &failure{code: codes.NotFound, reason: "BLOCK_UNKNOWN", message: "there is no such block any more: list them again"}

// alertsEvery is how soon an alert is told.
const alertsEvery = 500 * time.Millisecond

// WatchAlerts sends alerts as they are raised.
func (d *detection) WatchAlerts(in *sendgatev1.WatchAlertsRequest, stream grpc.ServerStreamingServer[sendgatev1.WatchAlertsResponse]) error {
	ctx := stream.Context()
	if err := d.enter(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(alertsEvery)
	defer tick.Stop()
	for after := in.After; ; {
		if _, err := operator(ctx); err != nil { // the key may have been taken away
			return err
		}
		for _, a := range d.engine.Alerts(after) {
			after = a.Seq
			text := a.Text
			if text == "" {
				text = a.Signal.String()
			}
			if err := stream.Send(&sendgatev1.WatchAlertsResponse{Sequence: a.Seq, At: timestamppb.New(time.Unix(0, a.At)), Signal: toSignal(&a.Signal), Text: text}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.draining:
			return status.Error(codes.Unavailable, "the service is shutting down: watch another")
		case <-tick.C:
		}
	}
}

// detectionState is what is read of detection when somebody scrapes.
type detectionState struct {
	engine *detect.Engine
	now    func() time.Time
}

// Describe sends nothing, as that of state.
func (s *detectionState) Describe(chan<- *prometheus.Desc) {}

func (s *detectionState) Collect(ch chan<- prometheus.Metric) {
	tell := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var keys, values []string
		for i := 0; i < len(labels); i += 2 {
			keys, values = append(keys, labels[i]), append(values, labels[i+1])
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("sendgate_detect_"+name, help, keys, nil), kind, value, values...)
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	stats := s.engine.Stats()
	tell(counter, "alerts_total", "Alerts raised.", float64(stats.Alerts))
	tell(counter, "sessions_lost_total", "Sessions overwritten before they could be judged: give detection more memory.", float64(stats.Lost))
	blocks := map[detect.Kind]int{}
	for _, b := range s.engine.Blocks(s.now().UnixNano()) {
		blocks[b.Kind]++
	}
	for _, k := range detect.Kinds() {
		tell(gauge, "blocks", "Blocks in force.", float64(blocks[k]), "kind", k.String())
	}
	for _, t := range tablesOf(&stats) {
		tell(gauge, "cells_capacity", "Cells of evidence that fit.", float64(t.Cells), "table", t.name)
		tell(gauge, "cells_used", "Cells that hold something.", float64(t.Used), "table", t.name)
		tell(counter, "cells_evicted_total", "Cells that made room for others.", float64(t.Evicted), "table", t.name)
	}
}
