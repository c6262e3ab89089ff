package keyword

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Texts are the replies of one sender. {brand} and {support} in a text stand for the two fields.
type Texts struct {
	// Brand is who writes, as people know it. Required.
	Brand string
	// Support is where a person gets help: an address, a link or a phone number. Required.
	Support string
	// Frequency is how often messages come, as the welcome says it. Default "Message frequency varies".
	Frequency string
	// Replies are by language and kind. What is left out in English is a default text; in other languages English answers.
	Replies map[string]map[Kind]string
}

// Replies are checked texts, ready to send. They never change and are safe for concurrent use.
type Replies struct {
	text map[string]map[Kind]string
}

func defaults() map[Kind]string {
	return map[Kind]string{
		ReplyOptOut:  "{brand}: You are unsubscribed and will receive no further messages. Reply START to resubscribe.",
		ReplyWelcome: "{brand}: You are subscribed. {frequency}. Msg & data rates may apply. Reply HELP for help, STOP to cancel.",
		ReplyHelp:    "{brand}: For help, contact {support}. Msg & data rates may apply. Reply STOP to cancel.",
	}
}

// NewReplies fills in the texts and checks each. The error joins everything that is missing.
func NewReplies(t Texts) (*Replies, error) {
	if t.Brand == "" || t.Support == "" {
		return nil, errors.New("keyword: replies: brand and support are required: carriers ask for both in each sender's replies")
	}
	if t.Frequency == "" {
		t.Frequency = "Message frequency varies"
	}
	r := &Replies{text: map[string]map[Kind]string{English: {}}}
	for kind, text := range defaults() {
		r.text[English][kind] = text
	}
	var errs []error
	for _, code := range slices.Sorted(maps.Keys(t.Replies)) {
		if r.text[code] == nil {
			r.text[code] = map[Kind]string{}
		}
		for _, kind := range slices.Sorted(maps.Keys(t.Replies[code])) {
			if defaults()[kind] == "" {
				errs = append(errs, fmt.Errorf("keyword: replies: kind %q: write opt_out, welcome or help", kind))
				continue
			}
			r.text[code][kind] = t.Replies[code][kind]
		}
	}
	fill := strings.NewReplacer("{brand}", t.Brand, "{support}", t.Support, "{frequency}", t.Frequency)
	for _, code := range slices.Sorted(maps.Keys(r.text)) {
		for _, kind := range slices.Sorted(maps.Keys(r.text[code])) {
			text := fill.Replace(r.text[code][kind])
			for _, p := range CheckReply(kind, code, t.Brand, text) {
				errs = append(errs, errors.New("keyword: "+p))
			}
			r.text[code][kind] = text
		}
	}
	return r, errors.Join(errs...)
}

// For is the reply to a message, in its language where there is one; "" for a message for people.
func (r *Replies) For(m Match) string {
	switch m.Action {
	case OptOut:
		return r.Text(ReplyOptOut, m.Language)
	case OptIn, Confirm:
		return r.Text(ReplyWelcome, m.Language)
	case Help:
		return r.Text(ReplyHelp, m.Language)
	}
	return ""
}

// Text is one reply in a language, else in English.
func (r *Replies) Text(kind Kind, language string) string {
	if text := r.text[language][kind]; text != "" {
		return text
	}
	return r.text[English][kind]
}
