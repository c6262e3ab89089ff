package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// startRedis starts a redis-server that ends with the test.
func startRedis(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	switch {
	case err != nil && os.Getenv("SENDGATE_REQUIRE_REAL") != "":
		t.Fatalf("%v: make install-redis-server", err)
	case err != nil:
		t.Skipf("%v: make install-redis-server", err)
	}
	redis := exec.Command(program, append([]string{"--dir", dir}, args...)...)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Process.Kill(); redis.Wait() })
	return redis
}

// startRedisAt starts one that listens on a socket alone, and waits until it does.
func startRedisAt(t *testing.T, dir, socket string, args ...string) *exec.Cmd {
	t.Helper()
	redis := startRedis(t, dir, append([]string{"--port", "0", "--unixsocket", socket}, args...)...)
	for range 1000 {
		if _, err := os.Stat(socket); err == nil {
			return redis
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("redis-server does not listen")
	return nil
}
