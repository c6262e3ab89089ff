package server

import (
	"math"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"
)

// latency is how long decisions took, in seconds. 0 where there were none.
type latency struct{ p50, p99 float64 }

// stopwatch reads the histograms of the surfaces, and tells what is new in them since it did before.
type stopwatch struct {
	surfaces []*surface
	seen     map[float64]uint64 // by upper bound of a bucket, how many there were up to it
}

// lap is the latency since the last one.
func (w *stopwatch) lap() latency {
	all := make(map[float64]uint64, len(w.seen))
	var bounds []float64
	for _, s := range w.surfaces {
		metric, ok := s.seconds.(prometheus.Metric)
		var m dto.Metric
		if !ok || metric.Write(&m) != nil {
			continue
		}
		h := m.GetHistogram()
		for _, b := range h.GetBucket() {
			if _, known := all[b.GetUpperBound()]; !known {
				bounds = append(bounds, b.GetUpperBound())
			}
			all[b.GetUpperBound()] += b.GetCumulativeCount()
		}
		all[math.Inf(1)] += h.GetSampleCount()
	}
	bounds = append(bounds, math.Inf(1)) // every surface has the same bounds, in order
	before := w.seen
	w.seen = all
	if before == nil {
		return latency{}
	}
	up := make([]uint64, len(bounds))
	for i, b := range bounds {
		up[i] = all[b] - before[b]
	}
	return latency{quantile(.5, bounds, up), quantile(.99, bounds, up)}
}

// quantile is where a share of the observations ends, taken to lie evenly within their bucket; up are cumulative counts. What is
// beyond the last bound is told as that bound.
func quantile(share float64, bounds []float64, up []uint64) float64 {
	all := up[len(up)-1]
	if all == 0 {
		return 0
	}
	rank := share * float64(all)
	low, below := 0.0, 0.0
	for i, n := range up {
		if float64(n) < rank {
			low, below = bounds[i], float64(n)
			continue
		}
		if math.IsInf(bounds[i], 1) {
			return low
		}
		return low + (bounds[i]-low)*(rank-below)/(float64(n)-below)
	}
	return low
}
