package console_test

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the sidecar, built once.
var program = sync.OnceValues(func() (string, error) {
	var err error
	if programDir, err = os.MkdirTemp("", "sendgate-console-"); err != nil {
		return "", err
	}
	path := filepath.Join(programDir, "sendgate")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/sendgate").CombinedOutput()
	os.Stderr.Write(out)
	return path, err
})

// programDir is where it is; TestMain takes it away.
var programDir string

// sidecar is a real one, whose time goes fast.
type sidecar struct {
	testing.TB
	binary, dir, grpc, http string
	args                    []string
	stop                    func()
}

// start starts a sidecar with a fresh state.
func start(t testing.TB, args ...string) *sidecar {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{TB: t, binary: binary, dir: t.TempDir(), grpc: freeAddr(t), http: freeAddr(t), args: args}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start runs it on the addresses and the state that it had.
func (s *sidecar) start() {
	s.Helper()
	var said bytes.Buffer
	cmd := exec.Command(s.binary, append([]string{"serve", "--grpc", s.grpc, "--http", s.http, "--data", filepath.Join(s.dir, "data"), "--table-size", "16MiB",
		"--log-level", "error", "--drain", "2s"}, s.args...)...)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	s.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
			s.Error("the sidecar did not end: a console held it up")
		}
		if s.Failed() {
			s.Logf("the sidecar said:\n%s", said.String())
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get(s.origin() + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ended:
			s.Fatalf("the sidecar ended:\n%s", said.String())
		default:
		}
		if time.Now().After(end) {
			s.Fatalf("the sidecar is not ready:\n%s", said.String())
		}
	}
}

func (s *sidecar) origin() string { return "http://" + s.http }

func (s *sidecar) keyFile() string { return filepath.Join(s.dir, "data", "admin.key") }

// key is its operator's key.
func (s *sidecar) key() string {
	s.Helper()
	file, err := os.ReadFile(s.keyFile())
	if err != nil {
		s.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	return lines[len(lines)-1]
}

// audit is all that its audit logs say.
func (s *sidecar) audit() (all string) {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "audit*"))
	if err != nil {
		s.Fatal(err)
	}
	for _, name := range files {
		filepath.Walk(name, func(path string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				text, _ := os.ReadFile(path)
				all += string(text)
			}
			return err
		})
	}
	return all
}

// simulate plays made-up traffic to it until the test ends, or all of it was played.
func (s *sidecar) simulate(args ...string) (wait func()) {
	s.Helper()
	var said bytes.Buffer
	cmd := exec.Command(s.binary, append([]string{"simulate", "--addr", s.grpc}, args...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	s.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if s.Failed() {
			s.Logf("simulate said:\n%s", said.String())
		}
	})
	return func() { <-ended }
}

// check asks for one send.
func (s *sidecar) check(number string) {
	s.Helper()
	cmd := exec.Command(s.binary, "check", "--addr", s.grpc, "--number", number, "--client-ip", "203.0.113.7")
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 3 && cmd.ProcessState.ExitCode() != 4 {
		s.Fatalf("%v: %s", err, out)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
