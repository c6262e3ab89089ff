package redisstore_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// cpu is how many microseconds of processor a server has used.
func (s *server) cpu() float64 {
	info, _ := s.do("INFO", "cpu").ToString()
	total := 0.0
	for _, line := range strings.Split(info, "\r\n") {
		if name, v, ok := strings.Cut(line, ":"); ok && (name == "used_cpu_sys" || name == "used_cpu_user") {
			f, _ := strconv.ParseFloat(v, 64)
			total += f * 1e6
		}
	}
	return total
}

// script is how many microseconds the server says that a call of the script takes, without reading and writing it.
func (s *server) script() float64 {
	info, _ := s.do("INFO", "commandstats").ToString()
	_, v, _ := strings.Cut(info, "cmdstat_evalsha:")
	_, v, _ = strings.Cut(v, "usec_per_call=")
	v, _, _ = strings.Cut(v, ",")
	f, _ := strconv.ParseFloat(v, 64)
	return f
}

// BenchmarkTake: 64 callers on one server that shares the cores with them. redis-us/op is the server's processor time a check,
// script-us/op the part of it in the script, own-us/op that of this process.
func BenchmarkTake(b *testing.B) {
	rules5 := []limiter.Limit{
		{Name: "number-minute", Group: "number", N: 1, Window: time.Minute},
		{Name: "number-30m", Group: "number", N: 10, Window: 30 * time.Minute},
		{Name: "client-minute", Group: "client", N: 10, Window: time.Minute},
		{Name: "account-second", Group: "account", N: 1 << 30, Window: time.Second},
		{Name: "client-second", Group: "client", N: 3000, Window: time.Second},
	}
	for _, c := range []struct {
		name   string
		limits []limiter.Limit
		hot    bool
		near   time.Duration
	}{
		{"one rule, fresh keys", []limiter.Limit{{Name: "r", Group: "number", N: 10, Window: 30 * time.Minute}}, false, -1},
		{"five rules, fresh numbers", rules5, false, -1},
		{"one rule, hot limited key", []limiter.Limit{{Name: "r", Group: "number", N: 10, Window: 30 * time.Minute}}, true, -1},
		{"one rule, hot limited key, near", []limiter.Limit{{Name: "r", Group: "number", N: 10, Window: 30 * time.Minute}}, true, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := startServer(b)
			s := open(b, redisstore.Options{Addrs: []string{r.addr}, Near: c.near, Timeout: 10 * time.Second})
			rules := define(b, s, c.limits...)
			account := s.Key([]byte("account"))
			var n atomic.Int64
			cpu, own := r.cpu(), ownCPU()
			b.SetParallelism(32)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				charges := make([]limiter.Charge, len(rules))
				for pb.Next() {
					i := n.Add(1)
					if c.hot {
						i = 0
					}
					number, client := s.Key(fmt.Append(nil, "+65", i)), s.Key(fmt.Append(nil, "10.0.", i))
					for j, r := range rules {
						charges[j] = limiter.Charge{Rule: r, Key: number, Cost: 1}
						switch r.Limit().Group {
						case "client":
							charges[j].Key = client
						case "account":
							charges[j].Key = account
						}
					}
					if _, err := s.Take(context.Background(), time.Now(), charges); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric((ownCPU()-own)/float64(b.N), "own-us/op")
			b.ReportMetric((r.cpu()-cpu)/float64(b.N), "redis-us/op")
			b.ReportMetric(r.script(), "script-us/op")
		})
	}
}

// BenchmarkFixedWindow is what a fixed window that admits up to 2N asks of the same server: the two commands that
// envoyproxy/ratelimit sends for a rule, by the same client.
func BenchmarkFixedWindow(b *testing.B) {
	r := startServer(b)
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{r.addr}, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1, AlwaysPipelining: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var n atomic.Int64
	cpu, own := r.cpu(), ownCPU()
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k := fmt.Sprint("domain_number_+65", n.Add(1), "_1795446620")
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			for _, res := range c.DoMulti(ctx, c.B().Incrby().Key(k).Increment(1).Build(), c.B().Expire().Key(k).Seconds(1800).Build()) {
				if err := res.Error(); err != nil {
					b.Error(err)
				}
			}
			cancel()
		}
	})
	b.StopTimer()
	b.ReportMetric((ownCPU()-own)/float64(b.N), "own-us/op")
	b.ReportMetric((r.cpu()-cpu)/float64(b.N), "redis-us/op")
}
