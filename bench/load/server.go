package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	modulePath = "github.com/sendgate/sendgate"
	startTime  = 20 * time.Second // to be ready; a large table takes a while to allocate
	stopTime   = 15 * time.Second // to drain
)

// server is something that answers checks: a child of this process, or a sidecar that ran before.
type server struct {
	name    string
	addr    string
	clients []sendgatev1.SendGateServiceClient

	child  *exec.Cmd // nil if it ran before
	exited chan struct{}
	log    *bytes.Buffer // what the child printed; read after exited
}

// onThisMachine refuses addresses that could reach another one.
func onThisMachine(addr string) error {
	if strings.HasPrefix(addr, "unix:") {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("-addr %q: write 127.0.0.1:PORT, [::1]:PORT or unix:/path", addr)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("-addr %q: a load goes to this machine only: write 127.0.0.1:PORT, [::1]:PORT or unix:/path", addr)
}

func startSidecar(ctx context.Context, tmp string, s settings) (*server, error) {
	addr, err := freeAddress(tmp, "sendgate", s.transport)
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--grpc", addr, "--http", "unix:" + filepath.Join(tmp, "http.sock"), "--data", filepath.Join(tmp, "data")}
	if s.policy != "" {
		args = append(args, "--policy", s.policy)
	}
	return start(ctx, tmp, "sendgate", modulePath+"/cmd/sendgate", addr, args...)
}

func startFloor(ctx context.Context, tmp string, s settings) (*server, error) {
	addr, err := freeAddress(tmp, "floor", s.transport)
	if err != nil {
		return nil, err
	}
	return start(ctx, tmp, "floor", modulePath+"/bench/floor", addr, addr)
}

// start builds a command and runs it.
func start(ctx context.Context, tmp, name, pkg, addr string, args ...string) (*server, error) {
	bin := filepath.Join(tmp, name)
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	v := &server{name: name, addr: addr, child: exec.Command(bin, args...), exited: make(chan struct{}), log: new(bytes.Buffer)}
	v.child.Stdout, v.child.Stderr = v.log, v.log
	v.child.SysProcAttr = childAttributes()
	if err := v.child.Start(); err != nil {
		return nil, err
	}
	go func() {
		v.child.Wait() // how it ended does not matter: it should not have
		close(v.exited)
	}()
	return v, nil
}

// freeAddress finds a place to listen at. Somebody else may take the port in between; then the child says so.
func freeAddress(tmp, name, transport string) (string, error) {
	if transport == "unix" {
		return "unix:" + filepath.Join(tmp, name+".sock"), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// dial opens the connections and waits until the server says that it is ready.
func (v *server) dial(ctx context.Context, s settings) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if v.child != nil {
		go func() {
			select {
			case <-v.exited:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	target := v.addr
	if !strings.HasPrefix(target, "unix:") {
		target = "passthrough:///" + target
	}
	for range s.conns {
		conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		if err := ready(ctx, conn); err != nil {
			v.stop()
			return fmt.Errorf("%s at %s is not ready: %w\n%s", v.name, v.addr, err, v.said())
		}
		v.clients = append(v.clients, sendgatev1.NewSendGateServiceClient(conn))
	}
	return nil
}

// ready asks for the health of the server until it serves.
func ready(ctx context.Context, conn *grpc.ClientConn) error {
	health := grpc_health_v1.NewHealthClient(conn)
	for {
		r, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		if r.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends a child; one that does not drain in time is killed.
func (v *server) stop() {
	if v.child == nil {
		return
	}
	v.child.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	select {
	case <-v.exited:
	case <-time.After(stopTime):
		v.child.Process.Kill()
		<-v.exited
	}
}

// said is what a child that has ended printed.
func (v *server) said() string {
	if v.child == nil {
		return ""
	}
	return v.log.String()
}

// cpu is the processor time that the child has used, where the system tells.
func (v *server) cpu() (time.Duration, bool) {
	if v.child == nil {
		return 0, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.child.Process.Pid))
	if err != nil {
		return 0, false
	}
	// The command's name may hold spaces; utime and stime are the 12th and 13th field after it, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, false
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, false
	}
	return time.Duration(user+system) * 10 * time.Millisecond, true
}
