package server_test

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/server"
)

func TestListen_portInUse(t *testing.T) {
	first, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = server.Listen(first.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "the port is in use") {
		t.Errorf("err = %v", err)
	}
}

func TestListen_refusesWhatIsNoAddress(t *testing.T) {
	for _, addr := range []string{"", "7070", "127.0.0.1:99999", "nowhere.invalid:7070", "unix:", "unix:/no/such/folder/socket"} {
		if l, err := server.Listen(addr); err == nil {
			l.Close()
			t.Errorf("%q: no error", addr)
		}
	}
}

func TestListen_unixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := server.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v, want 0660", info.Mode(), err)
	}
	if _, err := server.Listen("unix://" + path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second listener: %v", err)
	}
	l.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file stays after Close: %v", err)
	}
}

func TestListen_replacesOnlyStaleSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as after kill -9
	stale.Close()
	l, err := server.Listen("unix:" + path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	l.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Type() == fs.ModeSocket {
		t.Errorf("the file is gone: %v", err)
	}
}
