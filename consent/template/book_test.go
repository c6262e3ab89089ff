package template_test

import (
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
)

func status(business, name, word, title string, at time.Duration) template.Event {
	return template.Event{ID: template.ID{Account: "acme", Business: business, Name: name, Language: "en"}, What: template.StatusUpdate,
		At: start.Add(at), Event: word, Title: title, Category: template.Marketing}
}

func open(t *testing.T, p template.Pacing, events ...template.Event) *template.Book {
	t.Helper()
	b, err := template.Open(t.Context(), new(consent.Memory), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	return b
}

// A send that does not say which business is judged by the strictest, and another account's template is none of its business.
func TestAdmit_businesses(t *testing.T) {
	b := open(t, template.Pacing{}, status("1", "offer", "APPROVED", "", 0), status("2", "offer", "PAUSED", "FIRST_PAUSE", 0), status("3", "offer", "REJECTED", "", 0))
	for _, c := range []struct{ account, business, want string }{
		{"acme", "1", ""}, {"acme", "2", "template:paused"}, {"acme", "3", "template:rejected"}, {"acme", "", "template:rejected"},
		{"acme", "4", ""}, {"globex", "", ""}, {"globex", "3", ""},
	} {
		if r := b.Admit(start, template.ID{Account: c.account, Business: c.business, Name: "offer", Language: "en"}); r.Reason != c.want {
			t.Errorf("%s %s: %q, want %q", c.account, c.business, r.Reason, c.want)
		}
	}
	if all := b.All("acme"); len(all) != 3 || all[0].Business != "1" || len(b.All("globex")) != 0 {
		t.Errorf("all: %v", all)
	}
}

// What was refused by somebody else does not use up the first sends of a new template.
func TestReturn(t *testing.T) {
	b := open(t, template.Pacing{First: 2, Wait: time.Hour}, status("1", "offer", "APPROVED", "", 0))
	id := template.ID{Account: "acme", Business: "1", Name: "offer", Language: "en"}
	for i, want := range []string{"", "", "template:pacing"} {
		if r := b.Admit(start, id); r.Reason != want {
			t.Errorf("send %d: %q, want %q", i, r.Reason, want)
		}
	}
	b.Return(id)
	for i, want := range []string{"", "template:pacing"} {
		if r := b.Admit(start, id); r.Reason != want {
			t.Errorf("send %d after one came back: %q, want %q", i, r.Reason, want)
		}
	}
	for range 5 {
		b.Return(id)
	}
	if s, _ := b.State(id); s.Sent != 0 || !s.Held.IsZero() {
		t.Errorf("more came back than went out: %+v", s)
	}
}

// An agent that one carrier has launched can send.
func TestAgent(t *testing.T) {
	agent := func(region, word string) template.Event {
		e := status("agent-1", template.AgentName, word, "", 0)
		e.ID.Language = region
		return e
	}
	b := open(t, template.Pacing{}, agent("fi-rcs", "PENDING"))
	if r := b.Agent("acme", "agent-1"); r.Reason != "template:agent_pending" {
		t.Errorf("pending: %+v", r)
	}
	if r := b.Agent("acme", "agent-2"); r.Reason != "" {
		t.Errorf("nobody told: %+v", r)
	}
	if err := b.Apply(t.Context(), agent("no-rcs", "APPROVED")); err != nil {
		t.Fatal(err)
	}
	if r := b.Agent("acme", "agent-1"); r.Reason != "" {
		t.Errorf("launched with one: %+v", r)
	}
}
