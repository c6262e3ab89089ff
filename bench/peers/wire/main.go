// Command wire measures Sendgate beside other rate limiting services over the wire, on one machine, and asks all of them what they
// promise. It writes ../results/peers.md and its plots:
//
//	make bench-peers                                  builds or installs the peers, then all of it
//	go run ./wire -only 'closed/.*/16' -rounds 7      a part; what was measured before stays
//	go run ./wire -report                             the page again, from what was measured
//
// Within a scenario the systems take turns of a fraction of a second, so that what else runs on the machine hits all of them. What is
// told is the median of the rounds, and the median of each round's ratio to the empty handler. A system whose program is not there is
// left out and named. Everything listens on loopback only.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

func main() {
	var (
		only   = flag.String("only", "", "regular expression of the scenarios to run")
		who    = flag.String("who", "", "regular expression of the systems to run")
		rounds = flag.Int("rounds", 5, "how often each system has its turn")
		turn   = flag.Duration("turn", time.Second, "how long a turn is")
		out    = flag.String("out", "../results", "folder of peers.json and peers.md")
		report = flag.Bool("report", false, "measure nothing, write the page")
		list   = flag.Bool("list", false, "name the scenarios")
		redis  = flag.Bool("redis", false, "measure who keeps counters on Redis, into redis.md")
	)
	flag.StringVar(&tools, "tools", "../../.tools/peers", "folder of the peers' programs")
	flag.Parse()
	err := func() error {
		if *list {
			for _, s := range scenarios() {
				fmt.Println(s.name)
			}
			return nil
		}
		var err error
		if tools, err = filepath.Abs(tools); err != nil {
			return err
		}
		debug.SetGCPercent(400) // the client shares the machine with the servers
		b := book{path: filepath.Join(*out, "peers.json")}
		if *redis {
			b.path = filepath.Join(*out, "redis.json")
		}
		if err := b.load(); err != nil {
			return err
		}
		if *redis {
			return onRedis(&b, *only, *out, settings{rounds: *rounds, turn: *turn})
		}
		if !*report {
			if err := measure(&b, *only, *who, settings{rounds: *rounds, turn: *turn}); err != nil {
				return err
			}
		}
		return writeReport(&b, *out)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wire:", err)
		os.Exit(1)
	}
}

type settings struct {
	rounds int
	turn   time.Duration
}

// sample is what one turn of one system told, by name: checks a second, microseconds of CPU a check, milliseconds.
type sample map[string]float64

// result is a scenario's, by system.
type result struct {
	When    time.Time           `json:"when"`
	Load    string              `json:"load"` // of the machine before it began
	Samples map[string][]sample `json:"samples,omitempty"`
	Words   map[string]string   `json:"words,omitempty"` // where the answer is no number
}

// book is everything that was measured, kept between runs.
type book struct {
	path string

	Machine  string             `json:"machine"`
	Versions map[string]string  `json:"versions"`
	Results  map[string]*result `json:"results"`
	Missing  []string           `json:"missing,omitempty"`
}

func (b *book) load() error {
	text, err := os.ReadFile(b.path)
	if errors.Is(err, os.ErrNotExist) {
		b.Results = map[string]*result{}
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, b)
}

func (b *book) save() error {
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.path, append(text, '\n'), 0o644)
}

func measure(b *book, only, who string, s settings) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	people, err := regexp.Compile(who)
	if err != nil {
		return err
	}
	b.Machine, b.Versions, b.Missing = machine(), versions(), nil
	var there []*system
	for _, sys := range systems() {
		if sys.program != "" {
			if _, err := find(sys.program); err != nil {
				fmt.Fprintf(os.Stderr, "%s is left out: %s was not built, see bench/peers/build.sh\n", sys.name, sys.program)
				b.Missing = append(b.Missing, sys.name)
				continue
			}
		}
		if people.MatchString(sys.name) {
			there = append(there, sys)
		}
	}
	for _, sc := range scenarios() {
		if !wanted.MatchString(sc.name) {
			continue
		}
		begin := time.Now()
		r := b.Results[sc.name]
		if r == nil || who == "" {
			r = &result{}
		}
		r.When, r.Load = begin.UTC().Truncate(time.Second), loadAverage()
		if err := sc.run(sc, there, s, r); err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		b.Results[sc.name] = r
		if err := b.save(); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s  %-22s %v\n", time.Now().Format(time.TimeOnly), sc.name, time.Since(begin).Round(100*time.Millisecond))
	}
	return nil
}

func machine() string {
	read := func(path, prefix string) string {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimLeft(strings.TrimSpace(rest), ": \t")
			}
		}
		return ""
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores for servers and client together, %s of memory, Linux %s, client %s", read("/proc/cpuinfo", "model name"),
		runtime.NumCPU(), read("/proc/meminfo", "MemTotal:"), strings.TrimSpace(string(kernel)), runtime.Version())
}

// versions are read from the programs themselves where they tell.
func versions() map[string]string {
	v := map[string]string{}
	text, _ := os.ReadFile(filepath.Join(tools, "versions"))
	for line := range strings.Lines(string(text)) {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			v[name] = version
		}
	}
	for name, args := range map[string][]string{"sendgate": {"version"}, "redis-server": {"--version"}} {
		if program, err := find(name); err == nil {
			said, _ := exec.Command(program, args...).Output()
			if f := strings.Fields(string(said)); len(f) > 2 {
				v[name] = strings.TrimPrefix(strings.Join(f[1:3], " "), "server ")
			}
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "google.golang.org/grpc" {
				v["grpc-go"] = m.Version
			}
		}
	}
	return v
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); len(f) > 0 {
		return f[0]
	}
	return "?"
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
