package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// TestServe_sharedStore: two sidecars on one Redis admit together what one would.
func TestServe_sharedStore(t *testing.T) {
	dir := t.TempDir()
	socket, secret, password := filepath.Join(dir, "s"), filepath.Join(dir, "secret"), filepath.Join(dir, "password")
	startRedisAt(t, dir, socket, "--save", "", "--requirepass", "hunter2")
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

// authority makes certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	n    int64
}

func newAuthority(t *testing.T, file string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: filepath.Base(file)}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "CERTIFICATE", der)
	return &authority{t, key, cert, 1}
}

// issue writes a certificate for 127.0.0.1 and its key.
func (a *authority) issue(certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: "sidecar"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, certFile, "CERTIFICATE", cert)
	writePEM(a.t, keyFile, "EC PRIVATE KEY", private)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServe_storeCertificate: a server that asks who is there is shown a certificate, and after it was renewed the new one, without
// a restart.
func TestServe_storeCertificate(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	theirs, ours, strange := newAuthority(t, file("their-ca")), newAuthority(t, file("our-ca")), newAuthority(t, file("strange-ca"))
	theirs.issue(file("server"), file("server-key"))
	ours.issue(file("client"), file("client-key"))
	_, port, _ := net.SplitHostPort(freePort(t))
	_, plain, _ := net.SplitHostPort(freePort(t))
	startRedis(t, dir, "--port", plain, "--bind", "127.0.0.1", "--tls-port", port, "--save", "", "--tls-cert-file", file("server"),
		"--tls-key-file", file("server-key"), "--tls-ca-cert-file", file("our-ca"), "--tls-auth-clients", "yes")
	if err := os.WriteFile(file("secret"), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := file("policy.yaml")
	if err := os.WriteFile(policy, []byte("version: 1\nlimits: [{name: many, by: [account], limit: 1000000, window: 1h}]\ndetect: {level: off}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, freePort(t), "--http", "off", "--data", file("data"), "--policy", policy, "--store", "rediss://127.0.0.1:"+port, "--secret-file", file("secret"),
		"--store-ca", file("their-ca"), "--store-cert", file("client"), "--store-key", file("client-key"), "--store-timeout", "2s")
	counts := func(want bool) {
		t.Helper()
		for range 1000 {
			if (s.check(t, "+6581234567").GetReason() == "") == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("never: counted is %v\n%s", want, s.stderr)
	}
	drop := func() { // all connections by TLS
		c, err := net.Dial("tcp", "127.0.0.1:"+plain)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("CLIENT KILL TYPE normal SKIPME yes\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	counts(true)
	strange.issue(file("client"), file("client-key"))
	drop()
	counts(false)
	ours.issue(file("client"), file("client-key"))
	counts(true)
}
