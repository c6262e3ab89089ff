package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/consent/webhook"
	"github.com/sendgate/sendgate/policy"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const at = "1795435200" // noon

func mac(h func() hash.Hash, secret, text string) string {
	m := hmac.New(h, []byte(secret))
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// posted is a request as a platform makes it.
type posted struct {
	platform, secret, url, body string
	headers                     map[string]string
}

func (p posted) read(change func(*posted)) (webhook.Delivery, error) {
	if change != nil {
		headers := map[string]string{}
		for k, v := range p.headers {
			headers[k] = v
		}
		p.headers = headers
		change(&p)
	}
	s := webhook.Source{Platform: p.platform, URL: p.url}
	if p.secret != "" {
		s.Secrets = [][]byte{[]byte("the next one"), []byte(p.secret)}
	}
	return s.Read(&webhook.Call{Method: "POST", Header: func(name string) string { return p.headers[strings.ToLower(name)] }, Query: func(string) string { return "" }, Body: []byte(p.body), Now: now})
}

const metaText = `{"object":"whatsapp_business_account","entry":[{"id":"1022","changes":[{"field":"messages","value":{"messaging_product":"whatsapp",` +
	`"metadata":{"display_phone_number":"15550783881","phone_number_id":"106"},"contacts":[{"wa_id":"6581234567"}],"messages":[{"from":"6581234567","id":"wamid.A","timestamp":"1795435140","type":"text","text":{"body":"STOP"}},` +
	`{"from":"6581234568","id":"wamid.B","timestamp":"1795435140","type":"interactive","interactive":{"type":"button_reply","button_reply":{"id":"leave","title":"Leave"}}},` +
	`{"from":"6581234569","id":"wamid.C","timestamp":"1795435140","type":"button","button":{"payload":"stop-offers","text":"Stop"}}]}}]}]}`

// platformsPost is one message of each platform, signed as it signs.
func platformsPost() []posted {
	public, private, _ := ed25519.GenerateKey(strings.NewReader(strings.Repeat("seed", 16)))
	telnyx := `{"data":{"event_type":"message.received","id":"b3","occurred_at":"2026-11-23T11:59:00Z","payload":{"id":"t1","direction":"inbound","from":{"phone_number":"+6581234567"},"to":[{"phone_number":"+13125550100"}],"text":"STOP"}}}`
	vonage := `{"channel":"sms","message_uuid":"v1","to":"447700900000","from":"6581234567","timestamp":"2026-11-23T11:59:00Z","message_type":"text","text":"STOP"}`
	sum := sha256.Sum256([]byte(vonage))
	raw := base64.RawURLEncoding
	jwt := raw.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + raw.EncodeToString([]byte(`{"iat":`+at+`,"jti":"x","iss":"Vonage","payload_hash":"`+hex.EncodeToString(sum[:])+`"}`))
	m := hmac.New(sha256.New, []byte("vonage secret"))
	m.Write([]byte(jwt))
	jwt += "." + raw.EncodeToString(m.Sum(nil))
	sinch := `{"app_id":"a","accepted_time":"2026-11-23T11:59:00Z","message":{"id":"s1","direction":"TO_APP","contact_message":{"text_message":{"text":"STOP"}},"channel_identity":{"channel":"SMS","identity":"6581234567"},"accept_time":"2026-11-23T11:59:00Z","sender_id":"12345"}}`
	event := `{"senderPhoneNumber":"+6581234567","text":"STOP","messageId":"r1","sendTime":"2026-11-23T11:59:00Z","agentId":"acme_agent"}`
	form := url.Values{"From": {"whatsapp:+6581234567"}, "To": {"whatsapp:+15550783881"}, "Body": {"STOP"}, "MessageSid": {"SM1"}, "AccountSid": {"AC1"}, "NumMedia": {"0"}}
	signed := "https://gate.example.com/v1/webhooks/sms"
	for _, name := range []string{"AccountSid", "Body", "From", "MessageSid", "NumMedia", "To"} {
		signed += name + form.Get(name)
	}
	generic := `{"number":"+6581234567","sender":"12345","text":"STOP","occurredAt":"2026-11-23T11:59:00Z"}`
	meta := hmac.New(sha256.New, []byte("app secret"))
	meta.Write([]byte(metaText))
	return []posted{
		{"generic", "whsec_" + base64.StdEncoding.EncodeToString([]byte("generic secret")), "", generic,
			map[string]string{"webhook-id": "g1", "webhook-timestamp": at, "webhook-signature": "v1,bm8= v1," + mac(sha256.New, "generic secret", "g1."+at+"."+generic)}},
		{"twilio", "token", "https://gate.example.com/v1/webhooks/sms", form.Encode(), map[string]string{"x-twilio-signature": mac(sha1.New, "token", signed)}},
		{"meta", "app secret", "", metaText, map[string]string{"x-hub-signature-256": "sha256=" + hex.EncodeToString(meta.Sum(nil))}},
		{"telnyx", base64.StdEncoding.EncodeToString(public), "", telnyx, map[string]string{"telnyx-timestamp": at,
			"telnyx-signature-ed25519": base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(at+"|"+telnyx)))}},
		{"vonage", "vonage secret", "", vonage, map[string]string{"authorization": "Bearer " + jwt}},
		{"sinch", "sinch secret", "", sinch, map[string]string{"x-sinch-webhook-signature-timestamp": at, "x-sinch-webhook-signature-nonce": "n", "x-sinch-webhook-signature-algorithm": "HmacSHA256",
			"x-sinch-webhook-signature": mac(sha256.New, "sinch secret", sinch+".n."+at)}},
		{"rbm", "client token", "", `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(event)) + `","messageId":"1"},"subscription":"x"}`,
			map[string]string{"x-goog-signature": mac(sha512.New, "client token", event)}},
	}
}

