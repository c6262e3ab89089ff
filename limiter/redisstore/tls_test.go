package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// TestTLS: over TLS to a server that is who it says, and to no other.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	startServer(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	o, err := redisstore.ParseURL("rediss://127.0.0.1:" + port)
	if err != nil {
		t.Fatal(err)
	}
	o.Timeout = 5 * time.Second
	trusting := o
	trusting.TLS = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	s := open(t, trusting)
	c := limiter.Charge{Rule: define(t, s, minute)[0], Key: s.Key([]byte("k")), Cost: 1}
	if d := take(t, s, time.Now(), c); !d.Allowed {
		t.Errorf("%+v", d)
	}
	// The system does not know the certificate.
	wary := open(t, o)
	c.Rule = define(t, wary, minute)[0]
	if _, err := wary.Take(t.Context(), time.Now(), []limiter.Charge{c}); err == nil {
		t.Error("a server that nobody vouches for was asked")
	}
}
