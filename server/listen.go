package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Listen opens host:port or unix:/path, or takes over systemd:NAME, a socket of that name from a systemd socket unit. A unix socket is made with mode 0660; a socket file that was left behind is
// replaced, but only if nobody answers on it and only if it is a socket.
func Listen(addr string) (net.Listener, error) { return ListenMode(addr, 0o660) }

// ListenMode is Listen with another mode for a unix socket. Who may write to it may connect.
func ListenMode(addr string, mode fs.FileMode) (net.Listener, error) {
	if name, ok := strings.CutPrefix(addr, "systemd:"); ok {
		return activated(name)
	}
	path, unix := strings.CutPrefix(addr, "unix:")
	if !unix {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("listen on %q: write host:port or unix:/path", addr)
		}
		l, err := net.Listen("tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("listen on %s: the port is in use: stop the other process or give another address", addr)
		}
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, cause(err))
		}
		return l, nil
	}
	path = socketPath(path)
	if path == "" {
		return nil, errors.New(`listen on "unix:": write unix:/path`)
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, cause(err))
	}
	// Until this line the umask decides, which is stricter for everyone but the owner: connecting needs write permission.
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

// socketPath also takes the URL form unix:///path.
func socketPath(path string) string {
	if strings.HasPrefix(path, "///") {
		return path[2:]
	}
	return path
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of that name which is not a socket: remove it or give another path")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return errors.New("the socket is in use: stop the other process or give another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether somebody listens there: %w", cause(err))
	}
	return os.Remove(path)
}

// cause takes the words off that net puts around an error and that the caller's own message says already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