func TestRead(t *testing.T) {
	posts := platformsPost()
	var names []string
	for _, p := range posts {
		names = append(names, p.platform)
		d, err := p.read(nil)
		if err != nil || len(d.Messages) == 0 {
			t.Errorf("%s: %+v, %v", p.platform, d, err)
			continue
		}
		m := d.Messages[0]
		early := now.Add(-time.Minute)
		if m.Number != "+6581234567" || m.Text != "STOP" || m.Sender == "" || m.Reference == "" || !m.At.Equal(early) && p.platform != "twilio" {
			t.Errorf("%s: %+v", p.platform, m)
		}
	}
	if want := policy.Platforms(); !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(want))) {
		t.Errorf("platforms %q are tried, the policy takes %q", names, want)
	}
	d, err := posts[2].read(nil)
	if err != nil || len(d.Messages) != 3 || d.Messages[1].Postback != "leave" || d.Messages[2].Postback != "stop-offers" || d.Messages[0].Sender != "+15550783881" {
		t.Errorf("meta: %+v, %v", d, err)
	}
}

// Whoever does not have the secret, or changes or repeats what somebody with the secret made, is refused.
func TestRead_refuses(t *testing.T) {
	for _, p := range platformsPost() {
		for name, change := range map[string]func(*posted){
			"another body":   func(p *posted) { p.body = strings.Replace(p.body, "e", "f", 1) },
			"no signature":   func(p *posted) { p.headers = nil },
			"another secret": func(p *posted) { p.secret = "another" },
			"a byte of each header": func(p *posted) {
				for k, v := range p.headers {
					if k != "x-sinch-webhook-signature-algorithm" {
						p.headers[k] = v[:len(v)/2] + map[bool]string{true: "A", false: "B"}[v[len(v)/2] == 'B'] + v[len(v)/2+1:]
					}
				}
			},
			"another address": func(p *posted) {
				if p.url += "/x"; p.platform != "twilio" {
					p.headers = nil // only Twilio signs it
				}
			},
		} {
			if _, err := p.read(change); !errors.Is(err, webhook.ErrSignature) {
				t.Errorf("%s, %s: %v", p.platform, name, err)
			}
		}
	}
	// What has a signed time is refused when it is posted again later.
	noon := now
	defer func() { now = noon }()
	for _, age := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
		now = noon.Add(age)
		for _, p := range platformsPost() {
			_, err := p.read(nil)
			if timed := slices.Contains([]string{"generic", "telnyx", "vonage", "sinch"}, p.platform); errors.Is(err, webhook.ErrSignature) != timed {
				t.Errorf("%s, %v later: %v", p.platform, age, err)
			}
		}
	}
}

