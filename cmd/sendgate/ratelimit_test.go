package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestServe_sharedRateLimits: two sidecars on one Redis answer Envoy by the same counters.
func TestServe_sharedRateLimits(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	startRedisAt(t, dir, socket, "--save", "")
	secret := make([]byte, 32)
	rand.Read(secret)
	for file, content := range map[string][]byte{
		"secret": secret,
		"limits": []byte("domain: d\ndescriptors: [{key: number, rate_limit: {unit: hour, requests_per_unit: 5}}]\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []string{"exact", "fixed"} {
		t.Run(way, func(t *testing.T) {
			var clients []rlsv3.RateLimitServiceClient
			for _, name := range []string{"a", "b"} {
				addr := freePort(t)
				serve(t, addr, "--http", "off", "--data", filepath.Join(dir, way+name), "--store", "unix://"+socket, "--secret-file", filepath.Join(dir, "secret"),
					"--store-timeout", "5s", "--envoy-ratelimit", filepath.Join(dir, "limits"), "--envoy-ratelimit-compat", way)
				conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				clients = append(clients, rlsv3.NewRateLimitServiceClient(conn))
			}
			passed := 0
			for i := range 10 {
				out, err := clients[i%2].ShouldRateLimit(t.Context(), &rlsv3.RateLimitRequest{Domain: "d", Descriptors: []*ratelimitv3.RateLimitDescriptor{
					{Entries: []*ratelimitv3.RateLimitDescriptor_Entry{{Key: "number", Value: way}}}}})
				if err != nil {
					t.Fatal(err)
				}
				if out.OverallCode == rlsv3.RateLimitResponse_OK {
					if passed++; out.Statuses[0].LimitRemaining != uint32(5-passed) {
						t.Errorf("hit %d: %v", i, out)
					}
				}
			}
			if passed < 5 || passed > 5 && way == "exact" || passed > 10 { // a full hour may begin in the middle
				t.Errorf("%d of 10 passed, want 5", passed)
			}
		})
	}
}
