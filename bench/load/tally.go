package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// tally counts answers. It belongs to one goroutine or is guarded by whoever shares it.
type tally struct {
	latency  *hdrhistogram.Histogram // nanoseconds
	verdicts map[string]int64        // "DENY limit:client-minute"
	errors   map[string]int64        // "Unavailable: connection refused"
	answered int64
	failed   int64
}

func newTally() *tally {
	return &tally{latency: newHistogram(), verdicts: map[string]int64{}, errors: map[string]int64{}}
}

// newHistogram keeps three digits from a microsecond to two minutes, more than the longest timeout.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(2*time.Minute), 3)
}

// add counts one answer or error. An error takes its time as well: what was not answered must not make the rest look fast.
func (t *tally) add(took time.Duration, r *sendgatev1.CheckSendResponse, err error) {
	t.latency.RecordValue(min(max(int64(took), int64(time.Microsecond)), int64(2*time.Minute)))
	if err != nil {
		t.failed++
		s := status.Convert(err)
		t.errors[s.Code().String()+": "+s.Message()]++
		return
	}
	t.answered++
	verdict := strings.TrimPrefix(r.GetVerdict().String(), "VERDICT_")
	if r.GetReason() != "" {
		verdict += " " + r.GetReason()
	}
	t.verdicts[verdict]++
}

func (t *tally) merge(o *tally) {
	t.latency.Merge(o.latency)
	t.answered += o.answered
	t.failed += o.failed
	for k, n := range o.verdicts {
		t.verdicts[k] += n
	}
	for k, n := range o.errors {
		t.errors[k] += n
	}
}

// check asks once.
func check(ctx context.Context, s settings, v *server, i uint64) (*sendgatev1.CheckSendResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return v.clients[i%uint64(len(v.clients))].CheckSend(ctx, s.traffic.Request(i))
}

// listed prints counts, the largest first.
func listed(counts map[string]int64) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	const most = 10
	var b strings.Builder
	for i, k := range keys {
		if i == most {
			fmt.Fprintf(&b, "\n    %12s  others", thousands(int64(len(keys)-most)))
			break
		}
		fmt.Fprintf(&b, "\n    %12s  %s", thousands(counts[k]), k)
	}
	return b.String()
}

// percentiles prints a histogram of nanoseconds.
func percentiles(h *hdrhistogram.Histogram) string {
	var b strings.Builder
	for _, p := range []float64{50, 90, 99, 99.9} {
		fmt.Fprintf(&b, "p%g %s   ", p, millis(h.ValueAtQuantile(p)))
	}
	return b.String() + "max " + millis(h.Max())
}

func millis(nanoseconds int64) string { return fmt.Sprintf("%.3f ms", float64(nanoseconds)/1e6) }

// thousands prints 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
