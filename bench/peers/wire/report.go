package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// writeReport makes the page and its plots of what was measured so far.
func writeReport(b *book, dir string) error {
	p := page{book: b}
	p.head()
	p.bars()
	p.speed()
	p.shapes()
	p.rest()
	p.promises()
	p.tail()
	for name, svg := range p.plots {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "peers.md"), []byte(p.String()), 0o644)
}

type page struct {
	strings.Builder
	*book
	plots map[string]string
}

func (p *page) print(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// value is the median of a system's rounds in a scenario.
func (p *page) value(scenario, system, what string) (float64, bool) {
	r := p.Results[scenario]
	if r == nil || len(r.Samples[system]) == 0 {
		return 0, false
	}
	var of []float64
	for _, s := range r.Samples[system] {
		of = append(of, s[what])
	}
	return median(of), true
}

// ratio is the median of the rounds' ratios: a slow moment is slow for both. Where the rounds are not the same, that of the medians.
func (p *page) ratio(scenario, system, to, what string) (float64, bool) {
	return p.across(scenario, system, scenario, to, what)
}

func (p *page) across(scenario, system, toScenario, to, what string) (float64, bool) {
	a, ok := p.value(scenario, system, what)
	b, ok2 := p.value(toScenario, to, what)
	if !ok || !ok2 || b == 0 {
		return 0, false
	}
	as, bs := p.Results[scenario].Samples[system], p.Results[toScenario].Samples[to]
	if scenario != toScenario || len(as) != len(bs) {
		return a / b, true
	}
	var of []float64
	for i := range as {
		if bs[i][what] > 0 {
			of = append(of, as[i][what]/bs[i][what])
		}
	}
	return median(of), true
}

func (p *page) cell(v float64, ok bool) string {
	if !ok {
		return "–"
	}
	return short(v)
}

// present are the systems that a scenario has, in order.
func (p *page) present(scenario string) (names []string) {
	r := p.Results[scenario]
	if r == nil {
		return nil
	}
	for _, s := range systems() {
		if len(r.Samples[s.name]) > 0 || r.Words[s.name] != "" {
			names = append(names, s.name)
		}
	}
	return names
}

func (p *page) head() {
	p.print("# Sendgate beside other rate limiting services\n\n")
	p.print("Written by `make bench-peers`: everything runs on one machine, %s.\n", p.Machine)
	rounds := 0
	if r := p.Results["closed/random/16"]; r != nil {
		rounds = len(r.Samples[floorDefault])
	}
	p.print("Within a table the systems took turns, so that whatever else the machine did hit all of them; what stands here are medians of %d rounds.\n"+
		"**Read the ratios**: absolute numbers are those of the machine and the hour. Servers and client share the cores, and the client is\n"+
		"the same few lines for everyone.\n\n", rounds)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p.Versions)) {
		parts = append(parts, name+" "+p.Versions[name])
	}
	p.print("Versions: %s.\n", strings.Join(parts, "; "))
	if len(p.Missing) > 0 {
		p.print("Not there, and left out: %s.\n", strings.Join(p.Missing, ", "))
	}
	p.print("\nThe rule is 10 per number in 30 minutes (per hour in envoyproxy/ratelimit, which has no half hours). \"Default policy\" is Sendgate as it\n" +
		"comes: five rules, each check all or nothing, detection on. \"Our options\" are those of Sendgate's gRPC listener.\n\n")
}

