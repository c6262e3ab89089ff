package webhook

import (
	"crypto/hmac"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/sendgate/sendgate/consent/template"
)

const (
	// MaxBody is the most bytes that are read: what Meta batches.
	MaxBody = template.MaxBody
	// tolerance is how old, or how early, a signed time may be.
	tolerance = 5 * time.Minute
	// maxMessages is how many messages one call may have.
	maxMessages = 1000
)

// Source is a platform that posts, and how it is known.
type Source struct {
	Platform string // one of Platforms
	// Secrets are what the platform signs with; any may have signed. None: signatures are not looked at, so something else has to tell
	// who posts.
	Secrets [][]byte
	// VerifyToken is the word that Meta shows when a webhook is set up. Empty: setting up is refused.
	VerifyToken []byte
	// URL is where the platform believes to post.
	URL string
}

// Call is one request.
type Call struct {
	Method string // "GET" or "POST"
	Header func(name string) string
	Query  func(name string) string
	Body   []byte
	Now    time.Time
}

// Message is what a person wrote.
type Message struct {
	Number, Sender, Text, Postback string
	// Reference is the platform's id of the message, At when it says it was written; zero for unknown.
	Reference string
	At        time.Time
	// Answered says that the platform has answered it already.
	Answered bool
}

// Delivery is what a call brought.
type Delivery struct {
	Messages []Message
	// Templates are without their account.
	Templates []template.Event
	// Answer is what the platform wants to hear when a webhook is set up; nil else.
	Answer []byte
}

// ErrSignature is returned for a call that was not signed by the platform, or too long ago.
var ErrSignature = errors.New("webhook: the signature is missing, wrong or too old")

// FormError says that a call is not what the platform posts. It quotes nothing.
type FormError struct{ What string }

func (e *FormError) Error() string { return "webhook: " + e.What }

func wrong(format string, args ...any) error { return &FormError{fmt.Sprintf(format, args...)} }

// platform is how one platform signs and posts.
type platform struct {
	verify func(s *Source, secret []byte, c *Call) bool
	read   func(s *Source, c *Call) (Delivery, error)
	// greet answers a call that sets the webhook up; nil where there is none. False: it is no such call.
	greet func(s *Source, c *Call) (answer []byte, is bool)
}

func platforms() map[string]platform {
	return map[string]platform{
		"generic": {verify: verifyStandard, read: readGeneric},
		"twilio":  {verify: verifyTwilio, read: readTwilio},
		"meta":    {verify: verifyMeta, read: readMeta, greet: greetMeta},
		"telnyx":  {verify: verifyTelnyx, read: readTelnyx},
		"vonage":  {verify: verifyVonage, read: readVonage},
		"sinch":   {verify: verifySinch, read: readSinch},
		"rbm":     {verify: verifyRBM, read: readRBM, greet: greetRBM},
	}
}

// Read verifies a call and reads it. The error is ErrSignature or a *FormError.
func (s *Source) Read(c *Call) (Delivery, error) {
	p, ok := platforms()[s.Platform]
	if !ok {
		return Delivery{}, wrong("platform %q is not known", s.Platform)
	}
	if len(c.Body) > MaxBody {
		return Delivery{}, wrong("%d bytes: %d at most are read", len(c.Body), MaxBody)
	}
	if p.greet != nil {
		if answer, is := p.greet(s, c); is {
			if answer == nil {
				return Delivery{}, ErrSignature
			}
			return Delivery{Answer: answer}, nil
		}
	}
	if c.Method != "POST" {
		return Delivery{}, wrong("post to this address")
	}
	signed := len(s.Secrets) == 0
	for _, secret := range s.Secrets {
		signed = signed || len(secret) > 0 && p.verify(s, secret, c)
	}
	if !signed {
		return Delivery{}, ErrSignature
	}
	d, err := p.read(s, c)
	if err == nil && len(d.Messages) > maxMessages {
		err = wrong("%d messages: post %d at most at a time", len(d.Messages), maxMessages)
	}
	if err != nil {
		return Delivery{}, err
	}
	return d, nil
}

// signedBy says that a text is the base64 of an HMAC of parts.
func signedBy(h func() hash.Hash, secret []byte, signature string, parts ...[]byte) bool {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(h, secret)
	for _, p := range parts {
		mac.Write(p)
	}
	return hmac.Equal(given, mac.Sum(nil))
}

func same(a, b []byte) bool { return len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }

// fresh says that a signed time in Unix seconds is near.
func fresh(text string, now time.Time) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return false
	}
	age := now.Sub(time.Unix(n, 0))
	return -tolerance <= age && age <= tolerance
}

// decode reads JSON. Fields that are not asked for are passed over.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return wrong("not the JSON that is posted here")
	}
	return nil
}

// plus writes a number that platforms write without its sign.
func plus(digits string) string {
	if digits == "" || strings.HasPrefix(digits, "+") {
		return digits
	}
	return "+" + digits
}

// moment reads RFC 3339; zero for anything else.
func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func unix(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > 1<<33 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
