package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// passing starts sendgate as systemd does: with open sockets from descriptor 3 on, and LISTEN_PID its own pid, which only a shell
// knows before the exec.
func passing(t *testing.T, names string, sockets []net.Listener, args ...string) *exec.Cmd {
	t.Helper()
	cmd, _ := command(t)
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, args...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES="+names)
	for _, l := range sockets {
		var f *os.File
		var err error
		switch l := l.(type) {
		case *net.TCPListener:
			f, err = l.File()
		case *net.UnixListener:
			f, err = l.File()
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		t.Cleanup(func() { f.Close() })
	}
	return cmd
}

// A sidecar that systemd starts anew answers on the sockets of the one before: nobody is refused in between.
func TestServe_onSocketsOfSystemd(t *testing.T) {
	path := strings.TrimPrefix(socket(t), "unix:")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	notes, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(filepath.Dir(path), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notes.Close()

	data := t.TempDir()
	for range 2 {
		cmd := passing(t, "http:grpc", []net.Listener{tcp, unix}, "serve", "--grpc", "systemd:grpc", "--http", "systemd:http", "--data", data, "--table-size", "4MiB")
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+notes.LocalAddr().String())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		notes.SetReadDeadline(time.Now().Add(time.Minute)) // a bound, not an expectation
		told(t, notes, "READY=1")
		if err := await("unix:" + path); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", tcp.Addr().String()); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
		cmd.Process.Signal(syscall.SIGTERM)
		told(t, notes, "STOPPING=1")
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, cmd.Stderr)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("the socket is systemd's to remove: %v", err)
		}
	}
}

func told(t *testing.T, notes *net.UnixConn, want string) {
	t.Helper()
	b := make([]byte, 100)
	n, err := notes.Read(b)
	if err != nil || string(b[:n]) != want {
		t.Fatalf("systemd was told %q, %v, want %q", b[:n], err, want)
	}
}

func TestServe_socketsOfSystemdThatAreNotThere(t *testing.T) {
	l, err := net.Listen("unix", strings.TrimPrefix(socket(t), "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other := passing(t, "http", []net.Listener{l}, "serve", "--grpc", "systemd:grpc", "--http", "off", "--data", t.TempDir(), "--table-size", "4MiB")
	byHand, _ := command(t, "serve", "--grpc", "systemd:grpc", "--http", "off", "--data", t.TempDir(), "--table-size", "4MiB")
	for want, cmd := range map[string]*exec.Cmd{
		"write FileDescriptorName=grpc":       other,
		"was not started by a systemd socket": byHand,
	} {
		cmd.Stderr = nil
		said, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(said), want) {
			t.Errorf("%v: %s, want %q in it", err, said, want)
		}
	}
}