// bars are those that issue 13 set.
func (p *page) bars() {
	type line struct {
		what  string
		value float64
		ok    bool
		least float64 // or most, if it is negative
	}
	const at = "closed/random/16"
	var lines []line
	add := func(what string, least float64, v float64, ok bool) { lines = append(lines, line{what, v, ok, least}) }
	ratio := func(what string, least float64, scenario, system, to, of string) {
		v, ok := p.ratio(scenario, system, to, of)
		add(what, least, v, ok)
	}
	ratio("default policy: throughput, of the empty handler with the same options", 0.92, at, ours, floorOurs, "rate")
	ratio("default policy: server CPU, of the same", -1.08, at, ours, floorOurs, "cpu")
	for _, peer := range []struct {
		name  string
		least float64
	}{{"limitador, memory", 1.2}, {"gubernator", 2.5}, {"envoyproxy/ratelimit + Redis", 3}} {
		ratio("throughput at 16 callers, of "+peer.name+": default policy", peer.least, at, ours, peer.name, "rate")
		ratio("the same: one rule", peer.least, at, oursOneRule, peer.name, "rate")
	}
	v, ok := p.across("batch/16", ours, at, ours, "rate")
	add("batches of 100: checks a second, of unary", 18, v, ok)
	ratio("batches of 100, of gubernator's", 4, "batch/16", ours, "gubernator", "rate")
	ratio("batches of 100, of envoyproxy/ratelimit's", 4, "batch/16", ours, "envoyproxy/ratelimit + Redis", "rate")
	v, ok = p.across("stream/16", ours, at, ours, "rate")
	add("stream: checks a second, of unary", 2.5, v, ok)
	ratio("3000/s over a unix socket: p50, of the empty handler with the same options", -1.1, "open/3000/unix", ours, floorOurs, "p50")
	ratio("the same: p99", -1.1, "open/3000/unix", ours, floorOurs, "p99")
	v, ok = p.value("memory", ours, "million")
	add("memory of a million numbers under the default policy, MiB", -160, v, ok)
	v, ok = p.value("memory", ours, "half_more")
	add("of half a million more, MiB", -8, v, ok)

	p.print("## Against the bars\n\n| what | measured | bar | |\n|---|---|---|---|\n")
	for _, l := range lines {
		if !l.ok {
			continue
		}
		sign, met, bar := "≥", l.value >= l.least, l.least
		if l.least < 0 {
			sign, met, bar = "≤", l.value <= -l.least, -l.least
		}
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		p.print("| %s | %s | %s %g | %s |\n", l.what, short(l.value), sign, bar, verdict)
	}
	p.print("\n")
}

func (p *page) speed() {
	p.print("## As fast as they answer\n\nA million numbers at random, then one number that everybody asks for. CPU is the server's (with its Redis), per million checks.\n")
	for _, kind := range []struct{ name, title string }{{"random", "A million numbers at random"}, {"hot", "One number"}} {
		names := p.present("closed/" + kind.name + "/16")
		if len(names) == 0 {
			continue
		}
		p.print("\n| %s | 1 caller | 16 callers | 64 callers | of the empty handler at 16 | p99 at 16, ms | CPU s / million at 16 | CPU, of the empty handler |\n|---|---|---|---|---|---|---|---|\n", kind.title)
		for _, n := range names {
			p.print("| %s |", n)
			for _, callers := range []int{1, 16, 64} {
				p.print(" %s/s |", p.cell(p.value(fmt.Sprintf("closed/%s/%d", kind.name, callers), n, "rate")))
			}
			at := "closed/" + kind.name + "/16"
			p.print(" %s | %s | %s | %s |\n", p.cell(p.ratio(at, n, floorDefault, "rate")), p.cell(p.value(at, n, "p99")), p.cell(p.value(at, n, "cpu")), p.cell(p.ratio(at, n, floorDefault, "cpu")))
		}
	}
	p.plot("peers-closed.svg", "Checks a second, 16 callers, a million numbers", "/s", "closed/random/16", "rate")
	p.plot("peers-cpu.svg", "Server CPU seconds per million checks, 16 callers", "s", "closed/random/16", "cpu")
	p.print("\n## At a fixed rate\n\nMilliseconds from the moment a check was due, whatever kept it.\n")
	p.print("\n| | 3000/s p50 | p99 | CPU s / million | 10,000/s p50 | p99 |\n|---|---|---|---|---|---|\n")
	for _, n := range p.present("open/3000") {
		p.print("| %s | %s | %s | %s | %s | %s |\n", n, p.cell(p.value("open/3000", n, "p50")), p.cell(p.value("open/3000", n, "p99")),
			p.cell(p.value("open/3000", n, "cpu")), p.cell(p.value("open/10000", n, "p50")), p.cell(p.value("open/10000", n, "p99")))
	}
	for _, n := range p.present("open/3000/unix") {
		p.print("| %s, unix socket | %s | %s | %s | | |\n", n, p.cell(p.value("open/3000/unix", n, "p50")), p.cell(p.value("open/3000/unix", n, "p99")), p.cell(p.value("open/3000/unix", n, "cpu")))
	}
	p.plot("peers-open.svg", "p99 at 3000 checks a second", "ms", "open/3000", "p99")
}

func (p *page) plot(file, title, unit, scenario, what string) {
	var bars []bar
	for _, n := range p.present(scenario) {
		v, _ := p.value(scenario, n, what)
		bars = append(bars, bar{n, v, strings.HasPrefix(n, "Sendgate")})
	}
	if len(bars) == 0 {
		return
	}
	if p.plots == nil {
		p.plots = map[string]string{}
	}
	p.plots[file] = plot(title, unit, bars)
	p.print("\n![%s](%s)\n", title, file)
}

