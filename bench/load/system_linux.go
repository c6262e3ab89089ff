package main

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sleep waits about d. It is exact to about 60 us; time.Sleep may take a millisecond longer when the process is otherwise idle, since the
// runtime waits for timers in epoll, which counts in milliseconds.
func sleep(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&t, nil) // a signal may wake it early: the caller looks again
}

// childAttributes let a child end with this process however it ends, and keep the terminal's interrupt from it: it is
// stopped when the answers are in.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
