package webhook

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/sendgate/sendgate/consent/template"
)

// rbmEnvelope is what RCS for Business posts: data in base64, or a greeting when the webhook is set up.
type rbmEnvelope struct {
	ClientToken string `json:"clientToken"`
	Secret      string `json:"secret"`
	Message     struct {
		Data string `json:"data"`
	} `json:"message"`
}

func rbmData(body []byte) (data []byte, ok bool) {
	var in rbmEnvelope
	if json.Unmarshal(body, &in) != nil || in.Message.Data == "" {
		return nil, false
	}
	data, err := base64.StdEncoding.DecodeString(in.Message.Data)
	return data, err == nil
}

// X-Goog-Signature is an HMAC-SHA-512 of the data under the client token.
func verifyRBM(_ *Source, secret []byte, c *Call) bool {
	data, ok := rbmData(c.Body)
	return ok && signedBy(sha512.New, secret, c.Header("X-Goog-Signature"), data)
}

// greetRBM answers with the secret of a greeting that has the right token.
func greetRBM(s *Source, c *Call) (answer []byte, is bool) {
	var in rbmEnvelope
	if json.Unmarshal(c.Body, &in) != nil || in.ClientToken == "" || in.Secret == "" {
		return nil, false
	}
	for _, secret := range s.Secrets {
		if same(secret, []byte(in.ClientToken)) {
			return []byte(in.Secret), true
		}
	}
	return nil, true
}

// rbmEvent is what a person did, or what became of an agent.
type rbmEvent struct {
	Number     string `json:"senderPhoneNumber"`
	Text       string `json:"text"`
	Suggestion struct {
		Postback string `json:"postbackData"`
	} `json:"suggestionResponse"`
	Type      string `json:"eventType"`
	MessageID string `json:"messageId"`
	EventID   string `json:"eventId"`
	At        string `json:"sendTime"`
	Agent     string `json:"agentId"`
	// Of a launch.
	Region string `json:"regionId"`
	State  string `json:"newLaunchState"`
}

func readRBM(_ *Source, c *Call) (Delivery, error) {
	data, ok := rbmData(c.Body)
	if !ok {
		return Delivery{}, wrong("not what RCS for Business posts: it has no message.data")
	}
	var in struct {
		rbmEvent
		User   *rbmEvent `json:"userEvent"`
		Launch *rbmEvent `json:"agentLaunchEvent"`
	}
	if err := decode(data, &in); err != nil {
		return Delivery{}, err
	}
	e := &in.rbmEvent
	if in.User != nil {
		e = in.User
	} else if in.Launch != nil {
		e = in.Launch
	}
	if e.State != "" {
		return launch(e), nil
	}
	m := Message{Number: plus(e.Number), Sender: e.Agent, Text: e.Text, Postback: e.Suggestion.Postback, Reference: e.MessageID, At: moment(e.At)}
	switch e.Type {
	case "":
	case "UNSUBSCRIBE":
		m.Text, m.Reference, m.Answered = "STOP", e.EventID, true
	case "SUBSCRIBE":
		m.Text, m.Reference, m.Answered = "START", e.EventID, true
	default:
		return Delivery{}, nil // DELIVERED, READ, IS_TYPING
	}
	if m.Number == "" {
		return Delivery{}, wrong("an event without senderPhoneNumber")
	}
	return Delivery{Messages: []Message{m}}, nil
}

// launch is a change of where an agent is launched.
func launch(e *rbmEvent) Delivery {
	status := map[string]string{"LAUNCHED": "APPROVED", "PENDING": "PENDING", "PENDING_LAUNCH": "PENDING", "REJECTED": "REJECTED", "UNLAUNCHED": "DISABLED", "SUSPENDED": "DISABLED"}[strings.TrimPrefix(e.State, "LAUNCH_STATE_")]
	if status == "" || e.Agent == "" || moment(e.At).IsZero() {
		return Delivery{}
	}
	return Delivery{Templates: []template.Event{{ID: template.ID{Business: e.Agent, Name: template.AgentName, Language: e.Region}, What: template.StatusUpdate, At: moment(e.At), Event: status}}}
}
