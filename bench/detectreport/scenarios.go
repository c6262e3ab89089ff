package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lab has what is needed to make scenarios and to judge them.
type lab struct {
	scenarios string // the folder with gen, dev, replay.py and score.py
	python    string // with numpy
	binary    string // sendgate
	work      string // where generated logs and verdicts are kept
}

// open finds the folder of scenarios and a Python with numpy, which it installs into .tools where it is missing.
func (l *lab) open() error {
	if err := os.MkdirAll(l.work, 0o755); err != nil {
		return err
	}
	if l.python != "" {
		return nil
	}
	venv := filepath.Join(".tools", "venv")
	l.python = filepath.Join(venv, "bin", "python")
	if exec.Command(l.python, "-c", "import numpy").Run() == nil {
		return nil
	}
	fmt.Fprintln(os.Stderr, "making", venv, "with numpy")
	for _, args := range [][]string{{"python3", "-m", "venv", venv}, {l.python, "-m", "pip", "install", "-q", "numpy"}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// run runs a program of the scenarios and returns what it prints.
func (l *lab) run(args ...string) ([]byte, error) {
	cmd := exec.Command(l.python, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return out, nil
}

// generate makes the log of a scenario, where it is not there yet. seed 0 keeps the scenario's own.
func (l *lab) generate(path string, seed int64) (log string, s *scenario, err error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	s = new(scenario)
	if err := json.Unmarshal(src, s); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	if seed != 0 {
		var all map[string]any
		if err := json.Unmarshal(src, &all); err != nil {
			return "", nil, err
		}
		s.Name = fmt.Sprintf("%s-seed-%d", s.Name, seed)
		all["seed"], all["name"] = seed, s.Name
		path = filepath.Join(l.work, s.Name+".json")
		if src, err = json.Marshal(all); err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(path, src, 0o644); err != nil {
			return "", nil, err
		}
	}
	log = filepath.Join(l.work, s.Name+".jsonl.gz")
	if _, err := os.Stat(log); err == nil {
		return log, s, nil
	}
	_, err = l.run(filepath.Join(l.scenarios, "gen", "gen.py"), path, "-o", log)
	return log, s, err
}

// judge replays a log as whoever is protected would live it, and scores the verdicts. It also returns the alerts' file.
func (l *lab) judge(log string, s *scenario, flags string) (*result, string, time.Duration, error) {
	tag := strings.NewReplacer("-", "", " ", "").Replace(flags)
	verdicts, alerts := filepath.Join(l.work, s.Name+tag+".verdicts"), filepath.Join(l.work, s.Name+tag+".alerts")
	start := time.Now()
	if _, err := l.run(filepath.Join(l.scenarios, "replay.py"), log, "-o", verdicts,
		"--cmd", fmt.Sprintf("%s replay --in - --out - --alerts %s %s", l.binary, alerts, flags)); err != nil {
		return nil, "", 0, err
	}
	took := time.Since(start)
	out, err := l.run(filepath.Join(l.scenarios, "score.py"), log, verdicts, "--json")
	if err != nil {
		return nil, "", 0, err
	}
	r := new(result)
	if err := json.Unmarshal(out, r); err != nil {
		return nil, "", 0, fmt.Errorf("score.py: %w", err)
	}
	r.describe(s)
	return r, alerts, took, nil
}

// trips counts alerts by scope.
func trips(alerts string) (map[string]int, error) {
	f, err := os.Open(alerts)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	count := map[string]int{}
	lines := json.NewDecoder(f)
	for {
		var a struct{ Scope string }
		if err := lines.Decode(&a); err == io.EOF {
			return count, nil
		} else if err != nil {
			return nil, err
		}
		count[a.Scope]++
	}
}

// sessionsOf counts sessions of a log: sends of codes to a number that was quiet for ten minutes. Each is held against every range
// its number is in.
func sessionsOf(log string) (int, error) {
	f, err := os.Open(log)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return 0, err
	}
	last := map[string]time.Time{}
	n := 0
	for lines := json.NewDecoder(z); ; {
		var e struct {
			T             time.Time
			Type, Purpose string
			Msisdn        string
		}
		if err := lines.Decode(&e); err == io.EOF {
			return n, nil
		} else if err != nil {
			return 0, err
		}
		if e.Type != "send" || e.Purpose != "otp" {
			continue
		}
		if e.T.Sub(last[e.Msisdn]) > 10*time.Minute {
			n++
		}
		last[e.Msisdn] = e.T
	}
}
