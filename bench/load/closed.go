package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lap is what callers got from one server in one round.
type lap struct {
	*tally
	took time.Duration
	cpu  time.Duration // 0: not known
}

func (l lap) rate() float64 { return float64(l.answered) / l.took.Seconds() }
func (l lap) cpuPerCheck() float64 {
	return float64(l.cpu.Nanoseconds()) / 1e3 / float64(max(l.answered, 1))
}

// closed lets callers ask as fast as they are answered, by turns the floor and the gate: what else runs on the machine then
// slows both, and the ratio stands.
func closed(ctx context.Context, out io.Writer, s settings, floor, gate *server) error {
	var next, answered atomic.Uint64
	begin, now := time.Now(), atomic.Pointer[server]{}
	now.Store(floor)
	const warm = 300 * time.Millisecond
	total := 2 * (warm + s.duration)
	shown := startProgress(total, func() string {
		return fmt.Sprintf("%5.1fs of %v   %s answered   now %s", time.Since(begin).Seconds(), total,
			thousands(int64(answered.Load())), now.Load().name)
	})
	ask := func(v *server, d time.Duration) lap {
		now.Store(v)
		return callers(ctx, s, v, d, &next, &answered)
	}
	ask(floor, warm)
	ask(gate, warm)
	var floors, gates []lap
	for range s.rounds {
		floors = append(floors, ask(floor, s.duration/time.Duration(s.rounds)))
		gates = append(gates, ask(gate, s.duration/time.Duration(s.rounds)))
	}
	shown.finish()

	var ratios, cpuRatios []float64
	for i := range floors {
		ratios = append(ratios, gates[i].rate()/floors[i].rate())
		if floors[i].cpu > 0 && gates[i].cpu > 0 {
			cpuRatios = append(cpuRatios, gates[i].cpuPerCheck()/floors[i].cpuPerCheck())
		}
	}
	f, g := sum(floors), sum(gates)
	fmt.Fprintf(out, "closed loop, %d callers over %d connections, %d rounds of %v each, %s\n", s.callers, s.conns, s.rounds,
		s.duration/time.Duration(s.rounds), gate.addr)
	for _, l := range []struct {
		name string
		lap
	}{{"floor", f}, {gate.name, g}} {
		fmt.Fprintf(out, "  %-9s  %8s/s   %s", l.name, thousands(int64(l.rate())), percentiles(l.latency))
		if l.cpu > 0 {
			fmt.Fprintf(out, "   %.1f us of CPU a check", l.cpuPerCheck())
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "  answered   %s%s\n", thousands(g.answered), listed(g.verdicts))
	fmt.Fprintf(out, "  errors     %s%s\n", thousands(g.failed+f.failed), listed(g.errors))
	fmt.Fprintf(out, "  throughput %s\n", spread(ratios))
	if len(cpuRatios) > 0 {
		fmt.Fprintf(out, "  CPU        %s\n", spread(cpuRatios))
	}
	if err := complete(ctx, f.tally); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	return complete(ctx, g.tally)
}

// callers asks one server for a while.
func callers(ctx context.Context, s settings, v *server, d time.Duration, next, answered *atomic.Uint64) lap {
	begin := time.Now()
	before, known := v.cpu()
	tallies := make([]*tally, s.callers)
	var wg sync.WaitGroup
	for c := range tallies {
		tallies[c] = newTally()
		wg.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				if asked.Sub(begin) >= d {
					return
				}
				r, err := check(context.WithoutCancel(ctx), s, v, next.Add(1))
				tallies[c].add(time.Since(asked), r, err)
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	l := lap{tally: newTally(), took: time.Since(begin)}
	if after, _ := v.cpu(); known {
		l.cpu = after - before
	}
	for _, t := range tallies {
		l.merge(t)
	}
	return l
}

func sum(laps []lap) lap {
	all := lap{tally: newTally()}
	for _, l := range laps {
		all.merge(l.tally)
		all.took += l.took
		all.cpu += l.cpu
	}
	return all
}

// spread prints the median and the range.
func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.2f of the floor (median of %d rounds, %.2f to %.2f)", v[len(v)/2], len(v), v[0], v[len(v)-1])
}
