package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// refusals are what the gate may say, and what a guard makes of it for HTTP.
var refusals = []struct {
	name   string
	say    *sendgatev1.CheckSendResponse
	err    error
	status int
	after  string
	body   string
}{
	{"wait", &sendgatev1.CheckSendResponse{Verdict: Deny, Reason: "limit:secret-rule", RetryAfter: durationpb.New(1500 * time.Millisecond)}, nil, 429, "2", `{"title":"Too Many Requests","status":429,"verdict":"DENY"}`},
	{"never", &sendgatev1.CheckSendResponse{Verdict: Deny, Reason: "list:secret-rule"}, nil, 403, "", `{"title":"Forbidden","status":403,"verdict":"DENY"}`},
	{"step up", &sendgatev1.CheckSendResponse{Verdict: Challenge, RetryAfter: durationpb.New(time.Minute)}, nil, 403, "60", `{"title":"Forbidden","status":403,"verdict":"CHALLENGE"}`},
	{"store gone", nil, ours(codes.Unavailable, "STORE_UNAVAILABLE", time.Second), 503, "1", `{"title":"Service Unavailable","status":503,"verdict":"DENY"}`},
	{"fail closed", nil, status.Error(codes.Internal, "secret-rule"), 503, "", `{"title":"Service Unavailable","status":503,"verdict":"DENY"}`},
	{"wrong number", nil, ours(codes.InvalidArgument, "NUMBER_INVALID", 0), 400, "", `{"title":"Bad Request","status":400}`},
	{"wrong key", nil, status.Error(codes.Unauthenticated, "secret-rule"), 500, "", `{"title":"Internal Server Error","status":500}`},
}

type body struct {
	Number string `json:"number"`
}

// sendOf reads POST requests; others send nothing.
func sendOf(r *http.Request) (Send, bool) {
	if r.Method != http.MethodPost {
		return Send{}, false
	}
	var b body
	if raw, err := Body(r, 1000); err == nil {
		_ = json.Unmarshal(raw, &b) // an empty number is refused
	}
	return Send{Number: Number(b.Number)}, true
}

func TestGuard_handler(t *testing.T) {
	for _, c := range refusals {
		w := &wire{answer: func(context.Context, int) (*sendgatev1.CheckSendResponse, error) { return c.say, c.err }}
		guard := Guard{Client: ask(t, w, Options{FailMode: FailClosed}), Send: sendOf}
		handler := guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: went through", c.name) }))
		got := httptest.NewRecorder()
		handler.ServeHTTP(got, httptest.NewRequest("POST", "/", strings.NewReader(`{"number":"+6581234567"}`)))
		if got.Code != c.status || got.Header().Get("Retry-After") != c.after || strings.TrimSpace(got.Body.String()) != c.body {
			t.Errorf("%s: %d, after %q, %s", c.name, got.Code, got.Header().Get("Retry-After"), got.Body)
		}
	}
}

