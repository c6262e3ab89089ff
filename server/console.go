package server

import (
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
)

// ConsoleAccess is who may see the console.
type ConsoleAccess string

// Who may see the console.
const (
	ConsoleKey      ConsoleAccess = "key"      // who logs in with an admin key, or shows an operator's certificate
	ConsoleLoopback ConsoleAccess = "loopback" // also whoever is on this machine
	ConsoleOff      ConsoleAccess = "off"
)

// ConsoleOptions are those of the console on the HTTP port.
type ConsoleOptions struct {
	// Access is who may see it. Default ConsoleKey.
	Access ConsoleAccess
	// Hosts are the names that browsers may call it by, beside localhost and addresses. Over TLS every name will do, because the
	// certificate has it.
	Hosts []string
	// Secret seals sessions, so that they outlive a restart. Default random.
	Secret []byte
}

// console serves the page, what it shows and what it does. Every answer is for our own page only: see guard.
type console struct {
	*boards
	detection *detection
	options   ConsoleOptions
	sessions  *sessions
	files     map[string]*asset
}

func newConsole(b *boards, d *detection, o ConsoleOptions) (*console, error) {
	sessions, err := newSessions(b.doorman.book, o.Secret, b.doorman.now)
	if err != nil {
		return nil, err
	}
	files, err := readAssets()
	if err != nil {
		return nil, err
	}
	return &console{boards: b, detection: d, options: o, sessions: sessions, files: files}, nil
}

const consolePath = "/console/"

// register puts the console under its path, and sends browsers there from the top.
func (c *console) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, consolePath, http.StatusFound) })
	own := http.NewServeMux()
	own.HandleFunc("GET /console/{file...}", c.serveFile)
	own.HandleFunc("GET /console/session", c.serveSession)
	own.HandleFunc("POST /console/login", c.serveLogin)
	own.HandleFunc("POST /console/logout", c.acted(c.serveLogout))
	own.HandleFunc("GET /console/events", c.visited(c.serveEvents))
	own.HandleFunc("POST /console/release", c.acted(c.serveRelease))
	own.HandleFunc("POST /console/explain", c.acted(c.serveExplain))
	mux.Handle(consolePath, c.guard(own))
}

// consoleHeaders let a browser do with the page what it needs, and nothing else.
var consoleHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// guard lets in what a browser on our own page asks, and people who open the page. A name that is not ours could have been bent to
// this address by whoever owns it (DNS rebinding): his page would then be of our origin.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range consoleHeaders {
			w.Header().Set(name, value)
		}
		if !c.isOurs(r) {
			writeFailure(w, &failure{code: codes.PermissionDenied, reason: "HOST_UNKNOWN", message: "the console is not called by this name: open it by its address, or give the name with --console-host"})
			return
		}
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case site == "", site == "same-origin", site == "none":
		case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document":
		default:
			writeFailure(w, &failure{code: codes.PermissionDenied, reason: "CROSS_SITE", message: "only the console's own page may ask this"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOurs says that a browser calls us by a name of ours.
func (c *console) isOurs(r *http.Request) bool {
	host := hostOf(r.Host)
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost" || r.TLS != nil || slices.ContainsFunc(c.options.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// hostOf takes the port off.
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// visited lets operators in.
func (c *console) visited(next func(http.ResponseWriter, *http.Request, *visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, f := c.visitorOf(r)
		if f != nil {
			writeFailure(w, f)
			return
		}
		next(w, r, v)
	}
}

// acted lets operators do something, from our own page: it alone knows the token, and only a script of our origin can set the header.
func (c *console) acted(next func(http.ResponseWriter, *http.Request, *visitor)) http.HandlerFunc {
	return c.visited(func(w http.ResponseWriter, r *http.Request, v *visitor) {
		if !fromOurPage(r) || subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Sendgate-Csrf")), []byte(c.sessions.token(v))) != 1 {
			writeFailure(w, &failure{code: codes.PermissionDenied, reason: "CSRF", message: "only the console's own page may do this: reload it"})
			return
		}
		next(w, r, v)
	})
}

// fromOurPage says that a script of our own origin sends this. Browsers name the origin of whatever is no GET.
func fromOurPage(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && origin.Host != "" && origin.Host == r.Host && kind == "application/json"
}
