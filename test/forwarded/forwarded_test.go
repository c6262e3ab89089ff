// Package forwarded_test asks the real sidecar through real proxies: what a client writes about its way must not choose its key.
package forwarded_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"text/template"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// perClient lets each client address send once. Only the proxy's own address is trusted.
const perClient = `version: 1
client_address: {trusted_proxies: [127.0.0.1/32], missing_client: deny}
limits: [{name: client, by: [client], limit: 1, window: 1h}]
detect: {level: off}
`

// spoofs are headers by which a client claims to be somebody else, or to have come through somebody we trust.
var spoofs = [][]string{
	{"X-Forwarded-For", "6.6.6.6"},
	{"X-Forwarded-For", "6.6.6.6, 7.7.7.7"},
	{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "7.7.7.7"},
	{"X-Forwarded-For", "127.0.0.1"},
	{"X-Forwarded-For", "6.6.6.6, 127.0.0.1, 127.0.0.1"},
	{"X-Forwarded-For", "6.6.6.6,"},
	{"X-Forwarded-For", "unknown"},
	{"X-Forwarded-For", "::1"},
	{"X-Forwarded-For", "6.6.6.6:1234, [2001:db8::6]:80"},
	{"X-Forwarded-For", "\"6.6.6.6"},
	{"X-Forwarded-For", strings.Repeat("6.6.6.6, ", 2000) + "7.7.7.7"},
	{"X-Real-IP", "6.6.6.6"},
	{"X-Client-IP", "6.6.6.6"},
	{"True-Client-IP", "6.6.6.6"},
	{"CF-Connecting-IP", "6.6.6.6"},
	{"X-Envoy-External-Address", "6.6.6.6"},
	{"Forwarded", "for=6.6.6.6"},
	{"Forwarded", "for=6.6.6.6, for=127.0.0.1", "X-Forwarded-For", "8.8.8.8"},
}

func TestNginx_spoofedHeadersDoNotChangeTheKey(t *testing.T) { spoof(t, startNginx) }

func TestEnvoy_spoofedHeadersDoNotChangeTheKey(t *testing.T) { spoof(t, startEnvoy) }

// spoof asks through a proxy as clients that lie. numbers are ever new: only the client can be what is limited.
func spoof(t *testing.T, start func(*testing.T, places)) {
	p := startSidecar(t)
	start(t, p)
	number := 81_000_000
	next := func() string { number++; return fmt.Sprintf("+65%d", number) }
	ways := map[string]func(t *testing.T, client string, headers []string) string{
		"http": func(t *testing.T, client string, headers []string) string {
			return askHTTP(t, p.HTTP, client, next(), headers)
		},
		"grpc": func(t *testing.T, client string, headers []string) string {
			return askGRPC(t, p.GRPC, client, next(), headers)
		},
	}
	third := 0
	for way, ask := range ways {
		for i, headers := range spoofs {
			third++
			client, other := fmt.Sprintf("203.0.113.%d", third), fmt.Sprintf("198.51.100.%d", third)
			name := fmt.Sprintf("%s %d %.60q", way, i, headers)
			if got := ask(t, client, nil); got != "" {
				t.Errorf("%s: the honest first of %s: %q, want ALLOW", name, client, got)
			}
			if got := ask(t, client, headers); got != "limit:client" {
				t.Errorf("%s: the lying second of %s: %q, want limit:client", name, client, got)
			}
			// Nor does a lie use up what is somebody else's: a stranger is counted as himself, and the one he named is free.
			if got := ask(t, other, headers); got != "" {
				t.Errorf("%s: the lying first of %s: %q, want ALLOW", name, other, got)
			}
			if got := ask(t, other, nil); got != "limit:client" {
				t.Errorf("%s: the honest second of %s: %q, want limit:client", name, other, got)
			}
		}
	}
	for _, named := range []string{"6.6.6.6", "7.7.7.7", "8.8.8.8"} {
		if got := ways["http"](t, named, nil); got != "" {
			t.Errorf("%s, who was only ever named: %q, want ALLOW", named, got)
		}
	}
}

// places are where the parts of a test listen, all on 127.0.0.1.
type places struct {
	Dir                              string
	HTTP, GRPC                       string // of the proxy
	SidecarHTTP, SidecarGRPC         string
	HTTPPort, GRPCPort               string
	SidecarHTTPPort, SidecarGRPCPort string
}

