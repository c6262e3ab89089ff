package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// sidecar is a running `sendgate serve`.
type sidecar struct {
	sendgatev1.SendGateServiceClient
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan error
}

func command(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

func serve(t *testing.T, addr string, args ...string) *sidecar {
	t.Helper()
	cmd, stderr := command(t, append([]string{"serve", "--grpc", addr, "--table-size", "4MiB"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &sidecar{cmd: cmd, stderr: stderr, ended: make(chan error, 1)}
	go func() { s.ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	if err := await(addr); err != nil {
		cmd.Process.Kill()
		<-s.ended
		t.Fatalf("%v\n%s", err, stderr)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.SendGateServiceClient = sendgatev1.NewSendGateServiceClient(conn)
	return s
}

func (s *sidecar) check(t *testing.T, number string) *sendgatev1.CheckSendResponse {
	t.Helper()
	v, err := s.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: number, ClientAddress: "203.0.113.7"})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.stderr)
	}
	return v
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sg") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix:" + filepath.Join(dir, "s")
}

func TestServe_thirteenChecks(t *testing.T) {
	withoutMinute := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(withoutMinute, []byte("version: 1\nlimits: [{name: number-30m, by: [number], limit: 10, window: 30m}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, addr := range map[string]string{"tcp": freePort(t), "unix": socket(t)} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, addr, "--http", "off", "--data", t.TempDir())
			if v := s.check(t, "+6581234567"); v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
				t.Errorf("the first: %v", v)
			}
			for i := range 12 {
				v := s.check(t, "+6581234567")
				if wait := v.RetryAfter.AsDuration(); v.Verdict != sendgatev1.Verdict_VERDICT_DENY || v.Rule != "number-minute" || wait <= 0 || wait > time.Minute {
					t.Errorf("check %d: %v", i+2, v)
				}
			}
			s.cmd.Process.Signal(syscall.SIGTERM)
			if err := <-s.ended; err != nil {
				t.Errorf("after SIGTERM: %v\n%s", err, s.stderr)
			}

			s = serve(t, addr, "--http", "off", "--data", t.TempDir(), "--policy", withoutMinute)
			for i := range 12 {
				v := s.check(t, "+6581234567")
				wait := v.RetryAfter.AsDuration()
				if i < 10 != (v.Verdict == sendgatev1.Verdict_VERDICT_ALLOW) || i >= 10 && (v.Rule != "number-30m" || wait <= 29*time.Minute || wait > 30*time.Minute) {
					t.Errorf("check %d of 12: %v", i+1, v)
				}
			}
		})
	}
}

func TestServe_killedForgetsNothing(t *testing.T) {
	data, addr := t.TempDir(), socket(t)
	s := serve(t, addr, "--http", "off", "--data", data)
	s.check(t, "+6581234567")
	s.cmd.Process.Kill()
	<-s.ended
	s = serve(t, addr, "--http", "off", "--data", data) // and takes over the socket that was left behind
	if v := s.check(t, "+6581234567"); v.Verdict != sendgatev1.Verdict_VERDICT_DENY || v.Rule != "number-minute" {
		t.Errorf("after kill -9: %v", v)
	}
}

// SIGHUP reads the policy again, where the watcher was not faster, and does not end it.
func TestServe_sighupReloads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	text := "version: 1\nlimits: [{name: one, by: [number], limit: %d, window: 1h}]\n"
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(fmt.Sprintf(text, 1))
	s := serve(t, socket(t), "--http", "off", "--data", t.TempDir(), "--policy", file)
	s.check(t, "+6581234567")
	put(fmt.Sprintf(text, 3))
	s.cmd.Process.Signal(syscall.SIGHUP)
	for n := int64(1); n != 3; {
		n = s.check(t, "+6581234567").Limit
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil || !strings.Contains(s.stderr.String(), "limit one is raised from 1 to 3, at once") {
		t.Errorf("%v\n%s", err, s.stderr)
	}
}

// An answer to a stream's question that was read before SIGTERM is sent; the stream then ends with UNAVAILABLE.
func TestServe_drainsOnSIGTERM(t *testing.T) {
	s := serve(t, freePort(t), "--http", "off", "--data", t.TempDir())
	stream, err := s.CheckSendStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	answered := func() error {
		if err := stream.Send(&sendgatev1.CheckSendStreamRequest{Check: &sendgatev1.CheckSendRequest{Number: "+6581234567"}}); err != nil {
			return err
		}
		_, err := stream.Recv()
		return err
	}
	if err := answered(); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	for err = answered(); err == nil; err = answered() {
	}
	if _, last := stream.Recv(); status.Code(err) != codes.Unavailable && status.Code(last) != codes.Unavailable {
		t.Errorf("the stream ended with %v, %v", err, last)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, s.stderr)
	}
	if log := s.stderr.String(); !strings.Contains(log, `"stopped"`) {
		t.Errorf("log: %s", log)
	}
}

func TestServe_curl(t *testing.T) {
	web := freePort(t)
	serve(t, socket(t), "--http", web, "--data", t.TempDir())
	res, err := http.Post("http://"+web+"/v1/check", "application/x-www-form-urlencoded", strings.NewReader(`{"number":"+6581234567","clientAddress":"203.0.113.7"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), "VERDICT_ALLOW") {
		t.Errorf("%s %s %v", res.Status, body, err)
	}
}

// Whatever stops it from starting is one line and exit code 1, and nothing is left running.
func TestServe_refusesToStart(t *testing.T) {
	data, addr := t.TempDir(), freePort(t)
	serve(t, addr, "--http", "off", "--data", data)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not 32 bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(wrong, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(wrong, "counters"), bytes.Repeat([]byte("x"), 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"port in use":                {[]string{"--grpc", addr}, "the port is in use"},
		"HTTP port in use":           {[]string{"--http", addr}, "the port is in use"},
		"missing policy":             {[]string{"--policy", "nowhere.yaml"}, "nowhere.yaml: no such file"},
		"missing secret":             {[]string{"--secret-file", "nowhere"}, "secret nowhere: no such file"},
		"short secret":               {[]string{"--secret-file", file}, "it is 12 bytes: write 32"},
		"data is a file":             {[]string{"--data", file}, "not a directory"},
		"data is not writable":       {[]string{"--data", "/proc/self"}, "give another with --data"},
		"data belongs to another":    {[]string{"--data", data}, "counters"},
		"counters of something else": {[]string{"--data", wrong}, "counters"},
		"table too small":            {[]string{"--table-size", "1"}, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--grpc", "127.0.0.1:0", "--http", "off", "--data", t.TempDir()}, tt.args...)
			cmd, stderr := command(t, args...)
			err := cmd.Run()
			if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("%v: %s, want exit code 1 saying %q", err, stderr, tt.says)
			}
			if lines := strings.Count(stderr.String(), "\n"); lines != 1 {
				t.Errorf("%d lines:\n%s", lines, stderr)
			}
		})
	}
}

func TestServe_dataIsPrivate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new")
	serve(t, socket(t), "--http", "off", "--data", data)
	for path, mode := range map[string]os.FileMode{data: 0o700, filepath.Join(data, "secret"): 0o600, filepath.Join(data, "counters"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
}
