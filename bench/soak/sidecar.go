package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// sidecar is a running `sendgate serve`.
type sidecar struct {
	cmd    *exec.Cmd
	grpc   string
	http   string
	log    *os.File
	exited chan struct{}
}

func start(program, dir string, env []string, args ...string) (*sidecar, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	s := &sidecar{grpc: "unix:" + filepath.Join(dir, "grpc.sock"), http: filepath.Join(dir, "http.sock"), log: log, exited: make(chan struct{})}
	s.cmd = exec.Command(program, append([]string{"serve", "--grpc", s.grpc, "--http", "unix:" + s.http, "--data", filepath.Join(dir, "data"), "--log-level", "warn"}, args...)...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.cmd.Wait() //nolint:errcheck // how it ended is in its log
		close(s.exited)
	}()
	conn, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := healthgrpc.NewHealthClient(conn).Check(ctx, &healthgrpc.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		said, _ := os.ReadFile(log.Name())
		s.stop()
		return nil, fmt.Errorf("%s does not answer: %w\n%s", program, err, said)
	}
	return s, nil
}

func (s *sidecar) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
}

func (s *sidecar) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case <-s.exited:
	case <-time.After(15 * time.Second):
		s.cmd.Process.Kill() //nolint:errcheck // as above
		<-s.exited
	}
	s.log.Close()
}

// metrics reads /metrics: by name, with those of all labels added up.
func (s *sidecar) metrics() (map[string]float64, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.http)
		}}}
	r, err := client.Get("http://sidecar/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		at := strings.LastIndexByte(lines.Text(), ' ') // labels may have some too
		v, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(lines.Text()[:at], "{")
		values[name] += v
	}
	return values, lines.Err()
}

// reading is what a sidecar holds at one time.
type reading struct{ heap, memory, goroutines, descriptors float64 }

// history are the readings of a run.
type history struct{ readings []reading }

func (h *history) keep(ctx context.Context, s *sidecar, every time.Duration) {
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		// The next collection's goal follows what lives: unlike the heap in use it does not swing with garbage.
		v, err := s.metrics()
		if err != nil {
			continue // it is busy; a sidecar that died fails its checks
		}
		h.readings = append(h.readings, reading{v["go_memstats_next_gc_bytes"], anonymous(s.cmd.Process.Pid), v["go_goroutines"], v["process_open_fds"]})
	}
}

// anonymous is the memory of a process that is no file's, in bytes: a table fills by and by and is bounded by its size.
func anonymous(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := bytes.Cut(status, []byte("RssAnon:"))
	if f := bytes.Fields(rest); len(f) > 0 {
		kB, _ := strconv.ParseFloat(string(f[0]), 64)
		return kB * 1024
	}
	return 0
}

func (h *history) newest() string {
	if len(h.readings) == 0 {
		return ""
	}
	r := h.readings[len(h.readings)-1]
	return fmt.Sprintf("heap goal %.0f MiB, memory %.0f MiB, %.0f goroutines, %.0f descriptors", r.heap/(1<<20), r.memory/(1<<20), r.goroutines, r.descriptors)
}

// growth compares the median of the second quarter with that of the last, in a row each, and is an error if something grew.
func (h *history) growth(name string, out *report) error {
	n := len(h.readings)
	if n < 8 {
		return fmt.Errorf("%s: only %d readings", name, n)
	}
	var problems []error
	for _, m := range []struct {
		what       string
		of         func(reading) float64
		unit       float64
		more, part float64 // what it may grow by, and the part of itself
	}{
		{"heap goal, MiB", func(r reading) float64 { return r.heap }, 1 << 20, 16, 0.15},
		{"memory that is no file's, MiB", func(r reading) float64 { return r.memory }, 1 << 20, 64, 0.10}, // detection's own fills to 64 MiB
		{"goroutines", func(r reading) float64 { return r.goroutines }, 1, 100, 0.20},
		{"descriptors", func(r reading) float64 { return r.descriptors }, 1, 16, 0},
	} {
		middle := func(of []reading) float64 {
			var v []float64
			for _, r := range of {
				v = append(v, m.of(r)/m.unit)
			}
			slices.Sort(v)
			return v[len(v)/2]
		}
		before, after := middle(h.readings[n/4:n/2]), middle(h.readings[3*n/4:])
		out.cells(name+": "+m.what, fmt.Sprintf("%.1f", before), fmt.Sprintf("%.1f", after))
		if after > before*(1+m.part)+m.more {
			problems = append(problems, fmt.Errorf("%s: %s grew from %.1f to %.1f", name, m.what, before, after))
		}
	}
	return errors.Join(problems...)
}