func newPlaces(t *testing.T) places {
	t.Helper()
	p := places{Dir: t.TempDir()}
	for _, at := range []*string{&p.HTTP, &p.GRPC, &p.SidecarHTTP, &p.SidecarGRPC} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are held until the last is chosen
		*at = l.Addr().String()
	}
	port := func(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }
	p.HTTPPort, p.GRPCPort, p.SidecarHTTPPort, p.SidecarGRPCPort = port(p.HTTP), port(p.GRPC), port(p.SidecarHTTP), port(p.SidecarGRPC)
	return p
}

// startSidecar builds and runs the real command.
func startSidecar(t *testing.T) places {
	t.Helper()
	p := newPlaces(t)
	bin, policy := filepath.Join(p.Dir, "sendgate"), filepath.Join(p.Dir, "policy.yaml")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/sendgate/sendgate/cmd/sendgate").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.WriteFile(policy, []byte(perClient), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command(bin, "serve", "--policy", policy, "--grpc", p.SidecarGRPC, "--http", p.SidecarHTTP, "--data", filepath.Join(p.Dir, "data"), "--table-size", "4MiB"),
		p.SidecarGRPC, p.SidecarHTTP)
	return p
}

func startNginx(t *testing.T, p places) {
	t.Helper()
	bin := find(t, "nginx")
	run(t, exec.Command(bin, "-p", p.Dir, "-e", "stderr", "-c", fill(t, p, "nginx.conf")), p.HTTP, p.GRPC)
}

func startEnvoy(t *testing.T, p places) {
	t.Helper()
	bin := find(t, "envoy")
	run(t, exec.Command(bin, "--disable-hot-restart", "--concurrency", "1", "-l", "warn", "-c", fill(t, p, "envoy.yaml")), p.HTTP, p.GRPC)
}

// find looks for a real program where `make real` puts it. A test without it proves nothing: it is skipped loudly, and where real
// parts are asked for (CI) it fails.
func find(t *testing.T, name string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	tools := filepath.Join(filepath.Dir(file), "..", "..", ".tools", "bin")
	for _, candidate := range []string{filepath.Join(tools, name), name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv("SENDGATE_REQUIRE_REAL") == "1" {
		t.Fatalf("%s is not installed: make install-%s", name, name)
	}
	t.Skipf("!! %s IS NOT INSTALLED, SO NOTHING IS PROVEN HERE: make install-%s", name, name)
	return ""
}

// fill writes a configuration with the places in it.
func fill(t *testing.T, p places, name string) string {
	t.Helper()
	text, err := template.ParseFiles(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(p.Dir, name)
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := text.Execute(out, p); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a program, waits until it listens, and kills it at the end.
func run(t *testing.T, cmd *exec.Cmd, addrs ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said\n%s", cmd.Path, out.String())
		}
	})
	deadline := time.After(time.Minute)
	for _, addr := range addrs {
		for {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-ended:
				t.Fatalf("%s ended: %s", cmd.Path, out.String())
			case <-deadline:
				t.Fatalf("%s does not listen on %s", cmd.Path, addr)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// dialAs connects as a load balancer does for a client: it says by the PROXY protocol who that is.
func dialAs(ctx context.Context, addr, client string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 40000 80\r\n", client); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// askHTTP returns the reason of the verdict, empty for ALLOW.
func askHTTP(t *testing.T, addr, client, number string, headers []string) string {
	t.Helper()
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return dialAs(ctx, addr, client)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/v1/check", strings.NewReader(fmt.Sprintf(`{"number":%q}`, number)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"limit:client", "client:missing"} {
		if strings.Contains(body.String(), reason) {
			return reason
		}
	}
	if !strings.Contains(body.String(), "VERDICT_ALLOW") {
		return res.Status + " " + body.String()
	}
	return ""
}

func askGRPC(t *testing.T, addr, client, number string, headers []string) string {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dialAs(ctx, addr, client) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := t.Context()
	for i := 0; i < len(headers); i += 2 {
		ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(headers[i]), headers[i+1])
	}
	out, err := sendgatev1.NewSendGateServiceClient(conn).CheckSend(ctx, &sendgatev1.CheckSendRequest{Number: number}, grpc.WaitForReady(true))
	if err != nil {
		return err.Error()
	}
	return out.Reason
}
