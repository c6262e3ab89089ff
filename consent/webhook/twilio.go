package webhook

import (
	"crypto/sha1" //nolint:gosec // what Twilio signs with
	"net/url"
	"slices"
	"strings"
)

// X-Twilio-Signature is an HMAC-SHA-1 under the auth token of the URL, as Twilio has it, and all fields of the form in the order of their
// names, each followed by its value.
func verifyTwilio(s *Source, secret []byte, c *Call) bool {
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return false
	}
	var signed strings.Builder
	signed.WriteString(s.URL)
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			signed.WriteString(name + v)
		}
	}
	return signedBy(sha1.New, secret, c.Header("X-Twilio-Signature"), []byte(signed.String()))
}

func readTwilio(_ *Source, c *Call) (Delivery, error) {
	form, err := url.ParseQuery(string(c.Body))
	if err != nil || form.Get("From") == "" {
		return Delivery{}, wrong("not the form that Twilio posts for a message: it has no From")
	}
	id := form.Get("MessageSid")
	if id == "" {
		id = form.Get("SmsSid")
	}
	m := Message{Number: address(form.Get("From")), Sender: address(form.Get("To")), Text: form.Get("Body"), Postback: form.Get("ButtonPayload"), Reference: id}
	// Where Twilio looks for keywords itself, it says what it found and has answered.
	if found := form.Get("OptOutType"); found != "" {
		m.Text, m.Postback, m.Answered = found, "", true
	}
	return Delivery{Messages: []Message{m}}, nil
}

// address is what stands behind the channel: whatsapp:+6581234567.
func address(text string) string {
	if channel, rest, ok := strings.Cut(text, ":"); ok && channel != "" {
		return rest
	}
	return text
}
