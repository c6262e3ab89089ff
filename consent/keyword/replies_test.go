package keyword_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/consent/keyword"
)

func texts(language string, kind keyword.Kind, text string) keyword.Texts {
	return keyword.Texts{Brand: "Acme", Support: "help@acme.example", Replies: map[string]map[keyword.Kind]string{language: {kind: text}}}
}

func TestNewReplies_defaultsHoldAll(t *testing.T) {
	r, err := keyword.NewReplies(keyword.Texts{Brand: "Acme Coffee", Support: "+1 800 555 0100"})
	if err != nil {
		t.Fatal(err)
	}
	k := book(t, keyword.Options{})
	for text, want := range map[string]string{
		"stop":  "Acme Coffee: You are unsubscribed and will receive no further messages. Reply START to resubscribe.",
		"start": "Acme Coffee: You are subscribed. Message frequency varies. Msg & data rates may apply. Reply HELP for help, STOP to cancel.",
		"help":  "Acme Coffee: For help, contact +1 800 555 0100. Msg & data rates may apply. Reply STOP to cancel.",
		"hello": "",
	} {
		if got := r.For(k.Match(text)); got != want {
			t.Errorf("%q is answered %q, want %q", text, got, want)
		}
	}
}

// Each thing that a reply has to hold is missed when it is not there.
func TestNewReplies_refuses(t *testing.T) {
	const out, welcome, help = keyword.ReplyOptOut, keyword.ReplyWelcome, keyword.ReplyHelp
	for _, c := range []struct {
		kind     keyword.Kind
		language string
		text     string
		want     string // "" for a text that is fine
	}{
		{out, "en", "Acme: You are opted out. We will not text you again. START brings you back.", ""},
		{out, "en", "You are opted out. We will not text you again. START brings you back.", "does not say the brand"},
		{out, "en", "Acmes: You are opted out, no more messages. START brings you back.", "does not say the brand"},
		{out, "en", "Acme: no more messages. START brings you back.", "that the person is out"},
		{out, "en", "Acme: You are unsubscribed. Reply START to resubscribe.", "no further messages"},
		{out, "en", "Acme: You are unsubscribed, no more messages.", "how to come back: START"},
		{out, "en", "Acme: You are unsubscribed, no more messages. Restart any time.", "how to come back: START"},
		{out, "en", "Acme: You are unsubscribed, no more messages. START for 20% off!", "advertises"},
		{out, "en", "Acme: You are unsubscribed, no more messages. START. " + strings.Repeat("x", 500), "write 459 at most"},
		{welcome, "en", "Acme: 4 msgs/mo. Data rates may apply. STOP to cancel, HELP for help.", ""},
		{welcome, "en", "Acme: Data rates may apply. STOP to cancel, HELP for help.", "how often"},
		{welcome, "en", "Acme: 4 msgs/mo. STOP to cancel, HELP for help.", "rates may apply"},
		{welcome, "en", "Acme: 4 msgs/mo. Data rates may apply. HELP for help.", "how to leave: STOP"},
		{welcome, "en", "Acme: 4 msgs/mo. Data rates may apply. STOP to cancel.", "how to get help: HELP"},
		{help, "en", "Acme: write to {support} or see acme.example/help. STOP to cancel.", ""},
		{help, "en", "Acme: call 800-555-0100. STOP to cancel.", ""},
		{help, "en", "Acme: ask your shop. STOP to cancel.", "a support contact"},
		{help, "en", "Acme: {support}.", "how to leave: STOP"},
		{out, "es", "{brand}: Se ha dado de baja y no recibirá más mensajes. Responda START para volver.", ""},
		{out, "es", "{brand}: Se ha dado de baja. Responda START para volver.", "no further messages"},
		{out, "sw", "{brand}: Umeondolewa. START kurudi.", ""},
		{out, "sw", "{brand}: Umeondolewa.", "how to come back"},
		{"bye", "en", "x", "write opt_out, welcome or help"},
	} {
		_, err := keyword.NewReplies(texts(c.language, c.kind, c.text))
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
	if _, err := keyword.NewReplies(keyword.Texts{Brand: "Acme"}); err == nil || !strings.Contains(err.Error(), "support") {
		t.Errorf("no support contact: %v", err)
	}
}

func TestReplies_language(t *testing.T) {
	r, err := keyword.NewReplies(texts("es", keyword.ReplyHelp, "{brand}: Ayuda en {support}. STOP para salir."))
	if err != nil {
		t.Fatal(err)
	}
	k := book(t, keyword.Options{Languages: []string{"es", "fr"}})
	for text, want := range map[string]string{"ayuda": "Acme: Ayuda en", "aide": "Acme: For help", "baja": "Acme: You are unsubscribed"} {
		if got := r.For(k.Match(text)); !strings.HasPrefix(got, want) {
			t.Errorf("%q is answered %q, want %q", text, got, want)
		}
	}
}
