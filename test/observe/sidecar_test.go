package observe

import (
	"bytes"
	"io"
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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// patience is how long something may take on a busy machine; nothing is measured by it.
const patience = 30 * time.Second

// build makes the sidecar once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sendgate-observe-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sendgate")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/sendgate").CombinedOutput()
	os.Stderr.Write(out)
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// real finds a real program. Without it the test is skipped, loudly; where everything must run, it fails.
func real(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("SENDGATE_REQUIRE_REAL") == "1":
		t.Fatalf("!! %s IS MISSING: make install-prometheus", name)
	default:
		t.Skipf("!! %s IS MISSING, NOTHING IS PROVEN HERE: make install-prometheus", name)
	}
	return path
}

// sidecar is a real one.
type sidecar struct {
	sendgatev1.SendGateServiceClient
	t                  testing.TB
	binary, dir        string
	grpcAddr, httpAddr string
	said               lockedBuffer
	stop               func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t testing.TB, args ...string) *sidecar {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{t: t, binary: binary, dir: t.TempDir(), grpcAddr: freeAddr(t), httpAddr: freeAddr(t)}
	cmd := exec.Command(binary, append([]string{"serve", "--grpc", s.grpcAddr, "--http", s.httpAddr, "--data", s.data(), "--table-size", "4MiB",
		"--replies-size", "1MiB", "--drain", "2s"}, args...)...)
	cmd.Stdout, cmd.Stderr = &s.said, &s.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the sidecar ended: %v", err)
			}
		case <-time.After(patience):
			cmd.Process.Kill()
			t.Error("the sidecar did not end")
		}
		if t.Failed() {
			t.Logf("the sidecar said:\n%s", s.said.String())
		}
	})
	t.Cleanup(s.stop)
	await(t, "the sidecar", func() bool {
		res, err := http.Get(s.url() + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	conn, err := grpc.NewClient(s.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.SendGateServiceClient = sendgatev1.NewSendGateServiceClient(conn)
	return s
}

func (s *sidecar) data() string { return filepath.Join(s.dir, "data") }
func (s *sidecar) url() string  { return "http://" + s.httpAddr }

// command runs a command of the binary and returns all that it prints. Its exit code is an answer.
func (s *sidecar) command(args ...string) string {
	cmd := exec.Command(s.binary, args...)
	cmd.Dir = s.dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// get reads a page.
func (s *sidecar) get(path string, header ...string) string {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req, header...)
}

func (s *sidecar) post(path, body string, header ...string) string {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return s.do(req, header...)
}

func (s *sidecar) do(req *http.Request, header ...string) string {
	s.t.Helper()
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var out bytes.Buffer
	res.Header.Write(&out)
	io.Copy(&out, res.Body)
	return out.String()
}

func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
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
