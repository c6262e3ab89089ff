package server

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/webhook"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// webhookPath is where platforms post; the name of a webhook of the policy follows.
const webhookPath = "/v1/webhooks/"

// serveWebhook hears what a platform posts. It answers 2xx only when all is on disk: what is answered otherwise is posted again, and
// what was heard before is known. The answer says what was done and what to reply, which platforms pass over; Twilio is told in its own
// words, and replies.
func (s *service) serveWebhook(w http.ResponseWriter, r *http.Request) {
	if !s.inFlight.enter() {
		s.metrics.shed.Inc()
		writeFailure(w, errBusy)
		return
	}
	defer s.inFlight.leave()
	name := r.PathValue("name")
	p := s.gate.Policy()
	hook := p.Consent.Webhooks[name]
	if hook == nil {
		writeFailure(w, &failure{code: codes.NotFound, reason: "WEBHOOK_UNKNOWN", message: "the policy has no such webhook: write it into consent.webhooks"})
		return
	}
	d, f := s.delivered(w, r, hook)
	if f != nil {
		s.metrics.failed(f)
		s.refusedHook.say(func() { s.log.Warn("a webhook was refused", "webhook", name, "reason", f.reason, "message", f.message) })
		writeFailure(w, f)
		return
	}
	if d.Answer != nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(d.Answer)
		return
	}
	heard, f := s.heardFrom(r, name, hook, d)
	if f != nil {
		s.metrics.failed(f)
		writeFailure(w, f)
		return
	}
	if hook.Platform == "twilio" {
		writeTwiML(w, heard)
		return
	}
	writeHeard(w, heard)
}

// delivered is what a request brought, if it is from the platform.
func (s *service) delivered(w http.ResponseWriter, r *http.Request, hook *policy.Webhook) (webhook.Delivery, *failure) {
	allowed, err := webhook.Published(hook.Platform, hook.Published...)
	if err != nil {
		return webhook.Delivery{}, &failure{code: codes.FailedPrecondition, reason: "WEBHOOK_MISCONFIGURED", message: err.Error()}
	}
	if allowed = append(allowed, hook.Addresses...); len(allowed) > 0 {
		from := s.sourceOf(r)
		if !slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(from) }) {
			return webhook.Delivery{}, &failure{code: codes.PermissionDenied, reason: "ADDRESS_NOT_ALLOWED", message: "the platform does not post from this address, by what the policy says"}
		}
	}
	body, f := readBody(w, r, webhook.MaxBody)
	if f != nil {
		return webhook.Delivery{}, f
	}
	source := webhook.Source{Platform: hook.Platform, URL: hook.URL}
	if source.Secrets, err = secretsOf(hook.SecretsFromEnv, hook.SecretsFromFile); err == nil && hook.VerifyTokenFromEnv+hook.VerifyTokenFromFile != "" {
		var token [][]byte
		token, err = secretsOf(some(hook.VerifyTokenFromEnv), some(hook.VerifyTokenFromFile))
		source.VerifyToken = bytes.Join(token, nil)
	}
	if err != nil {
		s.log.Error("a webhook cannot be verified", "err", err)
		return webhook.Delivery{}, &failure{code: codes.Internal, reason: "WEBHOOK_SECRET_MISSING", message: "the secret of this webhook cannot be read: the log says why"}
	}
	d, err := source.Read(&webhook.Call{Method: r.Method, Header: r.Header.Get, Query: r.URL.Query().Get, Body: body, Now: s.gate.Now()})
	var form *webhook.FormError
	switch {
	case errors.Is(err, webhook.ErrSignature):
		return d, &failure{code: codes.Unauthenticated, reason: "SIGNATURE_INVALID", message: "the signature is missing, wrong or too old: is the secret that of the platform, and is url the address that it posts to?"}
	case errors.As(err, &form):
		return d, &failure{code: codes.InvalidArgument, reason: "WEBHOOK_INVALID", message: form.What}
	case err != nil:
		return d, failureOf(err, s.log)
	}
	return d, nil
}

// sourceOf is where a request comes from, behind the proxies that the policy trusts.
func (s *service) sourceOf(r *http.Request) netip.Addr {
	f := httpCall(r.RemoteAddr, r.Header, s.gate.Snapshot().ClientHeader())
	if f == nil {
		return netip.Addr{}
	}
	f.OwnCall = false
	return s.gate.ClientOf(f)
}

