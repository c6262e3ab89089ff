package redisstore_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/limiter/redisstore"
)

// server is a real redis-server that a test started, on a loopback port of its own.
type server struct {
	t       testing.TB
	program string
	addr    string
	dir     string
	args    []string
	conf    string // of a Sentinel, which takes all from a file and writes it
	cmd     *exec.Cmd
	output  bytes.Buffer
}

// program finds a real program that tests run against; SENDGATE_REDIS_SERVER names another redis-server, such as valkey-server.
func program(t testing.TB, name string) string {
	t.Helper()
	if other := os.Getenv("SENDGATE_REDIS_SERVER"); other != "" && name == "redis-server" {
		name = other
	}
	if path, err := filepath.Abs(filepath.Join("../../.tools/bin", name)); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("SENDGATE_REQUIRE_REAL") == "1":
		t.Fatalf("!! %s IS MISSING: make install-%s", name, name)
	default:
		t.Skipf("!! %s IS MISSING, NOTHING IS PROVEN HERE: make install-%s", name, name)
	}
	return path
}

func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port < 55000 { // a node of a Cluster also listens 10000 higher
			return fmt.Sprint(port)
		}
	}
	t.Fatal("no free port below 55000")
	return ""
}

// startServer starts a server without persistence, and ends it with the test.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startProgram(t, "redis-server", args...)
}

func startProgram(t testing.TB, name string, args ...string) *server {
	t.Helper()
	s := &server{t: t, program: program(t, name), addr: "127.0.0.1:" + freePort(t), dir: t.TempDir(), args: args}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) port() string { _, p, _ := net.SplitHostPort(s.addr); return p }

func (s *server) start() {
	s.t.Helper()
	args := append([]string{"--port", s.port(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir,
		"--unixsocket", s.socket()}, s.args...)
	if s.conf != "" {
		args = []string{s.conf, "--sentinel"}
	}
	s.output.Reset()
	s.cmd = exec.Command(s.program, args...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = &s.output, &s.output, dieWithTest()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 1000 {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			fmt.Fprint(c, "PING\r\n")
			var b [64]byte
			n, _ := c.Read(b[:])
			c.Close()
			if n > 0 {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatalf("%s does not answer: %s", s.program, s.output.String())
}

func (s *server) socket() string { return filepath.Join(s.dir, "s") }

func (s *server) signal(sig syscall.Signal) {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// kill ends it as a crash does.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGCONT)
	s.signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// do runs a command on it, beside any store.
func (s *server) do(args ...string) rueidis.RedisResult {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	return c.Do(s.t.Context(), c.B().Arbitrary(args...).Build())
}

func secret() []byte { h := sha256.Sum256([]byte("for tests")); return h[:] }

// open opens a store and closes it with the test.
func open(t testing.TB, o redisstore.Options) *redisstore.Store {
	t.Helper()
	o.Secret = secret()
	s, err := redisstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
