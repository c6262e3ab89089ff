// Command detectreport says what detection catches and whom it hurts. It makes the development scenarios, plays them through
// `sendgate replay` as whoever is protected would live them, scores the verdicts, and compares with the bars: the exit code is 1
// if one is missed. It writes detect.md, detect.json and detect.svg.
//
// Without the folder of scenarios it plays the fixture of detect/testdata alone.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

func main() {
	l := lab{}
	flag.StringVar(&l.scenarios, "scenarios", "../shared/scenarios", "folder with gen, dev, replay.py and score.py")
	flag.StringVar(&l.binary, "binary", "bin/sendgate", "the program to judge")
	flag.StringVar(&l.python, "python", "", "a Python with numpy; none: one in .tools, made if need be")
	flag.StringVar(&l.work, "work", ".cache/scenarios", "where logs and verdicts are kept")
	out := flag.String("out", "bench/results", "where the report goes")
	seeds := flag.Int("seeds", 5, "fresh seeds of benign traffic, for false alarms")
	small := flag.String("small", "16MiB", "memory of detection for the second round; empty: none")
	jobs := flag.Int("jobs", 2, "scenarios at a time")
	flag.Parse()
	met, err := run(&l, *out, *small, *seeds, *jobs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "detectreport:", err)
		os.Exit(2)
	}
	if !met {
		os.Exit(1)
	}
}

func run(l *lab, out, small string, seeds, jobs int) (met bool, err error) {
	if _, err := os.Stat(filepath.Join(l.scenarios, "score.py")); err != nil {
		fmt.Fprintf(os.Stderr, "no scenarios in %s: the fixture alone\n", l.scenarios)
		r, err := judgeFixture(fixture)
		if err != nil {
			return false, err
		}
		all := bars([]*result{r})
		return printBars(os.Stdout, all), nil
	}
	if err := l.open(); err != nil {
		return false, err
	}
	paths, err := filepath.Glob(filepath.Join(l.scenarios, "dev", "*.json"))
	if err != nil || len(paths) == 0 {
		return false, fmt.Errorf("no scenarios in %s/dev: %w", l.scenarios, err)
	}
	slices.Sort(paths)
	rep := &report{Made: time.Now().UTC()}
	if rep.Results, err = judgeAll(l, paths, "", jobs); err != nil {
		return false, err
	}
	rep.Bars = bars(rep.Results)
	if small != "" {
		rep.SmallSize = small
		if rep.Small, err = judgeAll(l, paths, "--detect-size "+small, jobs); err != nil {
			return false, err
		}
		rep.Bars = append(rep.Bars, bar{name: "recall lost with " + small + " of memory, in points", measured: 100 * (recall(rep.Results) - recall(rep.Small)), must: 2, stretch: math.NaN(), atMost: true})
	}
	if err := falseAlarms(l, rep, paths[0], seeds); err != nil {
		return false, err
	}
	if err := cost(rep); err != nil {
		return false, err
	}
	met = printBars(os.Stdout, rep.Bars)
	return met, rep.write(out)
}

// judgeAll plays scenarios, some at a time.
func judgeAll(l *lab, paths []string, flags string, jobs int) ([]*result, error) {
	results, errs := make([]*result, len(paths)), make([]error, len(paths))
	room := make(chan struct{}, jobs)
	var done sync.WaitGroup
	for i, path := range paths {
		room <- struct{}{}
		done.Add(1)
		go func() {
			defer done.Done()
			defer func() { <-room }()
			log, s, err := l.generate(path, 0)
			if err == nil {
				var took time.Duration
				results[i], _, took, err = l.judge(log, s, flags)
				fmt.Fprintf(os.Stderr, "%-32s %s %5.1f s\n", s.Name, flags, took.Seconds())
			}
			errs[i] = err
		}()
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// recall is the portion of all messages of attacks that was stopped.
func recall(results []*result) float64 {
	stopped, all := 0, 0
	for _, r := range results {
		for _, a := range r.Attacks {
			all += a.N
			stopped += a.N - a.Through
		}
	}
	return float64(stopped) / float64(max(1, all))
}

// falseAlarms plays benign traffic of fresh seeds and counts what trips.
func falseAlarms(l *lab, rep *report, path string, seeds int) error {
	if seeds == 0 {
		return nil
	}
	rep.Trips = map[string]int{}
	for seed := range seeds {
		log, s, err := l.generate(path, int64(90001+seed))
		if err != nil {
			return err
		}
		r, alerts, _, err := l.judge(log, s, "")
		if err != nil {
			return err
		}
		count, err := trips(alerts)
		if err != nil {
			return err
		}
		n, err := sessionsOf(log)
		if err != nil {
			return err
		}
		rep.Sessions += n
		for scope, k := range count {
			rep.Trips[scope] += k
		}
		fmt.Fprintf(os.Stderr, "%-32s %d sessions, trips %v, stopped %d hard, %d by challenge\n", s.Name, n, count, r.Benign.Hard, r.Benign.Challenge)
	}
	million := func(scope string) float64 { return 1e6 * float64(rep.Trips[scope]) / float64(rep.Sessions) }
	rep.Bars = append(rep.Bars,
		bar{name: "false trips per million, two masked digits", measured: million("range2"), must: 40, stretch: 5, atMost: true},
		bar{name: "false trips per million, three masked digits", measured: million("range3"), must: 30, stretch: 5, atMost: true})
	return nil
}

var benchLine = regexp.MustCompile(`BenchmarkObserve/64MiB\S*\s.*?([\d.]+) cpu-ns/op.*?(\d+) allocs/op`)

// cost measures what detection costs a check.
func cost(rep *report) error {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkObserve$/^64MiB$", "-benchtime", "1s", "-count", "3", "-cpu", "1", "./detect").CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchmark: %w\n%s", err, out)
	}
	found := benchLine.FindAllStringSubmatch(string(out), -1)
	if found == nil {
		return fmt.Errorf("benchmark: no line of BenchmarkObserve in\n%s", out)
	}
	best, allocs := math.Inf(1), 0.
	for _, m := range found {
		ns, _ := strconv.ParseFloat(m[1], 64)
		n, _ := strconv.ParseFloat(m[2], 64)
		best, allocs = min(best, ns), max(allocs, n)
	}
	rep.Bars = append(rep.Bars,
		bar{name: "cost of a check and its outcome, us on one core (best of 3)", measured: best / 1000, must: 2, stretch: 1, atMost: true},
		bar{name: "allocations a check", measured: allocs, stretch: math.NaN(), atMost: true})
	return nil
}

// MarshalJSON writes what a reader of the report needs.
func (b bar) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"name": b.name, "measured": b.measured, "must": b.must, "at_most": b.atMost, "worst_case": b.of, "met": b.met()})
}