func some(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// secretsOf reads secrets at each call: they may be replaced while this runs.
func secretsOf(envs, files []string) (out [][]byte, err error) {
	for _, name := range envs {
		text := strings.TrimSpace(os.Getenv(name))
		if text == "" {
			return nil, fmt.Errorf("the environment variable %s is empty", name)
		}
		out = append(out, []byte(text))
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if b = bytes.TrimSpace(b); len(b) == 0 {
			return nil, fmt.Errorf("%s is empty", name)
		}
		out = append(out, b)
	}
	return out, nil
}

// answered is one message and what it did.
type answered struct {
	consent.Heard
	quiet  bool   // the platform has replied already
	failed string // why it was passed over; it would be no better if it were posted again
}

// heardFrom does what a delivery asks for, in its order.
func (s *service) heardFrom(r *http.Request, name string, hook *policy.Webhook, d webhook.Delivery) ([]answered, *failure) {
	if err := s.gate.Accepts(hook.Account); err != nil {
		return nil, failureOf(err, s.log)
	}
	if book := s.gate.Templates(); book != nil && len(d.Templates) > 0 {
		for i := range d.Templates {
			d.Templates[i].ID.Account = hook.Account
		}
		if err := book.Apply(r.Context(), d.Templates...); err != nil {
			return nil, failureOf(&gate.UnavailableError{Err: err}, s.log)
		}
	}
	now := s.gate.Now()
	var out []answered
	for _, m := range d.Messages {
		in := gate.Inbound{Number: m.Number, Account: hook.Account, Sender: m.Sender, Text: m.Text, Postback: m.Postback, Reference: m.Reference, OccurredAt: m.At,
			Caller: gate.Caller{Account: hook.Account, Vouched: true}}
		if hook.Sender != "" {
			in.Sender = hook.Sender
		}
		if in.OccurredAt.After(now) {
			in.OccurredAt = now // the platform's clock is ahead
		}
		heard, err := s.gate.Hear(r.Context(), &in)
		var invalid *gate.InvalidError
		if errors.As(err, &invalid) {
			s.log.Warn("a message of a webhook was passed over", "webhook", name, "err", invalid)
			out = append(out, answered{failed: invalid.Error()})
			continue
		}
		if err != nil {
			return nil, failureOf(err, s.log)
		}
		out = append(out, answered{Heard: heard, quiet: m.Answered})
	}
	return out, nil
}

// reply is what to answer a message with, "" for nothing.
func (a *answered) reply() string {
	if a.quiet {
		return ""
	}
	return a.Reply
}

// writeHeard tells what each message did, for whoever passes on what a platform posted to him.
func writeHeard(w http.ResponseWriter, all []answered) {
	var out bytes.Buffer
	out.WriteString(`{"messages":[`)
	for i := range all {
		a := &all[i]
		if i > 0 {
			out.WriteByte(',')
		}
		if a.failed != "" {
			text, err := json.Marshal(a.failed)
			if err != nil { // text always can
				text = []byte(`""`)
			}
			fmt.Fprintf(&out, `{"error":%s}`, text)
			continue
		}
		var one bytes.Buffer
		writeLine(&one, &sendgatev1.ReportInboundResponse{Action: toAction(a.Action), Keyword: a.Word, Language: a.Language, Changed: a.Changed, OptedOut: a.Out, Reply: a.reply()})
		out.Write(bytes.TrimSpace(one.Bytes()))
	}
	out.WriteString("]}\n")
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, "application/json", out.Bytes())
}

// writeTwiML lets Twilio send the reply.
func writeTwiML(w http.ResponseWriter, all []answered) {
	type response struct {
		XMLName xml.Name `xml:"Response"`
		Message []string `xml:"Message,omitempty"`
	}
	var out response
	for i := range all {
		if text := all[i].reply(); text != "" {
			out.Message = append(out.Message, text)
		}
	}
	body, err := xml.Marshal(out)
	if err != nil { // text always can
		body = []byte("<Response></Response>")
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = w.Write(append([]byte(xml.Header), body...))
}

// seldom says something at most every ten seconds: whoever posts rubbish must not fill the log.
type seldom struct{ last atomic.Int64 }

func (s *seldom) say(f func()) {
	now, last := time.Now().UnixNano(), s.last.Load()
	if now-last > int64(10*time.Second) && s.last.CompareAndSwap(last, now) {
		f()
	}
}
