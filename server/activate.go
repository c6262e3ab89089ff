package server

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is the first socket that systemd passes on: SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// activated takes over the socket of that name which systemd opened for this process (FileDescriptorName= of the socket unit), so
// that the sidecar may be restarted without a connection refused.
func activated(name string) (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("listen on systemd:%s: this process was not started by a systemd socket unit: write host:port or unix:/path", name)
	}
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		if i >= len(names) || names[i] != name {
			continue
		}
		fd := firstFD + i
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), name)
		defer f.Close() // the listener has a duplicate
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("listen on systemd:%s: %w", name, cause(err))
		}
		return l, nil
	}
	return nil, fmt.Errorf("listen on systemd:%s: systemd passed sockets of other names, %q: write FileDescriptorName=%[1]s in the socket unit", name, names)
}

// Notify tells systemd how the service is doing, such as "READY=1", if systemd started it as Type=notify (sd_notify(3)). Else it
// does nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // the abstract namespace
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell systemd %s: %w", state, cause(err))
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
