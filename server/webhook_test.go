package server_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const hooked = `limits: []
accounts: {acme: {allow_addresses: [192.0.2.1], keys_from_env: [ACME_KEY]}}
client_address: {trusted_proxies: [127.0.0.0/8]}
consent:
  replies: {brand: Acme, support: help@acme.example}
  keywords: {postbacks: {leave: opt_out}}
  webhooks:
    sms: {platform: twilio, account: acme, url: "https://gate.example/v1/webhooks/sms", secret_from_env: SG_TEST_TWILIO}
    whatsapp: {platform: meta, account: acme, sender: wa, secret_from_file: FILE, verify_token_from_env: SG_TEST_VERIFY}
    near: {platform: generic, account: acme, addresses: [203.0.113.0/24]}
    listed: {platform: telnyx, account: acme, published: [global]}
    lost: {platform: generic, account: acme, secret_from_env: SG_TEST_NOT_SET}
`

func hooks(t *testing.T) (*running, string) {
	t.Helper()
	t.Setenv("ACME_KEY", keyA)
	t.Setenv("SG_TEST_TWILIO", "token")
	t.Setenv("SG_TEST_VERIFY", "word")
	file := filepath.Join(t.TempDir(), "meta")
	if err := os.WriteFile(file, []byte("app secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, _, _ := agreed(t, strings.Replace(hooked, "FILE", file, 1))
	return r, file
}

// sms posts a form as Twilio does.
func (r *running) sms(t *testing.T, token string, fields ...string) (int, string) {
	t.Helper()
	form := url.Values{"To": {"+15550100"}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	signed := "https://gate.example/v1/webhooks/sms"
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range form {
			if !yield(name) {
				return
			}
		}
	}) {
		signed += name + form.Get(name)
	}
	m := hmac.New(sha1.New, []byte(token))
	m.Write([]byte(signed))
	res := r.post(t, "/v1/webhooks/sms", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	return res.StatusCode, read(t, res)
}

func TestWebhook_twilio(t *testing.T) {
	r, _ := hooks(t)
	say := func(id, text string) (int, string) {
		t.Helper()
		return r.sms(t, "token", "From", "+6581234567", "Body", text, "MessageSid", id)
	}
	if code, body := say("SM1", "STOP"); code != http.StatusOK || !strings.Contains(body, "<Response><Message>Acme: You are unsubscribed") || !strings.HasPrefix(body, "<?xml") {
		t.Errorf("STOP: %d %s", code, body)
	}
	if code, body := say("SM2", "START"); code != http.StatusOK || !strings.Contains(body, "You are subscribed. Message frequency varies. Msg &amp; data") {
		t.Errorf("START: %d %s", code, body)
	}
	if code, body := say("SM3", "stop"); code != http.StatusOK || !strings.Contains(body, "unsubscribed") {
		t.Errorf("stop: %d %s", code, body)
	}
	// Somebody who recorded the START posts it again.
	if code, body := say("SM2", "START"); code != http.StatusOK || strings.Contains(body, "Message>") {
		t.Errorf("START again: %d %s", code, body)
	}
	if code, body := say("SM4", "see you at 5"); code != http.StatusOK || strings.Contains(body, "Message>") {
		t.Errorf("a message for people: %d %s", code, body)
	}
	if code, body := r.sms(t, "guess", "From", "+6581234567", "Body", "START", "MessageSid", "SM5"); code != http.StatusUnauthorized || !strings.Contains(body, "SIGNATURE_INVALID") {
		t.Errorf("another token: %d %s", code, body)
	}
	if code, body := r.sms(t, "token", "From", "+1", "Body", "STOP", "MessageSid", "SM6"); code != http.StatusOK || strings.Contains(body, "Message>") {
		t.Errorf("a number that is none: %d %s: it would be posted for ever", code, body)
	}
	if log := r.log.String(); strings.Contains(log, "81234567") || !strings.Contains(log, "a webhook was refused") {
		t.Errorf("the log: %s", log)
	}
}

func TestWebhook_meta(t *testing.T) {
	r, file := hooks(t)
	post := func(secret, changes string) (int, string) {
		t.Helper()
		body := `{"object":"whatsapp_business_account","entry":[{"id":"1022","time":` + fmt.Sprint(time.Now().Unix()) + `,"changes":[` + changes + `]}]}`
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(body))
		res := r.post(t, "/v1/webhooks/whatsapp", body, "Content-Type", "application/json", "X-Hub-Signature-256", "sha256="+hex.EncodeToString(m.Sum(nil)))
		return res.StatusCode, read(t, res)
	}
	message := func(from, id, rest string) string {
		return `{"field":"messages","value":{"metadata":{"display_phone_number":"1555"},"messages":[{"from":"` + from + `","id":"` + id + `","timestamp":"` + fmt.Sprint(time.Now().Unix()) + `",` + rest + `}]}}`
	}
	if code, body := post("app secret", message("6581234567", "wamid.1", `"type":"interactive","interactive":{"button_reply":{"id":"leave"}}`)+","+message("6581234568", "wamid.2", `"text":{"body":"hello"}`)); code != http.StatusOK ||
		!strings.Contains(body, `"optedOut":true`) || !strings.Contains(body, "You are unsubscribed") || strings.Count(body, "reply") != 1 {
		t.Errorf("a button: %d %s", code, body)
	}
	if code, body := post("app secret", `{"field":"message_template_status_update","value":{"event":"PAUSED","message_template_name":"offer","message_template_language":"en","other_info":{"title":"FIRST_PAUSE"}}}`); code != http.StatusOK {
		t.Errorf("a template: %d %s", code, body)
	}
	list, err := sendgatev1.NewConsentAdminServiceClient(r.conn).Templates(with(t.Context(), keyAdmin), &sendgatev1.TemplatesRequest{Account: "acme"})
	if err != nil || len(list.Templates) != 1 || list.Templates[0].Status != "paused" || list.Templates[0].Template.BusinessAccount != "1022" {
		t.Errorf("what is known of the template: %v, %v", list, err)
	}
	// The secret is replaced while this runs.
	if err := os.WriteFile(file, []byte("new secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _ := post("app secret", message("6581234567", "wamid.3", `"text":{"body":"START"}`)); code != http.StatusUnauthorized {
		t.Errorf("the former secret: %d", code)
	}
	if code, _ := post("new secret", message("6581234567", "wamid.3", `"text":{"body":"START"}`)); code != http.StatusOK {
		t.Errorf("the new secret: %d", code)
	}
	get := func(token string) (int, string) {
		res, err := httpClient(t).Get(r.url + "/v1/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=42&hub.verify_token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, body := get("word"); code != http.StatusOK || body != "42" {
		t.Errorf("set up: %d %s", code, body)
	}
	if code, _ := get("guess"); code != http.StatusUnauthorized {
		t.Errorf("set up with another word: %d", code)
	}
}

// What is not signed has to come from the platform's addresses, behind proxies of ours as well.
func TestWebhook_addresses(t *testing.T) {
	r, _ := hooks(t)
	for _, c := range []struct {
		hook, from string
		want       int
	}{
		{"near", "203.0.113.9", http.StatusOK}, {"near", "198.51.100.1", http.StatusForbidden}, {"near", "203.0.113.9, 198.51.100.1", http.StatusForbidden}, {"near", "", http.StatusForbidden},
		{"listed", "192.76.120.193", http.StatusOK}, {"listed", "192.76.120.1", http.StatusForbidden},
		{"lost", "203.0.113.9", http.StatusInternalServerError}, {"none", "203.0.113.9", http.StatusNotFound},
	} {
		body := `{"number":"+6581234567","text":"STOP"}`
		if c.hook == "listed" {
			body = `{"data":{"event_type":"message.finalized"}}`
		}
		res := r.post(t, "/v1/webhooks/"+c.hook, body, "X-Forwarded-For", c.from)
		if answer := read(t, res); res.StatusCode != c.want {
			t.Errorf("%s from %q: %d %s, want %d", c.hook, c.from, res.StatusCode, answer, c.want)
		}
	}
	res := r.post(t, "/v1/webhooks/near", `{"number":`, "X-Forwarded-For", "203.0.113.9")
	if body := read(t, res); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "write {") {
		t.Errorf("rubbish: %d %s", res.StatusCode, body)
	}
}
