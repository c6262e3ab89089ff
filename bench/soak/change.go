package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// policies is a file that changes.
type policies struct {
	path    string
	changed int
}

// write puts the next policy in place: the limits that counters depend on stay, a rule in shadow comes and goes, a threshold moves.
func (p *policies) write() error {
	shadow := ""
	if p.changed%2 == 1 {
		shadow = "  - {name: idea, by: [client, number], limit: 3, window: 10m, mode: shadow}\n"
	}
	text := fmt.Sprintf("version: 1\nlimits:\n  - {name: number-minute, by: [number], limit: 1, window: 60s}\n  - {name: number-30m, by: [number], limit: 10, window: 30m}\n"+
		"  - {name: client-minute, by: [client], limit: %d, window: 1m, on_limit: challenge}\n%sdetect: {level: standard}\n", 10+p.changed%3, shadow)
	next := p.path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.path)
}

// change writes another policy every five seconds and says so, as systemctl reload does.
func (p *policies) change(ctx context.Context, s *sidecar) {
	for tick := time.NewTicker(5 * time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			p.changed++
			if p.write() == nil {
				s.cmd.Process.Signal(syscall.SIGHUP) //nolint:errcheck // one that ended fails its checks
			}
		}
	}
}

// redis is a server that is killed and started anew.
type redis struct {
	program, dir, port string
	cmd                *exec.Cmd
	restarts           int
}

// startShared starts a Redis and a sidecar on it.
func startShared(program, dir string) (*sidecar, *redis, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	r := &redis{program: path, dir: dir, port: port}
	if err := r.start(); err != nil {
		return nil, nil, err
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("soak----soak----soak----soak----"), 0o600); err != nil {
		return nil, nil, err
	}
	s, err := start(program, filepath.Join(dir, "shared"), nil, "--store", "redis://127.0.0.1:"+port, "--secret-file", secret)
	if err != nil {
		r.stop()
	}
	return s, r, err
}

func (r *redis) start() error {
	r.cmd = exec.Command(r.program, "--bind", "127.0.0.1", "--port", r.port, "--save", "", "--appendonly", "no", "--dir", r.dir)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	for range 1000 {
		if c, err := net.Dial("tcp", "127.0.0.1:"+r.port); err == nil {
			return c.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.stop()
	return fmt.Errorf("redis-server does not listen on %s", r.port)
}

func (r *redis) stop() {
	r.cmd.Process.Kill() //nolint:errcheck // it may have ended
	r.cmd.Wait()         //nolint:errcheck // it was killed
}

// restart kills it at each quarter and starts it a second later.
func (r *redis) restart(ctx context.Context, run time.Duration) {
	for range 3 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(run / 4):
		}
		r.stop()
		time.Sleep(time.Second)
		if r.start() != nil {
			return
		}
		r.restarts++
	}
}
