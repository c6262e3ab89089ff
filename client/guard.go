package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// UnaryInterceptor asks before each call of a client that sends messages by gRPC. Send says what a call would send; false:
// nothing, and the call goes through unasked. A call that is not allowed ends with a [*NotAllowedError], which is a gRPC status
// as well. What comes after it finds the verdict by [FromContext].
func UnaryInterceptor(c *Client, send func(ctx context.Context, method string, req any) (Send, bool)) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if s, ok := send(ctx, method, req); ok {
			v, err := c.Check(ctx, s)
			if err == nil {
				err = v.Err()
			}
			if err != nil {
				return err
			}
			ctx = withVerdict(ctx, v)
		}
		return invoke(ctx, method, req, reply, conn, options...)
	}
}

// Guard asks before each HTTP request that sends a message: one that a handler receives, or one that a transport is about to
// make. Client and Send are required.
type Guard struct {
	Client *Client
	// Send says what a request would send. False: nothing, and it goes through unasked. For a number that cannot be read give
	// an empty one, which is refused. See [Body] for reading a body that is read again behind the guard, and read it as that
	// code does: two readers that disagree about a doubled field let one number be asked for and another be sent to.
	Send func(*http.Request) (Send, bool)
	// Refuse answers a request that may not send: err is not nil, a [*NotAllowedError] if the verdict is why. Default: 429 with
	// Retry-After, 403, 503, 400 for a wrong number, and little else, as it is the end user who reads it.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
}

// Handler puts the guard before a handler, which finds the verdict by [FromContext]. If Send gives neither ClientAddress nor
// Forwarded, they are taken from the request by [ForwardedFrom].
func (g Guard) Handler(next http.Handler) http.Handler {
	refuse := g.Refuse
	if refuse == nil {
		refuse = writeRefusal
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := g.Send(r); ok {
			if s.ClientAddress == "" && s.Forwarded == nil {
				s.Forwarded = ForwardedFrom(r, "")
			}
			v, err := g.Client.Check(r.Context(), s)
			if err == nil {
				err = v.Err()
			}
			if err != nil {
				refuse(w, r, err)
				return
			}
			r = r.WithContext(withVerdict(r.Context(), v))
		}
		next.ServeHTTP(w, r)
	})
}

// Transport puts the guard before a transport; nil is [http.DefaultTransport]. A request that is not allowed ends with a
// [*NotAllowedError], to be found by errors.As. The verdict on one that was made is in its response:
// FromContext(response.Request.Context()).
func (g Guard) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return transport{g, next}
}

type transport struct {
	guard Guard
	next  http.RoundTripper
}

// RoundTrip asks, then hands on.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // Send may put another body in
	if s, ok := t.guard.Send(r); ok {
		v, err := t.guard.Client.Check(r.Context(), s)
		if err == nil {
			err = v.Err()
		}
		if err != nil {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, err
		}
		r = r.WithContext(withVerdict(r.Context(), v))
	}
	return t.next.RoundTrip(r)
}

// Body reads the body of a request and puts it back, to be read again by who comes next. A body of more than limit bytes is an
// error.
func Body(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("sendgate: the body has more than %d bytes", limit)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

type verdictKey struct{}

func withVerdict(ctx context.Context, v Verdict) context.Context {
	return context.WithValue(ctx, verdictKey{}, v)
}

// FromContext returns the verdict that let a call through a guard.
func FromContext(ctx context.Context) (v Verdict, ok bool) {
	v, ok = ctx.Value(verdictKey{}).(Verdict)
	return v, ok
}

// writeRefusal writes problem details (RFC 9457). Rules and reasons stay inside: they would tell an attacker what to change.
func writeRefusal(w http.ResponseWriter, _ *http.Request, err error) {
	p := struct {
		Title   string `json:"title"`
		Status  int    `json:"status"`
		Verdict string `json:"verdict,omitempty"`
	}{}
	var not *NotAllowedError
	switch {
	case errors.As(err, &not):
		p.Status, p.Verdict = not.httpStatus(), strings.TrimPrefix(not.Verdict.Kind.String(), "VERDICT_")
		if after := not.Verdict.RetryAfter; after > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
		}
	case status.Code(err) == codes.InvalidArgument:
		p.Status = http.StatusBadRequest
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		p.Status = http.StatusServiceUnavailable
	default: // our own API key
		p.Status = http.StatusInternalServerError
	}
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
