package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// onRedis measures who keeps counters on Redis, one rule each, and writes redis.md:
//
//	go run ./wire -redis
//
// Each system has a redis-server of its own beside it. "tuned" is envoyproxy/ratelimit as its README advises for load: commands
// pipelined by windows of 150 us, and keys over their limit kept in memory.
func onRedis(b *book, only, out string, s settings) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	b.Machine, b.Versions = machine(), versions()
	var who []*system
	for _, sys := range systems() {
		if sys.name == floorDefault || sys.name == oursRedis || sys.name == envoyRedis {
			who = append(who, sys)
		}
	}
	who = append(who, &system{name: envoyTuned, program: "ratelimit", dialect: who[len(who)-1].dialect,
		start: withEnv(startEnvoyRatelimit, "REDIS_PIPELINE_WINDOW=150us", "REDIS_PIPELINE_LIMIT=8", "LOCAL_CACHE_SIZE_IN_BYTES=16777216")})
	for _, sc := range scenarios() {
		if !slices.Contains(redisScenarios, sc.name) || !wanted.MatchString(sc.name) {
			continue
		}
		turn := sc.turn
		sc.turn = func(h *host, s settings, round int) (sample, error) { return divided(h, s, round, turn) }
		r := &result{When: time.Now().UTC().Truncate(time.Second), Load: loadAverage()}
		if err := sc.run(sc, who, s, r); err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		b.Results[sc.name] = r
		if err := b.save(); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(out, "redis.md"), []byte(redisReport(b, who)), 0o644)
}

const (
	envoyRedis = "envoyproxy/ratelimit + Redis"
	envoyTuned = "envoyproxy/ratelimit + Redis, tuned"
)

var redisScenarios = []string{"closed/random/16", "closed/random/64", "closed/hot/16", "closed/hot/64", "open/3000"}

func withEnv(start func(*host, rule) error, env ...string) func(*host, rule) error {
	return func(h *host, r rule) error {
		for _, e := range env {
			name, value, _ := strings.Cut(e, "=")
			if err := os.Setenv(name, value); err != nil {
				return err
			}
			defer os.Unsetenv(name)
		}
		return start(h, r)
	}
}

// divided is a turn that also tells what the server alone spent.
func divided(h *host, s settings, round int, turn func(*host, settings, int) (sample, error)) (sample, error) {
	all, err := h.cpu()
	if err != nil {
		return nil, err
	}
	alone, err := h.main.cpu()
	if err != nil {
		return nil, err
	}
	v, err := turn(h, s, round)
	if err != nil {
		return nil, err
	}
	allThen, err := h.cpu()
	if err != nil {
		return nil, err
	}
	aloneThen, err := h.main.cpu()
	if err != nil {
		return nil, err
	}
	if d := allThen - all; d > 0 {
		v["server"] = v["cpu"] * float64(aloneThen-alone) / float64(d)
	}
	return v, nil
}

// redisReport is the page.
func redisReport(b *book, who []*system) string {
	var p strings.Builder
	fmt.Fprintf(&p, "# Counters on Redis, beside envoyproxy/ratelimit\n\n%s. envoyproxy/ratelimit %s, %s without persistence. Made by `go run ./wire -redis` in `bench/peers`.\n\n",
		b.Machine, b.Versions["ratelimit"], b.Versions["redis-server"])
	p.WriteString("One rule of ten by number (half an hour here, an hour there, which knows no other), a million random numbers or one that is long over its\n" +
		"limit, over gRPC and loopback TCP. Client, servers and two cores are shared. In each row the systems took turns; medians.\nCPU is microseconds a check, of the server alone and with its Redis. Ours also knows idempotency keys, outcomes and any window; theirs\n" +
		"counts in fixed hours. \"tuned\" pipelines by windows of 150 us and keeps keys over their limit in memory.\n")
	for _, name := range redisScenarios {
		r := b.Results[name]
		if r == nil {
			continue
		}
		fmt.Fprintf(&p, "\n## %s\n\n| | checks/s | CPU of the server | with Redis | p50 ms | p99 ms | admitted |\n|---|---|---|---|---|---|---|\n", name)
		for _, sys := range who {
			of := func(what string) float64 { return medianOf(r.Samples[sys.name], what) }
			fmt.Fprintf(&p, "| %s | %.0f | %.1f | %.1f | %.2f | %.2f | %.0f %% |\n", sys.name, of("rate"), of("server"), of("cpu"), of("p50"), of("p99"), 100*of("admitted"))
		}
		for _, other := range []string{envoyRedis, envoyTuned} {
			fmt.Fprintf(&p, "\nAgainst %s: %.2fx the throughput, %.2fx the server's CPU a check, %.2fx with Redis.\n", other,
				ratio(r, other, "rate"), ratio(r, other, "server"), ratio(r, other, "cpu"))
		}
	}
	fmt.Fprintf(&p, "\n## Bars\n\n")
	for _, bar := range []struct {
		what, scenario, of string
		least, most        float64
	}{
		{"throughput, 16 callers", "closed/random/16", "rate", 1.7, 0},
		{"throughput, 64 callers", "closed/random/64", "rate", 1.7, 0},
		{"server CPU a check, 16 callers", "closed/random/16", "server", 0, .5},
		{"server CPU a check, 64 callers", "closed/random/64", "server", 0, .5},
		{"throughput on a hot limited key, 16 callers", "closed/hot/16", "rate", 2, 0},
		{"throughput on a hot limited key, 64 callers", "closed/hot/64", "rate", 2, 0},
	} {
		r := b.Results[bar.scenario]
		if r == nil {
			continue
		}
		got, verdict := ratio(r, envoyRedis, bar.of), "met"
		if got < bar.least || bar.most > 0 && got > bar.most {
			verdict = "**missed**"
		}
		limit := fmt.Sprintf("at least %.1fx", bar.least)
		if bar.most > 0 {
			limit = fmt.Sprintf("at most %.1fx", bar.most)
		}
		fmt.Fprintf(&p, "* %s: %.2fx, bar %s: %s\n", bar.what, got, limit, verdict)
	}
	return p.String()
}

func medianOf(samples []sample, what string) float64 {
	var all []float64
	for _, v := range samples {
		all = append(all, v[what])
	}
	return median(all)
}

// ratio is the median of each round's ratio of ours to another's.
func ratio(r *result, other, what string) float64 {
	var all []float64
	for i, v := range r.Samples[oursRedis] {
		if i < len(r.Samples[other]) && r.Samples[other][i][what] > 0 {
			all = append(all, v[what]/r.Samples[other][i][what])
		}
	}
	return median(all)
}
