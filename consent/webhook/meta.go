package webhook

import (
	"fmt"
	"strings"

	"github.com/sendgate/sendgate/consent/template"
)

func verifyMeta(_ *Source, secret []byte, c *Call) bool {
	return template.VerifySignature(secret, c.Header("X-Hub-Signature-256"), c.Body)
}

// greetMeta answers when the webhook is set up: Meta shows the word that was agreed and wants its challenge back.
func greetMeta(s *Source, c *Call) (answer []byte, is bool) {
	if c.Method != "GET" {
		return nil, false
	}
	if c.Query("hub.mode") != "subscribe" || !same(s.VerifyToken, []byte(c.Query("hub.verify_token"))) || c.Query("hub.challenge") == "" {
		return nil, true
	}
	return []byte(c.Query("hub.challenge")), true
}

// metaBody is what WhatsApp's Cloud API posts. What is about templates is read elsewhere.
type metaBody struct {
	Entry []struct {
		Changes []struct {
			Value struct {
				Metadata struct {
					Number string `json:"display_phone_number"`
				} `json:"metadata"`
				Messages []struct {
					From      string `json:"from"`
					ID        string `json:"id"`
					Timestamp string `json:"timestamp"`
					Text      struct {
						Body string `json:"body"`
					} `json:"text"`
					Button struct {
						Payload string `json:"payload"`
						Text    string `json:"text"`
					} `json:"button"`
					Interactive struct {
						Button struct {
							ID string `json:"id"`
						} `json:"button_reply"`
						List struct {
							ID string `json:"id"`
						} `json:"list_reply"`
					} `json:"interactive"`
				} `json:"messages"`
				// Preferences are what people set in WhatsApp: "stop" or "resume" of marketing.
				Preferences []struct {
					Person    string `json:"wa_id"`
					Value     string `json:"value"`
					Timestamp int64  `json:"timestamp"`
				} `json:"user_preferences"`
			} `json:"value"`
		} `json:"changes"`
	} `json:"entry"`
}

func readMeta(_ *Source, c *Call) (Delivery, error) {
	templates, err := template.ParseWhatsApp(c.Body)
	if err != nil {
		return Delivery{}, wrong("%s", strings.TrimPrefix(err.Error(), "template: webhook: "))
	}
	var in metaBody
	if err := decode(c.Body, &in); err != nil {
		return Delivery{}, err
	}
	out := Delivery{Templates: templates}
	for _, e := range in.Entry {
		for _, change := range e.Changes {
			v := &change.Value
			sender := plus(v.Metadata.Number)
			for _, m := range v.Messages {
				if m.From == "" {
					continue // a notice of WhatsApp itself
				}
				one := Message{Number: plus(m.From), Sender: sender, Text: m.Text.Body, Reference: m.ID, At: unix(m.Timestamp)}
				for _, tapped := range []string{m.Button.Payload, m.Button.Text, m.Interactive.Button.ID, m.Interactive.List.ID} {
					if one.Postback == "" {
						one.Postback = tapped
					}
				}
				out.Messages = append(out.Messages, one)
			}
			for _, p := range v.Preferences {
				words := map[string]string{"stop": "STOP", "resume": "START"}
				if words[p.Value] != "" && p.Person != "" {
					out.Messages = append(out.Messages, Message{Number: plus(p.Person), Sender: sender, Text: words[p.Value], Reference: fmt.Sprintf("preference/%s/%d", p.Value, p.Timestamp), At: unixSeconds(p.Timestamp), Answered: true})
				}
			}
		}
	}
	return out, nil
}
