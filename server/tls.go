package server

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// TLSFiles name the PEM files of a TLS listener.
type TLSFiles struct {
	Cert, Key string // the server's chain and its key
	ClientCA  string // who signs client certificates; "" to ask for none
}

// TLS is what listeners show and believe. Its files can be replaced while it runs. It is safe for concurrent use; a nil TLS is
// no TLS.
type TLS struct {
	files TLSFiles
	asked func() bool
	state atomic.Pointer[tlsState]
}

// tlsState is one reading of the files.
type tlsState struct {
	sum      [sha256.Size]byte
	leaf     *x509.Certificate
	clients  *x509.CertPool // nil where no client certificate is asked for
	optional *tls.Config
	required *tls.Config

	verified sync.Map // [sha256.Size]byte of a client certificate -> struct{}
	count    atomic.Int64
}

// NewTLS reads the files. Client certificates are optional while asked says that callers are asked for an identity with each
// call, and required where nothing else tells callers apart.
func NewTLS(files TLSFiles, asked func() bool) (*TLS, error) {
	t := &TLS{files: files, asked: asked}
	_, err := t.Load()
	return t, err
}

// Load reads the files again. New connections see all that is new; on an error nothing changes. It reports whether anything
// did.
func (t *TLS) Load() (changed bool, err error) {
	cert, err := os.ReadFile(t.files.Cert)
	if err != nil {
		return false, fmt.Errorf("TLS certificate: %w", err)
	}
	key, err := os.ReadFile(t.files.Key)
	if err != nil {
		return false, fmt.Errorf("TLS key: %w", err)
	}
	var ca []byte
	if t.files.ClientCA != "" {
		if ca, err = os.ReadFile(t.files.ClientCA); err != nil {
			return false, fmt.Errorf("TLS client CA: %w", err)
		}
	}
	h := sha256.New()
	for _, part := range [][]byte{cert, key, ca} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	s := new(tlsState)
	h.Sum(s.sum[:0])
	if old := t.state.Load(); old != nil && old.sum == s.sum {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("TLS certificate %s and key %s: %w", t.files.Cert, t.files.Key, err)
	}
	s.leaf = pair.Leaf
	if t.files.ClientCA != "" {
		s.clients = x509.NewCertPool()
		if !s.clients.AppendCertsFromPEM(ca) {
			return false, fmt.Errorf("TLS client CA %s: no certificate in PEM", t.files.ClientCA)
		}
	}
	// No tickets: a resumed session would not show its certificate to the new CA. Connections to a sidecar live long anyway.
	s.optional = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: s.clients,
		NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true}
	s.required = s.optional.Clone()
	if s.clients != nil {
		s.optional.ClientAuth, s.required.ClientAuth = tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert
	}
	t.state.Store(s)
	return true, nil
}

// config is for a listener.
func (t *TLS) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s := t.state.Load()
			if s == nil {
				return nil, errors.New("no certificate")
			}
			if t.asked() {
				return s.optional, nil
			}
			return s.required, nil
		}}
}

// transportOf is what a gRPC listener speaks.
func transportOf(l net.Listener, t *TLS) credentials.TransportCredentials {
	if t == nil || l == nil || l.Addr().Network() == "unix" {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(t.config())
}

// Expires is when the server's certificate does.
func (t *TLS) Expires() time.Time { return t.state.Load().leaf.NotAfter }

// version changes, in ==, with what is believed.
func (t *TLS) version() any {
	if t == nil {
		return nil
	}
	return t.state.Load()
}

// wants says that client certificates are asked for.
func (t *TLS) wants() bool { return t != nil && t.state.Load().clients != nil }

// maxVerified bounds what is remembered of one reading of the files.
const maxVerified = 10_000

// trusts says whether the CA of now signed for this client: the connection may be older than it. Each certificate is verified
// once.
func (t *TLS) trusts(chain []*x509.Certificate, now time.Time) bool {
	if t == nil || len(chain) == 0 || now.After(chain[0].NotAfter) {
		return false
	}
	s := t.state.Load()
	if s.clients == nil {
		return false
	}
	id := sha256.Sum256(chain[0].Raw)
	if _, ok := s.verified.Load(id); ok {
		return true
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: s.clients, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return false
	}
	if s.count.Add(1) <= maxVerified {
		s.verified.Store(id, struct{}{})
	}
	return true
}
