package bench

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

const (
	plainPolicy = `version: 1
limits:
  - {name: number-minute,  by: [number],  limit: 1,    window: 60s}
  - {name: number-30m,     by: [number],  limit: 10,   window: 30m}
  - {name: client-minute,  by: [client],  limit: 10,   window: 1m}
  - {name: client-second,  by: [client],  limit: 3000, window: 1s}
  - {name: account-second, by: [account], limit: 1800, window: 1s}
`
	fullPolicy = plainPolicy + `delays: {otp: {}}
spend: [{name: unverified-day, by: [country], budget: 1000000.00, currency: USD, window: 24h, of: unverified, warn_at: 50%, challenge_at: 80%}]
otp:
  known_good:
    limits:
      - {name: number-minute}
      - {name: number-30m}
      - {name: client-number-30m, by: [client, number], limit: 4, window: 30m}
`
)

// BenchmarkOTP is what the life of a code costs a check over gRPC: one server with limits only, one with delays, a budget, known-good
// numbers and a key of idempotency on each question. Both run all the time and are asked in turns, so that what else the machine does
// meets both; "ratio" is the median over the turns, of the processor time of client and server together: on a machine that others
// use, the time of day says more about them. Each turn has fresh numbers: all is allowed.
func BenchmarkOTP(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			plain := dial(b, listen(b, "unix"), serveOTP(plainPolicy, false))
			full := dial(b, listen(b, "unix"), serveOTP(fullPolicy, true))
			const turn = 1000
			next := uint64(0)
			run := func(client sendgatev1.SendGateServiceClient, keyed bool, from uint64) time.Duration {
				begin := processorTime(b)
				var wg sync.WaitGroup
				for caller := range callers {
					wg.Go(func() {
						for i := caller; i < turn; i += callers {
							in := population.Request(from + uint64(i))
							if keyed {
								in.IdempotencyKey = strconv.FormatUint(from+uint64(i), 36)
							}
							if v, err := client.CheckSend(context.Background(), in); err != nil || v.Verdict == sendgatev1.Verdict_VERDICT_UNSPECIFIED {
								b.Error(v, err)
								return
							}
						}
					})
				}
				wg.Wait()
				return processorTime(b) - begin
			}
			for i := range uint64(40) { // touches the tables
				run(plain, false, 1<<40+i*turn)
				run(full, true, 1<<40+i*turn)
			}
			var ratios []float64
			var sums [2]time.Duration
			b.ResetTimer()
			for range b.N {
				a := run(plain, false, next)
				c := run(full, true, next)
				next += turn
				sums[0] += a
				sums[1] += c
				ratios = append(ratios, float64(c)/float64(a))
			}
			b.StopTimer()
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(float64(sums[0].Nanoseconds())/float64(b.N*turn), "plain-cpu-ns")
			b.ReportMetric(float64(sums[1].Nanoseconds())/float64(b.N*turn), "full-cpu-ns")
		})
	}
}

func serveOTP(yaml string, everything bool) func(testing.TB, net.Listener) {
	return func(tb testing.TB, l net.Listener) {
		p, err := policy.Parse("bench.yaml", []byte(yaml))
		if err != nil {
			tb.Fatal(err)
		}
		store, err := limiter.Open(limiter.Options{})
		if err != nil {
			tb.Fatal(err)
		}
		o := gate.Options{Policy: p, Store: store, Clock: server.NewClock(store.Newest()).Now}
		if everything {
			if o.Prices, err = prices.Parse("prices", []byte("prefix,price,currency\n65,0.04,USD\n44,0.05,USD\n1,0.008,USD\n91,0.02,USD\n62,0.3,USD\n")); err != nil {
				tb.Fatal(err)
			}
			if o.Replies, err = replies.Open(replies.Options{Path: filepath.Join(tb.TempDir(), "replies"), Size: 256 << 20}); err != nil {
				tb.Fatal(err)
			}
			// A memory that has been in use: its pages are there, and what they held is over.
			for i := range 400_000 {
				call, err := o.Replies.Begin(tb.Context(), time.Unix(1, 0), replies.Question{Key: strconv.Itoa(i)}, nil)
				if err != nil {
					tb.Fatal(err)
				}
				call.Abandon()
			}
		}
		g, err := gate.New(tb.Context(), o)
		if err != nil {
			tb.Fatal(err)
		}
		s, err := server.New(server.Options{Gate: g, Store: store, GRPC: l})
		if err != nil {
			tb.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		tb.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				tb.Error(err)
			}
			g.Close()
			store.Close()
			if o.Replies != nil {
				o.Replies.Close()
			}
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