func (p *page) shapes() {
	p.print("\n## Batches and streams\n\nBatches of %d checks in a message; on a stream each caller waits for his answer before he asks again. Times unary is of the same\nsystem at as many callers.\n\n", batchSize)
	p.print("| | callers | batch, checks/s | times unary | CPU s / million | stream, checks/s | times unary | CPU s / million |\n|---|---|---|---|---|---|---|---|\n")
	for _, callers := range []int{1, 16} {
		batch, stream, unary := fmt.Sprint("batch/", callers), fmt.Sprint("stream/", callers), fmt.Sprint("closed/random/", callers)
		for _, n := range p.present(batch) {
			p.print("| %s | %d | %s | %s | %s | %s | %s | %s |\n", n, callers, p.cell(p.value(batch, n, "rate")), p.cell(p.across(batch, n, unary, n, "rate")), p.cell(p.value(batch, n, "cpu")),
				p.cell(p.value(stream, n, "rate")), p.cell(p.across(stream, n, unary, n, "rate")), p.cell(p.value(stream, n, "cpu")))
		}
	}
}

func (p *page) rest() {
	p.print("\n## Memory and the first answer\n\nMemory is what the processes had in use, mapped files included, more than at the start. Sendgate's table is allocated in full when it is\nmade and does not grow. The first answer is counted from the start of the program, on no state and on the state that it left.\n\n")
	p.print("| | at the start, MiB | a million numbers, MiB | half a million more, MiB | first answer, ms | after a restart, ms |\n|---|---|---|---|---|---|\n")
	for _, n := range p.present("start") {
		p.print("| %s | %s | %s | %s | %s | %s |\n", n, p.cell(p.value("memory", n, "before")), p.cell(p.value("memory", n, "million")), p.cell(p.value("memory", n, "half_more")),
			p.cell(p.value("start", n, "fresh")), p.cell(p.value("start", n, "again")))
	}
}

func (p *page) promises() {
	p.print("\n## What they promise, asked from outside\n\nEvery system with a rule of 10. Certain violations only: checks count as in one window if the first was sent and the last was answered\nless than a window apart.\n\n")
	probes := []struct{ name, title string }{
		{"window", "most admitted in any window of the rule"},
		{"at once", "of 64 callers at once on one number"},
		{"denied", "denied by a second rule: was the first charged?"},
		{"restart", "of a spent 10, admitted again after SIGTERM / kill -9"},
		{"flood", "a spent number after 300,000 strangers, room for far fewer"},
	}
	p.print("| |")
	names := p.present("probe/window")
	for _, probe := range probes {
		p.print(" %s |", probe.title)
	}
	p.print("\n|---|%s\n", strings.Repeat("---|", len(probes)))
	for _, n := range names {
		p.print("| %s |", n)
		for _, probe := range probes {
			words := "–"
			if r := p.Results["probe/"+probe.name]; r != nil && r.Words[n] != "" {
				words = r.Words[n]
			}
			p.print(" %s |", words)
		}
		p.print("\n")
	}
}

func (p *page) tail() {
	p.print("\n## What is not comparable\n\n" +
		"* The peers are asked for one rule; Sendgate's default policy judges five and looks for attacks. Its line with one rule is the like for like.\n" +
		"* limitador is its library (the crate) behind a thin server of ours, without the metrics and traces of limitador-server; in memory, not on disk.\n" +
		"* redis-cell is asked in Redis' own protocol over a connection for each caller: no gRPC, no policy, one key a command.\n" +
		"* Redis runs without persistence, which is its fastest; with `appendonly everysec` a kill forgets up to a second.\n" +
		"* Among the strangers Redis evicts by LRU, as caches are run. For Sendgate run it with noeviction, and it warns of anything else: nobody is\n" +
		"  forgotten then, and new numbers meet the rule's fail mode.\n" +
		"* gubernator and Redis can share counters between machines, which Sendgate does on Redis only.\n" +
		"* A batch of envoyproxy/ratelimit is one request with 100 descriptors, and limitador takes several descriptors as one question, so it has no batch.\n" +
		"* An answer of Sendgate carries a sealed check id of some 100 bytes; the others' are a few bytes.\n\n")
	p.print("When each part was measured, and the load of the machine (1 minute) before: ")
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p.Results)) {
		r := p.Results[name]
		parts = append(parts, fmt.Sprintf("%s %s (%s)", name, r.When.Format(time.DateTime), r.Load))
	}
	p.print("%s.\n", strings.Join(parts, ", "))
}