// Signatures that the platforms publish as examples.
func TestRead_publishedSignatures(t *testing.T) {
	noon := now
	defer func() { now = noon }()
	now = time.Unix(1614265330, 0)
	standard := posted{"generic", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", `{"test": 2432232314}`,
		map[string]string{"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}}
	var form *webhook.FormError
	if _, err := standard.read(nil); !errors.As(err, &form) { // signed, and not a message
		t.Errorf("Standard Webhooks: %v", err)
	}
	twilio := posted{"twilio", "12345", "https://mycompany.com/myapp.php?foo=1&bar=2",
		url.Values{"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"}}.Encode(),
		map[string]string{"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}}
	if d, err := twilio.read(nil); err != nil || d.Messages[0].Number != "+14158675309" {
		t.Errorf("Twilio: %+v, %v", d, err)
	}
}

func TestRead_setUp(t *testing.T) {
	query := map[string]string{"hub.mode": "subscribe", "hub.verify_token": "word", "hub.challenge": "1158201444"}
	get := func(token string) (webhook.Delivery, error) {
		s := webhook.Source{Platform: "meta", Secrets: [][]byte{[]byte("x")}, VerifyToken: []byte(token)}
		return s.Read(&webhook.Call{Method: "GET", Header: func(string) string { return "" }, Query: func(k string) string { return query[k] }, Now: now})
	}
	if d, err := get("word"); err != nil || string(d.Answer) != "1158201444" {
		t.Errorf("meta: %q, %v", d.Answer, err)
	}
	for _, token := range []string{"", "another"} {
		if _, err := get(token); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("meta with %q: %v", token, err)
		}
	}
	greeting := posted{"rbm", "client token", "", `{"clientToken":"client token","secret":"1234567890"}`, nil}
	if d, err := greeting.read(nil); err != nil || string(d.Answer) != "1234567890" {
		t.Errorf("rbm: %q, %v", d.Answer, err)
	}
	if _, err := greeting.read(func(p *posted) { p.secret = "another" }); !errors.Is(err, webhook.ErrSignature) {
		t.Errorf("rbm with another token: %v", err)
	}
}

func rbm(event string) posted {
	return posted{"rbm", "", "", `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(event)) + `"}}`, nil}
}

func TestRead_events(t *testing.T) {
	for _, c := range []struct {
		post posted
		want string
	}{
		{rbm(`{"senderPhoneNumber":"+6581234567","eventType":"UNSUBSCRIBE","eventId":"e1","agentId":"a"}`), `+6581234567 a "STOP" "" e1 true`},
		{rbm(`{"userEvent":{"senderPhoneNumber":"6581234567","eventType":"SUBSCRIBE","eventId":"e2","agentId":"a"}}`), `+6581234567 a "START" "" e2 true`},
		{rbm(`{"senderPhoneNumber":"+6581234567","suggestionResponse":{"postbackData":"leave","text":"Leave"},"messageId":"m","agentId":"a"}`), `+6581234567 a "" "leave" m false`},
		{rbm(`{"senderPhoneNumber":"+6581234567","eventType":"READ","agentId":"a"}`), ``},
		{posted{"twilio", "", "", "From=%2B6581234567&To=12345&Body=stop+it&OptOutType=STOP&MessageSid=SM1", nil}, `+6581234567 12345 "STOP" "" SM1 true`},
		{posted{"telnyx", "", "", `{"data":{"event_type":"message.finalized","payload":{}}}`, nil}, ``},
		{posted{"sinch", "", "", `{"message_delivery_report":{}}`, nil}, ``},
		{posted{"meta", "", "", `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"user_preferences","value":{"metadata":{"display_phone_number":"1555"},"user_preferences":[{"wa_id":"6581234567","value":"stop","category":"marketing_messages","timestamp":1795435140}]}}]}]}`, nil},
			`+6581234567 +1555 "STOP" "" preference/stop/1795435140 true`},
	} {
		d, err := c.post.read(nil)
		got := ""
		for _, m := range d.Messages {
			got += fmt.Sprintf("%s %s %q %q %s %v", m.Number, m.Sender, m.Text, m.Postback, m.Reference, m.Answered)
		}
		if err != nil || got != c.want {
			t.Errorf("%s %s\ngot  %s, %v\nwant %s", c.post.platform, c.post.body, got, err, c.want)
		}
	}
	d, err := rbm(`{"agentLaunchEvent":{"eventId":"e","agentId":"a","regionId":"fi-rcs","oldLaunchState":"PENDING","newLaunchState":"LAUNCHED","sendTime":"2026-11-23T11:59:00Z"}}`).read(nil)
	if err != nil || len(d.Templates) != 1 || d.Templates[0].ID != (template.ID{Business: "a", Name: template.AgentName, Language: "fi-rcs"}) || d.Templates[0].Event != "APPROVED" {
		t.Errorf("launched: %+v, %v", d, err)
	}
	g := posted{"generic", "", "", `{"templates":[{"businessAccount":"1","name":"offer","language":"en","status":"PAUSED","title":"FIRST_PAUSE","quality":"RED","occurredAt":"2026-11-23T11:59:00Z"}]}`, nil}
	if d, err := g.read(nil); err != nil || len(d.Templates) != 2 || d.Templates[0].Title != "FIRST_PAUSE" || d.Templates[1].Quality != template.Red {
		t.Errorf("templates: %+v, %v", d, err)
	}
	for _, bad := range []posted{{"generic", "", "", `{"nummer":"+65"}`, nil}, {"generic", "", "", `{}`, nil}, {"generic", "", "", `{"number":"+65","occurredAt":"noon"}`, nil},
		{"twilio", "", "", "Body=STOP", nil}, {"meta", "", "", `{"object":"page"}`, nil}, {"vonage", "", "", `{}`, nil}, {"rbm", "", "", `{}`, nil}, {"telnyx", "", "", `[`, nil},
		{"generic", "", "", strings.Repeat(" ", webhook.MaxBody+1), nil}} {
		var form *webhook.FormError
		if _, err := bad.read(nil); !errors.As(err, &form) {
			t.Errorf("%s %.40s: %v", bad.platform, bad.body, err)
		}
	}
}

func TestPublished(t *testing.T) {
	if p, err := webhook.Published("telnyx", "global"); err != nil || len(p) != 1 {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := webhook.Published("telnyx", "mars"); err == nil || !strings.Contains(err.Error(), "write global") {
		t.Errorf("another region: %v", err)
	}
	if _, err := webhook.Published("twilio", "us1"); err == nil || !strings.Contains(err.Error(), "write them yourself") {
		t.Errorf("a platform that publishes none: %v", err)
	}
}

// Nothing that is posted crashes a reader, and nothing unsigned is read.
func FuzzRead(f *testing.F) {
	for _, p := range platformsPost() {
		f.Add(p.platform, p.body)
	}
	f.Add("rbm", `{"message":{"data":"e30="}}`)
	f.Add("twilio", "%zz&From=x")
	f.Fuzz(func(t *testing.T, platform, body string) {
		p := posted{platform: platform, body: body}
		if d, err := p.read(nil); err == nil {
			for _, m := range d.Messages {
				if m.Number == "" {
					t.Errorf("a message of nobody: %+v", m)
				}
			}
		}
		p.secret = "secret"
		if d, err := p.read(nil); err == nil && len(d.Messages)+len(d.Templates) > 0 {
			t.Error("unsigned, and read")
		}
	})
}
