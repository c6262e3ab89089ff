package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// TestServe_sharedStore: two sidecars on one Redis admit together what one would.
func TestServe_sharedStore(t *testing.T) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skipf("%v: make install-redis-server", err)
	}
	dir := t.TempDir()
	socket, secret, password := filepath.Join(dir, "s"), filepath.Join(dir, "secret"), filepath.Join(dir, "password")
	redis := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--requirepass", "hunter2")
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Process.Kill(); redis.Wait() })
	for range 1000 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	b := make([]byte, 32)
	rand.Read(b)
	for file, content := range map[string][]byte{secret: b, password: []byte("hunter2\n")} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var sidecars []*sidecar
	addrs := []string{freePort(t), freePort(t)}
	for i, addr := range addrs {
		sidecars = append(sidecars, serve(t, addr, "--http", "off", "--data", filepath.Join(dir, fmt.Sprint(i)),
			"--store", "unix://"+socket, "--secret-file", secret, "--store-password-file", password, "--store-timeout", "5s"))
	}
	number := "+6581234567"
	if v := sidecars[0].check(t, number); v.GetVerdict() != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Fatalf("the first: %v\n%s", v, sidecars[0].stderr)
	}
	if v := sidecars[1].check(t, number); v.GetVerdict() != sendgatev1.Verdict_VERDICT_DENY {
		t.Fatalf("the second, by the other sidecar: %v\n%s", v, sidecars[1].stderr)
	}

	// One key at both is one answer; what became of a send may be said to either.
	send := &sendgatev1.CheckSendRequest{Number: "+6581111111", ClientAddress: "203.0.113.8", IdempotencyKey: "k"}
	var answers [2]*sendgatev1.CheckSendResponse
	for i, s := range sidecars {
		v, err := s.CheckSend(t.Context(), send)
		if err != nil {
			t.Fatal(err)
		}
		answers[i] = v
	}
	if answers[0].Verdict != sendgatev1.Verdict_VERDICT_ALLOW || answers[0].CheckId != answers[1].CheckId {
		t.Errorf("by one idempotency key: %v, %v", answers[0], answers[1])
	}
	if _, err := sidecars[1].ReportOutcome(t.Context(), &sendgatev1.ReportOutcomeRequest{CheckId: answers[0].CheckId, Outcome: sendgatev1.Outcome_OUTCOME_NOT_SENT}); err != nil {
		t.Fatal(err)
	}
	if v := sidecars[0].check(t, "+6581111111"); v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("given back by the other sidecar: %v", v)
	}

	// What one blocks by hand both refuse.
	add, said := command(t, "list", "add", "block", "+6582*", "--addr", addrs[0], "--reason", "test", "--author", "me", "--admin-key-file", filepath.Join(dir, "0", "admin.key"))
	if err := add.Run(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	blocked := func() bool { return sidecars[1].check(t, "+6582222222").GetReason() == "list:block" }
	for range 1000 {
		if blocked() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("what one sidecar blocks the other lets pass")
}

// TestServe_storeRefused: what would be wrong later is said at the start.
func TestServe_storeRefused(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--store", "redis://127.0.0.1:1"}, "share their secret"},
		{[]string{"--store", "redis://:hunter2@127.0.0.1:1", "--secret-file", secret}, "has a password"},
		{[]string{"--store", "http://127.0.0.1:1", "--secret-file", secret}, "write redis://"},
		{[]string{"--store", "redis://127.0.0.1:1", "--secret-file", secret, "--store-password-file", secret + ".no"}, "password of the store"},
		{[]string{"--store", "redis://127.0.0.1:1", "--secret-file", secret, "--store-ca", secret}, "no TLS without"},
		{[]string{"--store", "rediss://127.0.0.1:1", "--secret-file", secret, "--store-ca", secret}, "write PEM"},
		{[]string{"--store", "redis://127.0.0.1:1", "--secret-file", secret, "--store-cert", secret, "--store-key", secret}, "no TLS without"},
		{[]string{"--store", "rediss://127.0.0.1:1", "--secret-file", secret, "--store-cert", secret, "--store-key", secret}, "give both, as PEM"},
		{[]string{"--store", "redis://127.0.0.1:1?master_set=m", "--secret-file", secret, "--store-sentinel-password-file", secret + ".no"}, "password of the Sentinels"},
		{[]string{"--store", "redis://127.0.0.1:1", "--secret-file", secret, "--store-prefix", "a b"}, `prefix "a b"`},
	} {
		cmd, stderr := command(t, append([]string{"serve", "--data", t.TempDir()}, c.args...)...)
		if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), c.want) || strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("%v: %v, %s, want %q", c.args, err, stderr, c.want)
		}
	}
}
