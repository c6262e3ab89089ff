package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// leastHeap is what Go's own memory may always have: with less it would collect without end.
	leastHeap = 64 << 20
	// heapShare is how much Go gets, in per cent, of what the control group leaves beside the tables: the rest is for the kernel's
	// own (sockets, page tables) and for what the collector learns late.
	heapShare = 90
)

// limitMemory tells Go how much memory there is, where a control group (a container, a systemd slice) says so: without that the
// heap grows past it and the kernel ends the process. offHeap is what the process maps beside the heap, in bytes: Go's limit does
// not count it, the control group does. GOMEMLIMIT in the environment wins.
func limitMemory(root fs.FS, offHeap int64, log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	allowed, err := cgroupMemory(root)
	if err != nil {
		log.Warn("the memory limit of the control group could not be read: Go knows of none", "error", err)
		return
	}
	if allowed == math.MaxInt64 {
		return
	}
	heap := (allowed - offHeap) / 100 * heapShare >> 20 << 20 // whole MiB read better
	if heap < leastHeap {
		log.Warn("the control group allows less memory than the tables need: raise its limit, or make the tables smaller",
			"allowed", size(allowed).String(), "tables", size(offHeap).String(), "at_least", size((offHeap+leastHeap*100/heapShare+1<<20)>>20<<20).String())
		heap = leastHeap
	}
	debug.SetMemoryLimit(heap)
	log.Info("memory", "allowed", size(allowed).String(), "tables", size(offHeap).String(), "heap_at_most", size(heap).String())
}

// offHeap is how much memory the tables of the process take, in bytes.
func (c *serveCommand) offHeap() int64 {
	n := int64(c.RepliesSize) + int64(c.DetectSize)
	if !c.shared() {
		n += int64(max(c.TableSize, tableSize(c.table())))
	}
	return n
}

// cgroupMemory is the least memory limit of the control groups that the process is in, in bytes; math.MaxInt64 if there is none.
// It knows version 2 and the memory controller of version 1. root is the file system, from /.
func cgroupMemory(root fs.FS) (int64, error) {
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) { // not Linux
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, err
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(list)) {
		// "0::/path" in version 2, "4:memory:/path" in version 1
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		switch {
		case part[0] == "0":
		case part[1] == "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// A limit higher up holds as well. In a container the path may be the host's and not be there: then the mount itself is ours.
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			text, err := fs.ReadFile(root, mount+path.Join(dir, file))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			// "max" is no number: no limit. Version 1 says it with a number near 2^63.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n < math.MaxInt64/2 {
				least = min(least, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return least, nil
}
