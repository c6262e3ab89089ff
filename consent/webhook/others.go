package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

func unixSeconds(n int64) time.Time { return unix(strconv.FormatInt(n, 10)) }

// Telnyx signs timestamp|body with Ed25519. The secret is its public key, base64.
func verifyTelnyx(_ *Source, secret []byte, c *Call) bool {
	key, err := base64.StdEncoding.DecodeString(string(secret))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	sig, err := base64.StdEncoding.DecodeString(c.Header("telnyx-signature-ed25519"))
	at := c.Header("telnyx-timestamp")
	return err == nil && fresh(at, c.Now) && ed25519.Verify(key, append([]byte(at+"|"), c.Body...), sig)
}

func readTelnyx(_ *Source, c *Call) (Delivery, error) {
	type party struct {
		Number string `json:"phone_number"`
	}
	var in struct {
		Data struct {
			Type    string `json:"event_type"`
			At      string `json:"occurred_at"`
			Payload struct {
				ID        string  `json:"id"`
				Direction string  `json:"direction"`
				From      party   `json:"from"`
				To        []party `json:"to"`
				Text      string  `json:"text"`
			} `json:"payload"`
		} `json:"data"`
	}
	if err := decode(c.Body, &in); err != nil {
		return Delivery{}, err
	}
	if in.Data.Type != "message.received" {
		return Delivery{}, nil // what became of a message of ours
	}
	p := &in.Data.Payload
	if p.From.Number == "" {
		return Delivery{}, wrong("a message without from.phone_number")
	}
	m := Message{Number: p.From.Number, Text: p.Text, Reference: p.ID, At: moment(in.Data.At)}
	if len(p.To) > 0 {
		m.Sender = p.To[0].Number
	}
	return Delivery{Messages: []Message{m}}, nil
}

// Vonage sends a JWT, HS256 under the signature secret, with a SHA-256 of the body.
func verifyVonage(_ *Source, secret []byte, c *Call) bool {
	token, ok := strings.CutPrefix(c.Header("Authorization"), "Bearer ")
	part := strings.Split(token, ".")
	if !ok || len(part) != 3 {
		return false
	}
	var head struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		At   int64  `json:"iat"`
		Hash string `json:"payload_hash"`
	}
	raw := make([][]byte, 3)
	for i, text := range part {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(text); err != nil {
			return false
		}
	}
	if json.Unmarshal(raw[0], &head) != nil || head.Alg != "HS256" || json.Unmarshal(raw[1], &claims) != nil {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(part[0] + "." + part[1]))
	sum := sha256.Sum256(c.Body)
	return hmac.Equal(mac.Sum(nil), raw[2]) && same([]byte(strings.ToLower(claims.Hash)), []byte(hex.EncodeToString(sum[:]))) && fresh(strconv.FormatInt(claims.At, 10), c.Now)
}

func readVonage(_ *Source, c *Call) (Delivery, error) {
	var in struct {
		ID    string `json:"message_uuid"`
		From  string `json:"from"`
		To    string `json:"to"`
		Text  string `json:"text"`
		At    string `json:"timestamp"`
		Reply struct {
			ID string `json:"id"`
		} `json:"reply"`
		Button struct {
			Payload string `json:"payload"`
		} `json:"button"`
	}
	if err := decode(c.Body, &in); err != nil {
		return Delivery{}, err
	}
	if in.From == "" {
		return Delivery{}, wrong("a message without from")
	}
	m := Message{Number: plus(in.From), Sender: in.To, Text: in.Text, Postback: in.Reply.ID, Reference: in.ID, At: moment(in.At)}
	if m.Postback == "" {
		m.Postback = in.Button.Payload
	}
	return Delivery{Messages: []Message{m}}, nil
}

// Sinch's Conversation API signs body.nonce.timestamp.
func verifySinch(_ *Source, secret []byte, c *Call) bool {
	at, nonce := c.Header("x-sinch-webhook-signature-timestamp"), c.Header("x-sinch-webhook-signature-nonce")
	return c.Header("x-sinch-webhook-signature-algorithm") == "HmacSHA256" && nonce != "" && fresh(at, c.Now) &&
		signedBy(sha256.New, secret, c.Header("x-sinch-webhook-signature"), c.Body, []byte("."+nonce+"."+at))
}

func readSinch(_ *Source, c *Call) (Delivery, error) {
	var in struct {
		Message struct {
			ID        string `json:"id"`
			Direction string `json:"direction"`
			At        string `json:"accept_time"`
			Sender    string `json:"sender_id"`
			Identity  struct {
				Identity string `json:"identity"`
			} `json:"channel_identity"`
			Contact struct {
				Text struct {
					Text string `json:"text"`
				} `json:"text_message"`
				Choice struct {
					Postback string `json:"postback_data"`
				} `json:"choice_response_message"`
			} `json:"contact_message"`
		} `json:"message"`
	}
	if err := decode(c.Body, &in); err != nil {
		return Delivery{}, err
	}
	m := &in.Message
	if m.Direction != "TO_APP" {
		return Delivery{}, nil // what became of a message of ours
	}
	if m.Identity.Identity == "" {
		return Delivery{}, wrong("a message without channel_identity.identity")
	}
	return Delivery{Messages: []Message{{Number: plus(m.Identity.Identity), Sender: m.Sender, Text: m.Contact.Text.Text, Postback: m.Contact.Choice.Postback,
		Reference: m.ID, At: moment(m.At)}}}, nil
}
