package main

import (
	"bytes"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, text := range files {
		t[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return t
}

func TestCgroupMemory(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no control groups", nil, math.MaxInt64},
		{"version 2, a service", map[string]string{
			"proc/self/cgroup": "0::/system.slice/sendgate.service\n",
			"sys/fs/cgroup/system.slice/sendgate.service/memory.max": "536870912\n", "sys/fs/cgroup/system.slice/memory.max": "max\n"}, 512 << 20},
		{"version 2, the slice allows less", map[string]string{
			"proc/self/cgroup":                    "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":        "536870912\n",
			"sys/fs/cgroup/a/memory.max":          "268435456\n",
			"sys/fs/cgroup/unrelated/memory.max":  "1\n",
			"sys/fs/cgroup/a/b/child/memory.max":  "1\n",
			"sys/fs/cgroup/a/b/memory.high":       "1\n",
			"sys/fs/cgroup/memory/a/b/memory.max": "1\n"}, 256 << 20},
		{"version 2, in a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "134217728\n"}, 128 << 20},
		{"version 2, no limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, math.MaxInt64},
		{"version 1, the path is the host's", map[string]string{
			"proc/self/cgroup":                           "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/docker/1f\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, 1 << 30},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup":                           "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, math.MaxInt64},
		{"nonsense", map[string]string{"proc/self/cgroup": "hello\n\n::\n", "sys/fs/cgroup/memory.max": "1\n"}, math.MaxInt64},
	} {
		if got, err := cgroupMemory(tree(tt.files)); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}

func TestLimitMemory(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	container := tree(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"})
	for _, tt := range []struct {
		name    string
		offHeap int64
		env     string
		want    int64
		says    string
	}{
		{"beside tables", 384 << 20, "", 575 << 20, "heap_at_most=575MiB"},
		{"tables too large", 1 << 30, "", leastHeap, "raise its limit"},
		{"the environment wins", 384 << 20, "1GiB", math.MaxInt64, ""},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		t.Setenv("GOMEMLIMIT", tt.env)
		var said bytes.Buffer
		limitMemory(container, tt.offHeap, slog.New(slog.NewTextHandler(&said, nil)))
		if got := debug.SetMemoryLimit(-1); got != tt.want {
			t.Errorf("%s: the limit is %d, want %d", tt.name, got, tt.want)
		}
		if !strings.Contains(said.String(), tt.says) || tt.says == "" && said.Len() > 0 {
			t.Errorf("%s: %q, want %q in it", tt.name, said.String(), tt.says)
		}
	}
}
