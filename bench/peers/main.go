// Command peers measures the limiter beside other Go limiters on the same machine in the same run, prints the ratios that count
// and writes them to bench/results/limiter.md:
//
//	go run . [-rounds 11] [-only SCENARIO] [-out ../results/limiter.md]
//
// Each contender is a process of its own, so that no one's heap or garbage is another's. The processes take turns of a fraction of
// a second, and what is told is the median of the rounds. Absolute numbers are this machine's and this hour's; ratios hold.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 11, "how often each measurement is made")
	only := flag.String("only", "", "regular expression of the scenarios to run")
	out := flag.String("out", "../results/limiter.md", "file to write; empty for none")
	child := flag.String("child", "", "scenario/contender to measure in this process")
	flag.Parse()
	if *child != "" {
		name, who, _ := strings.Cut(*child, "/")
		measureChild(name, who)
		return
	}
	if err := run(*rounds, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// values are what one measurement told, by name.
type values map[string]float64

// told are the values of all rounds by contender.
type told map[string][]values

// sorted are all rounds' values of one name; a single 0 where nobody told one.
func (t told) sorted(who, what string) (vs []float64) {
	for _, v := range t[who] {
		if x, ok := v[what]; ok {
			vs = append(vs, x)
		}
	}
	if len(vs) == 0 {
		return []float64{0}
	}
	slices.Sort(vs)
	return vs
}

func (t told) median(who, what string) float64 {
	vs := t.sorted(who, what)
	return vs[len(vs)/2]
}

func (t told) mean(who, what string) (m float64) {
	vs := t.sorted(who, what)
	for _, v := range vs {
		m += v / float64(len(vs))
	}
	return m
}

func (t told) most(who, what string) float64 { return slices.Max(t.sorted(who, what)) }

func run(rounds int, only, out string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	var report strings.Builder
	fmt.Fprintf(&report, "# The limiter beside others\n\n%s\n\nMade by `go run .` in `bench/peers`; medians of %d rounds in which they take turns. Limiters that answer over a network (redis-cell, limitador, gubernator, envoyproxy/ratelimit) are measured beside Sendgate's server: [peers.md](peers.md).\n", machine(), rounds)
	fmt.Println(report.String())
	for _, s := range allScenarios() {
		if !match.MatchString(s.name) {
			continue
		}
		all, err := s.run(rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		text := s.report(s, all)
		fmt.Println(text)
		report.WriteString("\n" + text)
	}
	if out == "" || only != "" {
		return nil
	}
	return os.WriteFile(out, []byte(report.String()), 0o644)
}

// run starts a process for each contender and lets them take turns.
func (s scenario) run(rounds int) (told, error) {
	all := told{}
	turns := map[string]*turns{}
	for _, who := range s.who {
		t, err := startTurns(s.name, who)
		if err != nil {
			return nil, err
		}
		defer t.end()
		turns[who] = t
	}
	if s.rounds > 0 {
		rounds = s.rounds
	}
	for round := range rounds {
		for i := range s.who {
			who := s.who[(i+round)%len(s.who)]
			v, err := turns[who].take()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", who, err)
			}
			all[who] = append(all[who], v)
		}
	}
	fmt.Fprintf(os.Stderr, "%s %s: %d rounds\n", time.Now().Format(time.TimeOnly), s.name, rounds)
	return all, nil
}

// turns is a process that measures once for each line it reads.
type turns struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startTurns(scenario, who string) (*turns, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "-child", scenario+"/"+who)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t := &turns{cmd, in, bufio.NewScanner(out)}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_, err = t.answer() // it is ready
	return t, err
}

func (t *turns) take() (values, error) {
	if _, err := io.WriteString(t.in, "go\n"); err != nil {
		return nil, err
	}
	return t.answer()
}

func (t *turns) answer() (values, error) {
	v := values{}
	for t.out.Scan() {
		line := t.out.Text()
		at := strings.LastIndexByte(line, '=')
		if at < 0 {
			return v, nil
		}
		x, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, err
		}
		v[line[:at]] = x
	}
	return nil, fmt.Errorf("the process ended: %v", t.out.Err())
}

func (t *turns) end() {
	_ = t.in.Close()
	_ = t.cmd.Wait()
}

// measureChild is a process of turns.
func measureChild(name, who string) {
	for _, s := range allScenarios() {
		if s.name != name {
			continue
		}
		measure, done := s.prepare(who)
		fmt.Println()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			measure()
			fmt.Println()
		}
		done()
	}
}

// tell prints a value for the parent.
func tell(name string, v float64) { fmt.Printf("%s=%g\n", name, v) }

// table makes a Markdown table: a row a contender, each value beside its ratio of ours.
func table(all told, who []string, columns ...string) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s | ours is |", c)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|---|", len(columns)) + "\n")
	for _, w := range who {
		fmt.Fprintf(&b, "| %s |", w)
		for _, c := range columns {
			ours, x := all.median(who[0], c), all.median(w, c)
			if w == who[0] {
				fmt.Fprintf(&b, " %.4g | |", x)
			} else {
				fmt.Fprintf(&b, " %.4g | %.2fx |", x, ours/x)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// bar says whether a bar of issue 4 is met.
func bar(what string, got, most float64, unit string) string {
	verdict := "met"
	if got > most {
		verdict = "**missed**"
	}
	return fmt.Sprintf("* %s: %.3g%s, bar %.3g%s: %s\n", what, got, unit, most, unit, verdict)
}

func machine() string {
	read := func(path, prefix string) string {
		b, _ := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimLeft(strings.TrimSpace(rest), ": \t")
			}
		}
		return ""
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores (shared with other work), %s of memory, Linux %s, %s, %s. %s.",
		read("/proc/cpuinfo", "model name"), cores(), read("/proc/meminfo", "MemTotal:"), strings.TrimSpace(string(kernel)),
		goVersion(), time.Now().UTC().Format("2006-01-02"), versions())
}
