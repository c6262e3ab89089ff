package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// maxBody is the largest JSON request that is read, in bytes. A check takes a few hundred; its attributes can take 5 KiB.
const maxBody = 64 << 10

// newHTTP makes the HTTP surface: JSON for people and scripts, probes, metrics. Browsers of other origins are refused: a page
// must not be able to use up somebody's limits.
func newHTTP(s *service, operators *admin, page *console, ready func() bool) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/check", s.serveCheck)
	mux.HandleFunc("/v1/check", refuseMethod("POST"))
	mux.HandleFunc("POST /v1/outcomes", s.serveOutcomes)
	mux.HandleFunc("/v1/outcomes", refuseMethod("POST"))
	mux.HandleFunc("POST /v1/verify", s.serveVerify)
	mux.HandleFunc("/v1/verify", refuseMethod("POST"))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc(webhookPath+"{name}", s.serveWebhook)
	mux.Handle(newConnect(s))
	mux.Handle((&consents{service: s}).connect())
	mux.Handle(operators.connect())
	mux.Handle((&reports{admin: operators}).connect())
	if page != nil {
		page.register(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeFailure(w, &failure{code: codes.NotFound, reason: "NO_SUCH_PATH", message: "nothing here: POST /v1/check and /v1/verify ask, POST /v1/outcomes reports, GET /healthz, /readyz and /metrics tell"})
	})
	return &http.Server{
		Handler:           s.tracing.aroundHTTP(s.catchHTTP(s.routeProxied(http.NewCrossOriginProtection().Handler(s.identifyHTTP(mux))))),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

func (s *service) serveCheck(w http.ResponseWriter, r *http.Request) {
	in, f := readCheck(w, r)
	if f != nil {
		s.metrics.failed(f)
		writeFailure(w, f)
		return
	}
	own := func(_ context.Context, header string) *gate.Forwarded {
		return httpCall(r.RemoteAddr, r.Header, header)
	}
	v, f := s.check(r.Context(), in, own, s.metrics.http)
	if f != nil {
		writeFailure(w, f)
		return
	}
	writeVerdict(w, &v)
}

// readCheck reads a CheckSendRequest in protobuf's JSON. Fields that it does not have are refused: a misspelt one would
// otherwise be a limit that does not apply.
func readCheck(w http.ResponseWriter, r *http.Request) (*sendgatev1.CheckSendRequest, *failure) {
	body, f := readBody(w, r, maxBody)
	if f != nil {
		return nil, f
	}
	in := new(sendgatev1.CheckSendRequest)
	if err := protojson.Unmarshal(body, in); err != nil {
		return nil, &failure{code: codes.InvalidArgument, reason: "JSON_INVALID", message: jsonError(err) + `: write an object like {"number":"+6581234567","clientAddress":"203.0.113.7"}`}
	}
	return in, nil
}

// readBody reads a body of at most so many bytes.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *failure) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &failure{code: codes.ResourceExhausted, reason: "TOO_LARGE", message: fmt.Sprintf("the body is larger than %d bytes", most)}
	case err != nil:
		return nil, &failure{code: codes.Canceled, reason: "CANCELED", message: "the body ended early"}
	}
	return body, nil
}

// jsonError is what the decoder found and where. Of what was written it repeats only the names of fields: anything else could
// be a number.
func jsonError(err error) string {
	text := err.Error()
	what := "not a check in JSON"
	if strings.Contains(text, "invalid value") {
		what = "a value of the wrong type"
	}
	for _, problem := range []string{"unknown field", "duplicate field"} {
		if _, rest, ok := strings.Cut(text, problem+` "`); ok {
			what = problem
			if name, _, _ := strings.Cut(rest, `"`); isFieldName(name) {
				what += ` "` + name + `"`
			}
		}
	}
	if _, rest, ok := strings.Cut(text, "(line "); ok {
		if at, _, ok := strings.Cut(rest, ")"); ok {
			return what + " at line " + at
		}
	}
	return what
}

func isFieldName(s string) bool {
	return len(s) < 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// writeVerdict answers 200 for ALLOW, 429 for a DENY that waiting helps against, else 403; the body says it all.
func writeVerdict(w http.ResponseWriter, v *gate.Verdict) {
	h := w.Header()
	if v.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(wholeSeconds(v.RetryAfter), 10))
	}
	if v.Rule != "" && v.Limit > 0 {
		setRateLimit(h, v)
	}
	writeMessageAs(w, statusOf(v), toCheck(v))
}

func statusOf(v *gate.Verdict) int {
	switch {
	case v.Kind == gate.Deny && v.RetryAfter > 0:
		return http.StatusTooManyRequests
	case v.Kind != gate.Allow:
		return http.StatusForbidden
	}
	return http.StatusOK
}

