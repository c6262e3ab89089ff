package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// read reads a small JSON body.
func (c *console) read(w http.ResponseWriter, r *http.Request, into any) bool {
	body, f := readBody(w, r, maxBody)
	if f == nil && json.Unmarshal(body, into) != nil {
		f = &failure{code: codes.InvalidArgument, reason: "JSON_INVALID", message: "not the JSON that the console sends"}
	}
	if f != nil {
		writeFailure(w, f)
	}
	return f == nil
}

func (c *console) serveLogin(w http.ResponseWriter, r *http.Request) {
	var in struct{ Key string }
	if !fromOurPage(r) {
		writeFailure(w, &failure{code: codes.PermissionDenied, reason: "CSRF", message: "only the console's own page may do this: reload it"})
		return
	}
	if !c.read(w, r, &in) {
		return
	}
	cookie, v, ok := c.sessions.open(strings.TrimSpace(in.Key))
	if !ok {
		writeFailure(w, &failure{code: codes.Unauthenticated, reason: "KEY_UNKNOWN", message: "this is no admin key of this sidecar"})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r.Host), Value: cookie, Path: consolePath, MaxAge: int(sessionLife / time.Second),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	c.write(w, c.whoIs(v))
}

// whoIs tells the page who is at it.
type whoIs struct {
	Known    bool   `json:"known"`    // or somebody has to log in
	Operator string `json:"operator"` // empty: nobody knows his name, and he gives it with what he does
	Token    string `json:"token"`
	Login    bool   `json:"login"` // there is a login to end
}

func (c *console) whoIs(v *visitor) whoIs {
	return whoIs{Known: true, Operator: v.owner.Name, Token: c.sessions.token(v), Login: !v.until.IsZero()}
}

// serveSession is asked first. That nobody is known is no error: else every page would begin with one.
func (c *console) serveSession(w http.ResponseWriter, r *http.Request) {
	v, f := c.visitorOf(r)
	if f != nil {
		c.write(w, whoIs{})
		return
	}
	c.write(w, c.whoIs(v))
}

func (c *console) serveLogout(w http.ResponseWriter, r *http.Request, v *visitor) {
	c.sessions.end(v)
	http.SetCookie(w, &http.Cookie{Name: cookieName(r.Host), Path: consolePath, MaxAge: -1, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	c.write(w, struct{}{})
}

func (c *console) serveRelease(w http.ResponseWriter, r *http.Request, v *visitor) {
	var in struct {
		ID             uint64 `json:",string"`
		Reason, Author string
	}
	if !c.read(w, r, &in) {
		return
	}
	_, err := c.detection.ReleaseBlock(asOperator(r.Context(), v.owner), &sendgatev1.ReleaseBlockRequest{Id: in.ID, Reason: in.Reason, Author: in.Author})
	if err != nil {
		writeFailure(w, failureOf(err, c.log))
		return
	}
	c.mu.Lock() // the page is to see it at once
	c.refreshAll()
	c.mu.Unlock()
	c.write(w, struct{}{})
}

// explained is what a send would meet, and what became of earlier ones to its number.
type explained struct {
	Explain json.RawMessage `json:"explain"`
	Recent  json.RawMessage `json:"recent"`
}

// recentShown is how many earlier decisions are told.
const recentShown = 10

func (c *console) serveExplain(w http.ResponseWriter, r *http.Request, v *visitor) {
	in, f := readCheck(w, r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	ctx := asOperator(r.Context(), v.owner)
	var out explained
	for _, ask := range []struct {
		into *json.RawMessage
		call func() (proto.Message, error)
	}{
		{&out.Explain, func() (proto.Message, error) { return c.ExplainSend(ctx, &sendgatev1.ExplainSendRequest{Check: in}) }},
		{&out.Recent, func() (proto.Message, error) {
			m, err := c.RecentDecisions(ctx, &sendgatev1.RecentDecisionsRequest{Number: in.Number, PageSize: recentShown})
			if err != nil && failureOf(err, c.log).reason == "NO_RECENT" { // none are kept
				return &sendgatev1.RecentDecisionsResponse{}, nil
			}
			return m, err
		}},
	} {
		m, err := ask.call()
		if err == nil {
			*ask.into, err = boardJSON.Marshal(m)
		}
		if err != nil {
			writeFailure(w, failureOf(err, c.log))
			return
		}
	}
	c.write(w, out)
}

// boardJSON writes every field, so that a page need not know what is left out.
var boardJSON = protojson.MarshalOptions{EmitDefaultValues: true}

func (c *console) write(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeFailure(w, &failure{code: codes.Internal, reason: "INTERNAL", message: "internal error"})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, "application/json", body)
}
