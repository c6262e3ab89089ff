package proxies_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// envoy is a running Envoy.
type envoy struct {
	t     testing.TB
	url   string // of its first listener
	admin *http.Client
	log   string
}

// startEnvoy runs a configuration. Its admin socket and access log are in dir.
func startEnvoy(t testing.TB, config, dir string) *envoy {
	t.Helper()
	bin := program(t, "envoy")
	e := &envoy{t: t, log: filepath.Join(dir, "access.log")}
	socket := filepath.Join(dir, "admin.sock")
	config = edit(t, config, "/run/sendgate/admin.sock", socket)
	config = strings.ReplaceAll(config, "/dev/stdout", e.log)
	e.admin = &http.Client{Transport: &http.Transport{DialContext: dialUnix(socket), DisableKeepAlives: true}}
	run(t, func() bool { text, err := e.ask("GET", "/ready"); return err == nil && strings.HasPrefix(text, "LIVE") },
		bin, "-c", write(t, dir, "envoy.yaml", config), "--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "20", "--log-level", "error")
	text, err := e.ask("GET", "/listeners?format=json")
	if err != nil {
		t.Fatal(err)
	}
	var listeners struct {
		Statuses []struct {
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(text), &listeners); err != nil || len(listeners.Statuses) == 0 {
		t.Fatalf("%v: %s", err, text)
	}
	at := listeners.Statuses[0].Local.Socket
	e.url = "http://" + net.JoinHostPort(at.Address, strconv.Itoa(at.Port))
	return e
}

// dialUnix dials a socket, whatever the URL says.
func dialUnix(path string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
}

func (e *envoy) ask(method, path string) (string, error) {
	req, err := http.NewRequest(method, "http://admin"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := e.admin.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// stat is a counter of Envoy's; 0 for one that it has not counted yet.
func (e *envoy) stat(name string) int {
	e.t.Helper()
	text, err := e.ask("GET", "/stats?usedonly&filter="+name+"$")
	if err != nil {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if before, after, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasSuffix(before, name) {
			n, err := strconv.Atoi(after)
			if err != nil {
				e.t.Fatal(line)
			}
			return n
		}
	}
	return 0
}

// wantStats compares several at once: name, count, name, count ...
func (e *envoy) wantStats(pairs ...any) {
	e.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := e.stat(pairs[i].(string)); got != pairs[i+1] {
			e.t.Errorf("Envoy counts %d of %s, want %v", got, pairs[i], pairs[i+1])
		}
	}
}

// logged waits for the nth line of the access log.
func (e *envoy) logged(n int) map[string]any {
	e.t.Helper()
	var lines []string
	await(e.t, func() bool {
		text, _ := os.ReadFile(e.log)
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		return len(text) > 0 && len(lines) >= n
	}, "the access log")
	out := map[string]any{}
	if err := json.Unmarshal([]byte(lines[n-1]), &out); err != nil {
		e.t.Fatalf("%v: %s", err, lines[n-1])
	}
	return out
}

// Every configuration of Envoy in this repository is one that Envoy takes.
func TestEnvoy_validatesEveryExample(t *testing.T) {
	bin := program(t, "envoy")
	var files []string
	for _, pattern := range []string{"examples/envoy*/*.yaml", "deploy/envoy/*.yaml"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	validated := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nstatic_resources:") {
			continue
		}
		validated++
		if out, err := exec.Command(bin, "--mode", "validate", "-c", file, "--disable-hot-restart").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
	if validated < 2 {
		t.Errorf("only %d configurations were found", validated)
	}
}