func writeMessage(w http.ResponseWriter, m proto.Message) { writeMessageAs(w, http.StatusOK, m) }

func writeMessageAs(w http.ResponseWriter, code int, m proto.Message) {
	body, err := protojson.Marshal(m)
	if err != nil {
		writeFailure(w, &failure{code: codes.Internal, reason: "INTERNAL", message: "internal error"})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, code, "application/json", body)
}

// writeLine writes a message as one line of JSON.
func writeLine(w io.Writer, m proto.Message) {
	body, err := protojson.Marshal(m)
	if err != nil {
		body = []byte("{}")
	}
	var line bytes.Buffer
	if json.Compact(&line, body) != nil {
		line.Write(body)
	}
	line.WriteByte('\n')
	w.Write(line.Bytes())
}

// setRateLimit writes draft-ietf-httpapi-ratelimit-headers-11. Rule names are quoted strings there; a policy allows no
// quotes in them.
func setRateLimit(h http.Header, v *gate.Verdict) {
	h.Set("RateLimit-Policy", fmt.Sprintf(`%q;q=%d;w=%d`, v.Rule, v.Limit, wholeSeconds(v.Window)))
	state := fmt.Sprintf(`%q;r=%d`, v.Rule, v.Remaining)
	if v.RetryAfter > 0 {
		state += fmt.Sprintf(";t=%d", wholeSeconds(v.RetryAfter))
	}
	h.Set("RateLimit", state)
}

// wholeSeconds rounds up: who comes back after so many is not early.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// problem is RFC 9457's problem details, with the words of the contract's errors.
type problem struct {
	Title      string      `json:"title"`
	Status     int         `json:"status"`
	Detail     string      `json:"detail"`
	Code       string      `json:"code"`
	Reason     string      `json:"reason"`
	Violations []violation `json:"violations,omitempty"`
}

type violation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

func writeFailure(w http.ResponseWriter, f *failure) {
	code := httpStatus(f)
	p := problem{Title: http.StatusText(code), Status: code, Detail: f.message, Code: strings.ToUpper(snake(f.code.String())), Reason: f.reason}
	for _, v := range f.violations {
		p.Violations = append(p.Violations, violation{camel(v.Field), v.Description})
	}
	if f.code == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(wholeSeconds(f.retryAfter), 10))
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"title":"Internal Server Error","status":500}`)
	}
	writeJSON(w, code, "application/problem+json", body)
}

func httpStatus(f *failure) int {
	switch {
	case f.reason == "TOO_LARGE":
		return http.StatusRequestEntityTooLarge
	case f.reason == "METHOD_NOT_ALLOWED":
		return http.StatusMethodNotAllowed
	case f.reason == "OUTCOME_LATE", f.reason == "OUTCOME_CONTRADICTS", f.reason == "CHECK_NOT_ALLOWED":
		return http.StatusConflict
	}
	switch f.code {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.Unavailable, codes.ResourceExhausted: // 429 would look like a limit
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Canceled:
		return 499 // nobody reads it
	}
	return http.StatusInternalServerError
}

func refuseMethod(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		writeFailure(w, &failure{code: codes.Unimplemented, reason: "METHOD_NOT_ALLOWED", message: "write " + allowed})
	}
}

// writeJSON writes compact JSON and a line's end. protojson puts in spaces at random; compacting takes them out.
func writeJSON(w http.ResponseWriter, code int, kind string, body []byte) {
	var out bytes.Buffer
	if json.Compact(&out, body) != nil {
		out.Write(body)
	}
	out.WriteByte('\n')
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write(out.Bytes())
}

// snake writes InvalidArgument as invalid_argument.
func snake(s string) string {
	var b strings.Builder
	for i, c := range s {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// camel writes client_address as clientAddress, the name that a field has in JSON.
func camel(s string) string {
	words := strings.Split(s, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// httpCall tells what an HTTP request's own connection says about the client.
func httpCall(remote string, headers http.Header, header string) *gate.Forwarded {
	f := &gate.Forwarded{OwnCall: true}
	if addr, err := netip.ParseAddrPort(remote); err == nil {
		f.Peer = addr.Addr().String()
	} else if host, _, err := net.SplitHostPort(remote); err == nil {
		f.Peer = host
	}
	setLines(f, header, headers.Values(header))
	return f
}

// setLines puts the lines of a header where the gate looks for it.
func setLines(f *gate.Forwarded, header string, lines []string) {
	switch header {
	case "x-forwarded-for":
		f.XForwardedFor = lines
	case "forwarded":
		f.Forwarded = lines
	default:
		f.Custom = lines
	}
}
