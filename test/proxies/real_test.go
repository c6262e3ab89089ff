package proxies_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

const root = "../../"

// program finds a real program. Without it the test is skipped, loudly; where everything must run, it fails.
func program(t testing.TB, name string) string {
	t.Helper()
	if filepath.IsAbs(name) { // a module of a program
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	for _, dir := range []string{root + ".tools/bin", "/usr/sbin"} {
		if path, err := filepath.Abs(filepath.Join(dir, name)); err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
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

// shortDir is a directory whose name leaves room for a socket in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// example reads a file of the repository and puts other ports and paths in it. What is replaced must be there.
func example(t testing.TB, name string, replace ...string) string {
	t.Helper()
	src, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return edit(t, string(src), replace...)
}

func edit(t testing.TB, text string, replace ...string) string {
	t.Helper()
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the example has no %q", replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return text
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a program until the test ends, and waits until it is ready.
func run(t testing.TB, ready func() bool, name string, args ...string) *bytes.Buffer {
	t.Helper()
	var out lockedBuffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), out.String())
		}
	})
	await(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", name, out.String())
		default:
		}
		return ready()
	}, filepath.Base(name)+" to be ready")
	return &out.b
}

// await asks until it is so. It is how a test waits for another process.
func await(t testing.TB, so func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
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

// freePort is one that nobody listens on now.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// faults are what can go wrong with a store.
const (
	sound int32 = iota
	broken
	hanging
	late // it takes, and the answer comes when nobody waits for it any more
)

// breakable is a real store that can be made to fail.
type breakable struct {
	limiter.Store
	fault atomic.Int32
}

func (b *breakable) Take(ctx context.Context, now time.Time, charges []limiter.Charge) (limiter.Decision, error) {
	switch b.fault.Load() {
	case broken:
		return limiter.Decision{}, limiter.ErrClosed
	case hanging:
		<-ctx.Done()
		return limiter.Decision{}, ctx.Err()
	case late:
		d, err := b.Store.Take(ctx, now, charges)
		<-ctx.Done()
		return d, err
	}
	return b.Store.Take(ctx, now, charges)
}

// sidecar is Sendgate on two sockets.
type sidecar struct {
	sendgatev1.SendGateServiceClient
	grpc, http string // paths
	tcp        string // where HTTP is instead, for proxies that know no sockets
	store      *breakable
	log        lockedBuffer
	stop       func()
}

// startSidecar runs a policy. It can be stopped and started again on the same sockets.
func startSidecar(t testing.TB, policyYAML, dir string, change ...func(*server.Options)) *sidecar {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(policyYAML))
	if err != nil {
		t.Fatal(err)
	}
	table, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{grpc: filepath.Join(dir, "grpc.sock"), http: filepath.Join(dir, "http.sock"), store: &breakable{Store: table}}
	asked, err := replies.Open(replies.Options{Size: 1 << 20, Secret: make([]byte, gate.SecretSize)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(t.Context(), gate.Options{Policy: p, Store: s.store, Replies: asked, Clock: server.NewClock(time.Time{}).Now})
	if err != nil {
		t.Fatal(err)
	}
	rpc, err := server.Listen("unix:" + s.grpc)
	if err != nil {
		t.Fatal(err)
	}
	web, err := server.Listen("unix:" + s.http)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.grpc, s.http} { // proxies run as others
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	o := server.Options{Gate: g, Store: s.store, Log: slog.New(slog.NewTextHandler(&s.log, nil)), GRPC: rpc, HTTP: web, Drain: 100 * time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	srv, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	conn, err := grpc.NewClient("unix:"+s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	s.SendGateServiceClient = sendgatev1.NewSendGateServiceClient(conn)
	s.stop = sync.OnceFunc(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the sidecar: %v", err)
		}
		g.Close()
		asked.Close()
		table.Close()
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the sidecar said:\n%s", s.log.String())
		}
	})
	return s
}

// app is the application behind the proxy.
type app struct {
	addr string
	mu   sync.Mutex
	seen []*http.Request
	// answer adds to every answer.
	answer http.Header
}

func startApp(t testing.TB) *app {
	t.Helper()
	a := &app{answer: http.Header{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.addr = l.Addr().String()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		a.mu.Lock()
		a.seen = append(a.seen, r)
		for name, lines := range a.answer {
			w.Header()[name] = lines
		}
		a.mu.Unlock()
		io.WriteString(w, "sent\n")
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return a
}

// last is the newest request that came through, and how many did.
func (a *app) last() (*http.Request, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		return &http.Request{Header: http.Header{}}, 0
	}
	return a.seen[len(a.seen)-1], len(a.seen)
}

// port is where the application listens, as an example writes it.
func (a *app) port() string { _, port, _ := net.SplitHostPort(a.addr); return port }

// reply is an answer that was read.
type reply struct {
	status int
	header http.Header
	body   string
}

// request asks through a proxy. header is name, value, name, value ...
func request(t testing.TB, client *http.Client, method, url, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Transfer-Encoding" {
			req.ContentLength = -1
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

// plain is an HTTP/1.1 client that uses no proxy of its own and follows nothing.
func plain(t testing.TB, protocols ...func(*http.Protocols)) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(true)
	for _, p := range protocols {
		p(transport.Protocols)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
