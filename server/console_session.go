package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/internal/identity"
)

// sessionLife is how long a login holds.
const sessionLife = 12 * time.Hour

// loggedOut is how many sessions that were ended before their time are remembered. It is the memory of this process: after a restart
// such a session would hold again until its time is over, but its cookie was taken away from the browser.
const loggedOut = 1024

// sessions are the logins of the console. A session is its cookie, sealed: it names the admin key by its sum, so that it ends with
// the key, and outlives a restart of the sidecar.
type sessions struct {
	book *identity.Book
	now  func() time.Time
	seal cipher.AEAD
	csrf []byte // key of the CSRF tokens

	mu    sync.Mutex
	ended map[[16]byte]time.Time // until when they would hold
}

// visitor is somebody at the console who may do what operators do.
type visitor struct {
	owner identity.Owner
	id    [16]byte
	until time.Time // zero where it does not end
}

func newSessions(book *identity.Book, secret []byte, now func() time.Time) (*sessions, error) {
	if len(secret) == 0 { // sessions then end with the process
		secret = make([]byte, 32)
		rand.Read(secret)
	}
	derive := func(what string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("sendgate console " + what))
		return mac.Sum(nil)
	}
	block, err := aes.NewCipher(derive("sessions"))
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sessions{book: book, now: now, seal: seal, csrf: derive("csrf"), ended: make(map[[16]byte]time.Time)}, nil
}

// cookieName tells sidecars on one machine apart: browsers send cookies to every port.
func cookieName(host string) string {
	if _, port, err := net.SplitHostPort(host); err == nil {
		return "sendgate_console_" + port
	}
	return "sendgate_console"
}

// open makes the session of an admin key, as the value of a cookie.
func (s *sessions) open(key string) (string, *visitor, bool) {
	owner, known := s.book.Key(key)
	if !known || !owner.Admin {
		return "", nil, false
	}
	v := &visitor{owner: owner, until: s.now().Add(sessionLife)}
	rand.Read(v.id[:])
	plain := binary.BigEndian.AppendUint64(nil, uint64(v.until.Unix()))
	plain = append(plain, v.id[:]...)
	sum := identity.Sum(key)
	return base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, append(plain, sum[:]...), nil)), v, true
}

// find reads the session of a cookie.
func (s *sessions) find(cookie string) (*visitor, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return nil, false
	}
	plain, err := s.seal.Open(nil, nil, sealed, nil)
	if err != nil || len(plain) != 8+16+sha256.Size {
		return nil, false
	}
	v := &visitor{until: time.Unix(int64(binary.BigEndian.Uint64(plain)), 0), id: [16]byte(plain[8:])}
	owner, known := s.book.KeySum([sha256.Size]byte(plain[24:]))
	if !known || !owner.Admin || !s.now().Before(v.until) {
		return nil, false
	}
	v.owner = owner
	s.mu.Lock()
	_, ended := s.ended[v.id]
	s.mu.Unlock()
	return v, !ended
}

// end ends a session before its time.
func (s *sessions) end(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, until := range s.ended {
		if len(s.ended) >= loggedOut || !s.now().Before(until) {
			delete(s.ended, id)
		}
	}
	s.ended[v.id] = v.until
}

// token proves that a request comes from our own page: only it was told the token.
func (s *sessions) token(v *visitor) string {
	mac := hmac.New(sha256.New, s.csrf)
	mac.Write(v.id[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

var errLogin = &failure{code: codes.Unauthenticated, reason: "LOGIN_NEEDED", message: "log in with an admin key"}

// visitorOf is who asks: by a cookie, by an operator's certificate, or, where the console is open to this machine, by being there.
func (c *console) visitorOf(r *http.Request) (*visitor, *failure) {
	if cookie, err := r.Cookie(cookieName(r.Host)); err == nil {
		if v, ok := c.sessions.find(cookie.Value); ok {
			return v, nil
		}
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		s := &session{doorman: c.doorman, need: needAdmin, chain: r.TLS.PeerCertificates}
		if k, f := s.who(); f == nil {
			return &visitor{owner: k.owner, id: [16]byte(hash16(s.chain[0].Raw))}, nil
		}
	}
	if c.options.Access == ConsoleLoopback && c.onThisMachine(r) {
		return &visitor{owner: identity.Owner{Admin: true}, id: [16]byte([]byte("on this machine "))}, nil
	}
	return nil, errLogin
}

func hash16(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:16]
}

// onThisMachine says that a request was made here, by a browser that means this machine, and that nobody passed it on.
func (c *console) onThisMachine(r *http.Request) bool {
	for _, passed := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(passed) != "" {
			return false
		}
	}
	host := hostOf(r.Host)
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.Unmap().IsLoopback()) {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err != nil || peer.Addr().Unmap().IsLoopback() // a unix socket has no address
}

// asOperator lets the console's own calls be those of who is at it.
func asOperator(ctx context.Context, owner identity.Owner) context.Context {
	s := &session{doorman: &doorman{book: identity.New(identity.Options{})}, need: needAdmin}
	s.known.Store(&knownCaller{book: s.doorman.book.Version(), tls: s.doorman.tls.version(), owner: owner})
	return context.WithValue(ctx, sessionKey{}, s)
}
