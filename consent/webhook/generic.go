package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/sendgate/sendgate/consent/template"
)

// Standard Webhooks (standardwebhooks.com): webhook-id, webhook-timestamp and webhook-signature, "v1," and an HMAC-SHA-256 of
// id.timestamp.body; several with spaces. A secret that begins with whsec_ is base64.
func verifyStandard(_ *Source, secret []byte, c *Call) bool {
	id, at := c.Header("webhook-id"), c.Header("webhook-timestamp")
	if id == "" || !fresh(at, c.Now) {
		return false
	}
	if text, ok := bytes.CutPrefix(secret, []byte("whsec_")); ok {
		raw, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return false
		}
		secret = raw
	}
	for part := range strings.FieldsSeq(c.Header("webhook-signature")) {
		if sig, ok := strings.CutPrefix(part, "v1,"); ok && signedBy(sha256.New, secret, sig, []byte(id+"."+at+"."), c.Body) {
			return true
		}
	}
	return false
}

type genericBody struct {
	genericMessage
	Messages  []genericMessage  `json:"messages"`
	Templates []genericTemplate `json:"templates"`
}

type genericMessage struct {
	Number     string `json:"number"`
	Sender     string `json:"sender"`
	Text       string `json:"text"`
	Postback   string `json:"postback"`
	Reference  string `json:"reference"`
	OccurredAt string `json:"occurredAt"`
}

type genericTemplate struct {
	BusinessAccount string `json:"businessAccount"`
	Name            string `json:"name"`
	Language        string `json:"language"`
	Status          string `json:"status"`
	Title           string `json:"title"`
	Quality         string `json:"quality"`
	Category        string `json:"category"`
	OccurredAt      string `json:"occurredAt"`
}

// readGeneric reads one message, or lists. It is our own form, so a field that it does not have is a mistake.
func readGeneric(_ *Source, c *Call) (Delivery, error) {
	var in genericBody
	d := json.NewDecoder(bytes.NewReader(c.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || d.More() {
		return Delivery{}, wrong(`not what is posted here: write {"number":"+6581234567","sender":"12345","text":"STOP","reference":"id of the message"}, or lists of messages and templates`)
	}
	all := in.Messages
	if in.Number != "" {
		all = append(all, in.genericMessage)
	}
	var out Delivery
	for _, m := range all {
		if m.Number == "" {
			return Delivery{}, wrong("a message without number: write who wrote it")
		}
		if len(all) == 1 && m.Reference == "" {
			m.Reference = c.Header("webhook-id")
		}
		at := moment(m.OccurredAt)
		if m.OccurredAt != "" && at.IsZero() {
			return Delivery{}, wrong("occurredAt: write a time such as 2026-11-23T12:00:00Z")
		}
		out.Messages = append(out.Messages, Message{Number: m.Number, Sender: m.Sender, Text: m.Text, Postback: m.Postback, Reference: m.Reference, At: at})
	}
	for _, t := range in.Templates {
		at := moment(t.OccurredAt)
		if at.IsZero() || t.Name == "" {
			return Delivery{}, wrong("templates: write name and occurredAt for each")
		}
		e := template.Event{ID: template.ID{Business: t.BusinessAccount, Name: t.Name, Language: t.Language}, At: at, Event: t.Status, Title: t.Title,
			Quality: template.Quality(t.Quality), Category: template.Category(t.Category)}
		if err := e.Check(); err != nil {
			return Delivery{}, wrong("templates: %v", err)
		}
		if t.Status != "" {
			e.What = template.StatusUpdate
			out.Templates = append(out.Templates, e)
		} else if t.Category != "" {
			e.What = template.CategoryUpdate
			out.Templates = append(out.Templates, e)
		}
		if t.Quality != "" {
			e.What = template.QualityUpdate
			out.Templates = append(out.Templates, e)
		}
	}
	if len(out.Messages)+len(out.Templates) == 0 {
		return out, wrong("it has no message: write number and text")
	}
	return out, nil
}