func TestGuard_handlerLetsThrough(t *testing.T) {
	w := &wire{}
	guard := Guard{Client: ask(t, w, Options{}), Send: sendOf}
	handler := guard.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		v, ok := FromContext(r.Context())
		raw, err := io.ReadAll(r.Body)
		if err != nil || ok != (r.Method == "POST") || ok && v.CheckID != "id" {
			t.Errorf("%s: %+v, %v, %v", r.Method, v, ok, err)
		}
		rw.Write(raw)
	}))
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"number":"+6581234567"}`))
	r.RemoteAddr = "10.0.0.9:1234"
	r.Header["X-Forwarded-For"] = []string{"203.0.113.7", "10.0.0.8"}
	r.Header.Set("Forwarded", "for=203.0.113.7")
	got := httptest.NewRecorder()
	handler.ServeHTTP(got, r)
	if got.Code != 200 || got.Body.String() != `{"number":"+6581234567"}` {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	in := w.checks[0]
	f := in.Forwarded
	if in.Number != "+6581234567" || f.Peer != "10.0.0.9" || len(f.XForwardedFor) != 2 || len(f.Forwarded) != 1 || f.Custom != nil {
		t.Errorf("asked %v", in)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if w.calls() != 1 {
		t.Errorf("%d calls: asked for what sends nothing", w.calls())
	}
	// What the caller knows better is not overwritten, and the refusal is his to write.
	guard.Send = func(r *http.Request) (Send, bool) {
		return Send{Number: "1", ClientAddress: "203.0.113.9", Forwarded: ForwardedFrom(r, "Cf-Connecting-Ip")}, true
	}
	guard.Refuse = func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(http.StatusTeapot) }
	w.answer = func(context.Context, int) (*sendgatev1.CheckSendResponse, error) {
		return &sendgatev1.CheckSendResponse{Verdict: Deny}, nil
	}
	r = httptest.NewRequest("POST", "/", nil)
	r.RemoteAddr = "@" // a unix socket
	r.Header.Set("Cf-Connecting-Ip", "203.0.113.8")
	got = httptest.NewRecorder()
	guard.Handler(handler).ServeHTTP(got, r)
	if f := w.checks[1].Forwarded; got.Code != http.StatusTeapot || w.checks[1].ClientAddress != "203.0.113.9" || f.Peer != "" || f.Custom[0] != "203.0.113.8" {
		t.Errorf("%d, asked %v", got.Code, w.checks[1])
	}
}

func TestGuard_transport(t *testing.T) {
	sent := 0
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent++
		io.Copy(w, r.Body)
	}))
	defer provider.Close()
	w := &wire{}
	guarded := &http.Client{Transport: Guard{Client: ask(t, w, Options{}), Send: sendOf}.Transport(nil)}

	answer, err := guarded.Post(provider.URL, "application/json", strings.NewReader(`{"number":"+6581234567"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	v, ok := FromContext(answer.Request.Context())
	if err != nil || string(raw) != `{"number":"+6581234567"}` || !ok || v.CheckID != "id" || sent != 1 {
		t.Errorf("%s, %+v, %v, %v", raw, v, ok, err)
	}

	w.answer = func(context.Context, int) (*sendgatev1.CheckSendResponse, error) {
		return &sendgatev1.CheckSendResponse{Verdict: Challenge}, nil
	}
	closed := &closing{Reader: strings.NewReader(`{"number":"+6581234567"}`)}
	_, err = guarded.Post(provider.URL, "application/json", closed)
	var not *NotAllowedError
	if !errors.As(err, &not) || not.Verdict.Kind != Challenge || !closed.closed || sent != 1 {
		t.Errorf("%v, body closed: %v, sent %d", err, closed.closed, sent)
	}
	if answer, err := guarded.Get(provider.URL); err != nil || sent != 2 {
		t.Errorf("what sends nothing: %v", err)
	} else {
		answer.Body.Close()
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestBody(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("0123456789"))
	if _, err := Body(r, 9); err == nil {
		t.Error("10 bytes of 9: no error")
	}
	if raw, err := Body(r, 10); err != nil || string(raw) != "0123456789" {
		t.Errorf("again: %q, %v", raw, err)
	}
	if raw, err := Body(&http.Request{}, 1); raw != nil || err != nil {
		t.Errorf("none: %q, %v", raw, err)
	}
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("012"), errReader{}))
	if _, err := Body(r, 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken: %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUnaryInterceptor(t *testing.T) {
	w := &wire{}
	intercept := UnaryInterceptor(ask(t, w, Options{}), func(_ context.Context, method string, req any) (Send, bool) {
		number, ok := req.(string)
		return Send{Number: Number(number)}, ok && method == "/sms/Send"
	})
	invoked := 0
	call := func(method string) error {
		return intercept(t.Context(), method, "+6581234567", nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			if v, ok := FromContext(ctx); ok != (method == "/sms/Send") || ok && v.CheckID != "id" {
				t.Errorf("%s: %+v, %v", method, v, ok)
			}
			invoked++
			return nil
		})
	}
	if err := call("/sms/Send"); err != nil || invoked != 1 || w.checks[0].Number != "+6581234567" {
		t.Errorf("%v, invoked %d times", err, invoked)
	}
	if err := call("/sms/Status"); err != nil || invoked != 2 || w.calls() != 1 {
		t.Errorf("%v, invoked %d times, asked %d times", err, invoked, w.calls())
	}
	w.answer = func(context.Context, int) (*sendgatev1.CheckSendResponse, error) { return refusals[0].say, nil }
	err := call("/sms/Send")
	var info *errdetails.RetryInfo
	if details := status.Convert(err).Details(); len(details) == 1 {
		info, _ = details[0].(*errdetails.RetryInfo)
	}
	if status.Code(err) != codes.ResourceExhausted || info.GetRetryDelay().AsDuration() != 1500*time.Millisecond || invoked != 2 {
		t.Errorf("%v with %v, invoked %d times", err, info, invoked)
	}
	w.answer = func(context.Context, int) (*sendgatev1.CheckSendResponse, error) {
		return nil, status.Error(codes.InvalidArgument, "number: too short")
	}
	if err := call("/sms/Send"); status.Code(err) != codes.InvalidArgument || invoked != 2 {
		t.Errorf("%v, invoked %d times", err, invoked)
	}
}
