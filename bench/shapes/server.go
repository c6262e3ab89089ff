package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/sendgate/sendgate/bench"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// child is a server in a process of its own. It ends when its standard input does.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func startServer(kind string, s settings) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(exe, "-serve", kind, "-cpuprofile", s.profile, "-policy", s.policy)}
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if c.addr = strings.TrimSpace(line); err != nil {
		c.stop()
		return nil, fmt.Errorf("%s did not start: %w", kind, err)
	}
	return c, nil
}

func (c *child) stop() {
	c.stdin.Close()
	c.cmd.Wait() //nolint:errcheck // it has nothing more to say
}

// cpuTime is what the process has used, by the kernel's count, in hundredths of a second.
func (c *child) cpuTime() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold spaces; user and system time are fields 14 and 15.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, err2)
}

// serve is the child.
func serve(s settings) error {
	debug.SetGCPercent(400) // as the sidecar does
	phone.Warm()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var stop func()
	if s.serve == "floor" {
		stop = serveFloor(listener)
	} else if stop, err = serveGate(listener, s.policy); err != nil {
		return err
	}
	defer stop()
	if s.profile != "" {
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println(listener.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func serveFloor(l net.Listener) func() {
	s := grpc.NewServer()
	sendgatev1.RegisterSendGateServiceServer(s, bench.Floor{})
	go s.Serve(l) //nolint:errcheck // it ends when it is stopped
	return s.Stop
}

func serveGate(l net.Listener, file string) (func(), error) {
	p := policy.Default()
	if file != "" {
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if p, err = policy.Parse(file, src); err != nil {
			return nil, err
		}
	}
	store, err := limiter.Open(limiter.Options{})
	if err != nil {
		return nil, err
	}
	engine, err := detect.New(detect.Options{Seed: 1})
	if err != nil {
		return nil, err
	}
	g, err := gate.New(context.Background(), gate.Options{Policy: p, Store: store, Detect: engine, Clock: server.NewClock(time.Time{}).Now})
	if err != nil {
		return nil, err
	}
	s, err := server.New(server.Options{Gate: g, Store: store, GRPC: l, Drain: time.Second})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	return func() {
		stop()
		<-done
		g.Close()
		engine.Close()
		store.Close()
	}, nil
}
