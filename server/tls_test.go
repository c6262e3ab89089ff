package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// authority is a CA of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.pem, _ = issue(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue makes a certificate, signed by itself where there is no authority.
func issue(t *testing.T, by *authority, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	c.NotBefore = time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return made, key, text("CERTIFICATE", der), text("EC PRIVATE KEY", keyDER)
}

// serverFiles writes a new certificate for 127.0.0.1 and its key.
func (a *authority) serverFiles(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	made, _, cert, key := issue(t, a, &x509.Certificate{Subject: pkix.Name{CommonName: "sidecar"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	write(t, dir, "cert", cert)
	write(t, dir, "key", key)
	return made
}

func (a *authority) client(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	_, _, cert, key := issue(t, a, c)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func spiffe(text string) *x509.Certificate {
	u, _ := url.Parse(text)
	return &x509.Certificate{URIs: []*url.URL{u}}
}

func (a *authority) trust(own ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: own, MinVersion: tls.VersionTLS12}
}

// insisting shows a certificate that the server says it will not believe.
func insisting(c *tls.Config) *tls.Config {
	own := c.Certificates[0]
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	return c
}

// overTLS adds TLS to a server, with what is in dir.
func overTLS(t *testing.T, s setup, dir, clientCA string) setup {
	t.Helper()
	before := s.options
	s.options = func(o *server.Options) {
		if before != nil {
			before(o)
		}
		files := server.TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
		if clientCA != "" {
			files.ClientCA = filepath.Join(dir, clientCA)
		}
		asked := func() bool { return o.Identity != nil && o.Identity.Asked() }
		var err error
		if o.TLS, err = server.NewTLS(files, asked); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// another connects anew, as somebody else.
func (r *running) another(t *testing.T, config *tls.Config) sendgatev1.SendGateServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return sendgatev1.NewSendGateServiceClient(conn)
}

func TestTLS_certificatesNameAccounts(t *testing.T) {
	ca, stranger := newAuthority(t, "ours"), newAuthority(t, "theirs")
	s, dir := twoAccounts(t)
	ca.serverFiles(t, dir)
	write(t, dir, "ca", ca.pem)
	s.policy = strings.Replace(s.policy, "accounts: {a: {", `accounts: {a: {identities: ["spiffe://example.org/a", "CN=billing,O=Acme"], `, 1)
	s = overTLS(t, s, dir, "ca")
	s.transport = credentials.NewTLS(ca.trust())
	r := start(t, s)
	for name, tt := range map[string]struct {
		config *tls.Config
		key    string
		named  string
		code   codes.Code
		reason string
	}{
		"SPIFFE":                            {ca.trust(ca.client(t, spiffe("spiffe://example.org/a"))), "", "a", codes.OK, ""},
		"subject":                           {ca.trust(ca.client(t, &x509.Certificate{Subject: pkix.Name{CommonName: "billing", Organization: []string{"Acme"}}})), "", "", codes.OK, ""},
		"names another":                     {ca.trust(ca.client(t, spiffe("spiffe://example.org/a"))), "", "b", codes.PermissionDenied, "ACCOUNT_OTHER"},
		"known, with somebody else's token": {ca.trust(ca.client(t, spiffe("spiffe://example.org/a"))), "sgk_zzzzzzzzzzzzzzzzzzzzzz", "", codes.OK, ""},
		"unknown, with a key":               {ca.trust(ca.client(t, spiffe("spiffe://example.org/new"))), keyB, "b", codes.OK, ""},
		"unknown":                           {ca.trust(ca.client(t, spiffe("spiffe://example.org/new"))), "", "", codes.Unauthenticated, "CERTIFICATE_UNKNOWN"},
		"none":                              {ca.trust(), "", "", codes.Unauthenticated, "KEY_MISSING"},
		"none, with a key":                  {ca.trust(), keyA, "", codes.OK, ""},
		"of another CA":                     {insisting(ca.trust(stranger.client(t, spiffe("spiffe://example.org/a")))), "", "", codes.Unavailable, ""},
	} {
		in := send("+6581234567", "203.0.113.7")
		in.Account = tt.named
		_, err := r.another(t, tt.config).CheckSend(with(t.Context(), tt.key), in)
		if status.Code(err) != tt.code || reasonOf(err) != tt.reason {
			t.Errorf("%s: %v %s, want %v %s", name, err, reasonOf(err), tt.code, tt.reason)
		}
	}
}

// Where accounts have no keys, only who is signed for gets in.
func TestTLS_certificateWithoutAccounts(t *testing.T) {
	ca := newAuthority(t, "ours")
	dir := t.TempDir()
	ca.serverFiles(t, dir)
	write(t, dir, "ca", ca.pem)
	s := overTLS(t, setup{}, dir, "ca")
	s.transport = credentials.NewTLS(ca.trust(ca.client(t, &x509.Certificate{Subject: pkix.Name{CommonName: "any"}})))
	r := start(t, s)
	r.check(t, send("+6581234567", "203.0.113.7"))
	if _, err := r.another(t, ca.trust()).CheckSend(t.Context(), send("+6581234567", "203.0.113.7")); status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate: %v", err)
	}
}

// Certificate and CA are replaced while every call comes over a connection of its own, by gRPC and HTTP: none fails.
func TestTLS_filesReplacedUnderLoad(t *testing.T) {
	ca := newAuthority(t, "ours")
	s, dir := twoAccounts(t)
	first := ca.serverFiles(t, dir)
	write(t, dir, "ca", ca.pem)
	s.policy = strings.Replace(s.policy, "limit: 1,", "limit: 1000000,", 1)
	s = overTLS(t, s, dir, "ca")
	s.transport = credentials.NewTLS(ca.trust())
	r := start(t, s)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var calls atomic.Int64
	keep := func(call func() error) {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := call(); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	keep(func() error { // one connection that stays
		_, err := r.CheckSend(with(t.Context(), keyA), send("+6581234567", "203.0.113.7"))
		return err
	})
	keep(func() error { // ever new ones
		conn, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(credentials.NewTLS(ca.trust())), grpc.WithNoProxy())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = sendgatev1.NewSendGateServiceClient(conn).CheckSend(with(t.Context(), keyA), send("+6581234567", "203.0.113.7"))
		return err
	})
	var shown atomic.Pointer[big.Int]
	keep(func() error {
		web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: ca.trust()}}
		res, err := web.Get("https" + strings.TrimPrefix(r.url, "http") + "/healthz")
		if err != nil {
			return err
		}
		shown.Store(res.TLS.PeerCertificates[0].SerialNumber)
		return res.Body.Close()
	})
	for range 3 {
		next := ca.serverFiles(t, dir)
		for s := shown.Load(); (s == nil || s.Cmp(next.SerialNumber) != 0) && !t.Failed(); s = shown.Load() {
			<-time.After(time.Millisecond) // the load does the asking
		}
	}
	if s := shown.Load(); s == nil || s.Cmp(first.SerialNumber) == 0 {
		t.Error("the first certificate is still shown")
	}

	// Half a pair is refused and told, and the last good one stays.
	_, _, other, _ := issue(t, ca, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	write(t, dir, "cert", other)
	for !strings.Contains(r.log.String(), "TLS files could not be read") && !t.Failed() {
		<-time.After(time.Millisecond)
	}
	before := calls.Load()
	for calls.Load() < before+20 && !t.Failed() {
		<-time.After(time.Millisecond)
	}
	stop()
	load.Wait()
	if log := r.log.String(); !strings.Contains(log, "private key does not match") {
		t.Errorf("log: %s", log)
	}
}

// Who was signed for by a CA that is believed no more is out, with connections that he has already.
func TestTLS_removedCAStopsOpenConnections(t *testing.T) {
	ca, next := newAuthority(t, "old"), newAuthority(t, "new")
	s, dir := twoAccounts(t)
	ca.serverFiles(t, dir)
	write(t, dir, "ca", ca.pem)
	s.policy = strings.Replace(s.policy, "accounts: {a: {", `accounts: {a: {identities: ["spiffe://example.org/a"], `, 1)
	s = overTLS(t, s, dir, "ca")
	s.transport = credentials.NewTLS(ca.trust(ca.client(t, spiffe("spiffe://example.org/a"))))
	r := start(t, s)
	r.check(t, send("+6581234567", "203.0.113.7"))

	write(t, dir, "ca", ca.pem+next.pem)
	renewed := ca.trust(next.client(t, spiffe("spiffe://example.org/a")))
	for {
		if _, err := r.another(t, renewed).CheckSend(t.Context(), send("+6581234567", "203.0.113.7")); err == nil {
			break
		}
	}
	r.check(t, send("+6581234567", "203.0.113.7")) // both are believed
	write(t, dir, "ca", next.pem)
	for {
		if _, err := r.CheckSend(t.Context(), send("+6581234567", "203.0.113.7")); status.Code(err) == codes.Unauthenticated {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.another(t, renewed).CheckSend(t.Context(), send("+6581234567", "203.0.113.7")); err != nil {
		t.Errorf("of the new CA: %v", err)
	}
}

func TestNewTLS_errors(t *testing.T) {
	ca := newAuthority(t, "ours")
	dir := t.TempDir()
	ca.serverFiles(t, dir)
	write(t, dir, "nothing", "nothing")
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, tt := range []struct {
		files server.TLSFiles
		says  string
	}{
		{server.TLSFiles{Cert: path("nowhere"), Key: path("key")}, "TLS certificate: "},
		{server.TLSFiles{Cert: path("cert"), Key: path("nowhere")}, "TLS key: "},
		{server.TLSFiles{Cert: path("cert"), Key: path("cert")}, "TLS certificate "},
		{server.TLSFiles{Cert: path("cert"), Key: path("key"), ClientCA: path("nowhere")}, "TLS client CA: "},
		{server.TLSFiles{Cert: path("cert"), Key: path("key"), ClientCA: path("nothing")}, "no certificate in PEM"},
	} {
		if _, err := server.NewTLS(tt.files, func() bool { return false }); err == nil || !strings.Contains(err.Error(), tt.says) || bytes.Contains([]byte(err.Error()), []byte("PRIVATE")) {
			t.Errorf("%+v: %v, want %s", tt.files, err, tt.says)
		}
	}
}
