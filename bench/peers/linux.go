package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dropPages drops a file's pages from memory. They are written to disk before.
func dropPages(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// cpuTime is what this process has used of the processors: on a machine that is shared it says more than the clock.
func cpuTime() time.Duration {
	var u unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// noHugePages denies this process huge pages, whatever it asks for.
func noHugePages() { must(unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)) }

// pageFaults is how many this process has had.
func pageFaults() int64 {
	var u unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Minflt + u.Majflt
}
