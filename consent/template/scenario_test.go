package template_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
)

var (
	start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	offer = template.ID{Business: "102290129340398", Name: "offer", Language: "en_US"}
)

// webhookOf is an update as Meta posts it.
func webhookOf(at time.Time, word []string) string {
	field, value := "message_template_"+word[0]+"_update", ""
	switch word[0] {
	case "status":
		value = fmt.Sprintf(`"event":%q`, word[1])
		for _, w := range word[2:] {
			if category, ok := strings.CutPrefix(w, "category="); ok {
				value += fmt.Sprintf(`,"message_template_category":%q`, category)
			} else {
				value += fmt.Sprintf(`,"other_info":{"title":%q,"description":"x"}`, w)
			}
		}
	case "quality":
		value = fmt.Sprintf(`"previous_quality_score":"GREEN","new_quality_score":%q`, word[1])
	case "category":
		field, value = "template_category_update", fmt.Sprintf(`"previous_category":"UTILITY","new_category":%q`, word[1])
	}
	return fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":%q,"time":%d,"changes":[{"field":%q,"value":{"message_template_id":1689556908129832,`+
		`"message_template_name":%q,"message_template_language":%q,"reason":"NONE",%s}}]}]}`, offer.Business, at.Unix(), field, offer.Name, offer.Language, value)
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, filepath.Base(file), string(src))
		})
	}
}

func play(t *testing.T, name, src string) {
	store, pacing := new(consent.Memory), template.Pacing{}
	open := func() *template.Book {
		b, err := template.Open(t.Context(), store, pacing)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	for i, line := range strings.Split(src, "\n") {
		said, want, _ := strings.Cut(line, "->")
		word := strings.Fields(said)
		if len(word) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if word[0] == "pacing" {
			if _, err := fmt.Sscan(word[1], &pacing.First); err != nil {
				t.Fatal(err)
			}
			b = open()
			continue
		}
		after, err := time.ParseDuration(word[0])
		if err != nil {
			t.Fatalf("%s:%d: %v", name, i+1, err)
		}
		at, got := start.Add(after), ""
		switch word[1] {
		case "restart":
			b = open()
		case "release":
			released, err := b.Release(t.Context(), at, offer)
			if err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprint(released)
		case "send":
			r := b.Admit(at, offer)
			switch {
			case r.Reason == "":
				got = "allow"
			case r.RetryAfter > 0:
				got = fmt.Sprintf("%s %v", r.Reason, r.RetryAfter)
			default:
				got = r.Reason
			}
		default:
			events, err := template.ParseWhatsApp([]byte(webhookOf(at, word[1:])))
			if err != nil || len(events) != 1 {
				t.Fatalf("%s:%d: %d events, %v", name, i+1, len(events), err)
			}
			if err := b.Apply(t.Context(), events...); err != nil {
				t.Fatal(err)
			}
		}
		if want = strings.TrimSpace(want); got != want {
			t.Errorf("%s:%d: %s: got %q", name, i+1, line, got)
		}
	}
}

func TestVerifySignature(t *testing.T) {
	secret, body := []byte("app secret"), []byte(`{"object":"x"}`)
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	good := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	if !template.VerifySignature(secret, good, body) {
		t.Error("a good signature is refused")
	}
	for _, bad := range []string{"", "sha256=", good[7:], "sha1=" + good[7:], good[:len(good)-2], good[:len(good)-1] + "g", good + "00"} {
		if template.VerifySignature(secret, bad, body) {
			t.Errorf("%q passes", bad)
		}
	}
	if template.VerifySignature(secret, good, append(body, ' ')) || template.VerifySignature(nil, good, body) {
		t.Error("another body, or no secret, passes")
	}
}

func FuzzParseWhatsApp(f *testing.F) {
	for _, words := range []string{"status PAUSED FIRST_PAUSE category=MARKETING", "quality RED", "category UTILITY"} {
		f.Add([]byte(webhookOf(start, strings.Fields(words))))
	}
	f.Add([]byte(`{"object":"whatsapp_business_account","entry":[{"id":"1","time":1,"changes":[{"field":"messages","value":{}}]}]}`))
	f.Add([]byte(`{"object":"page"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := template.ParseWhatsApp(body)
		if err != nil {
			return
		}
		b, err := template.Open(t.Context(), new(consent.Memory), template.Pacing{First: 1})
		if err != nil {
			t.Fatal(err)
		}
		if b.Apply(t.Context(), events...) != nil {
			return // names that no store takes
		}
		before := map[template.ID]template.State{}
		for _, e := range events {
			before[e.ID], _ = b.State(e.ID)
		}
		// The platform repeats what it is not sure we heard.
		if err := b.Apply(t.Context(), events[max(0, len(events)-1):]...); err != nil {
			t.Fatal(err)
		}
		for id, s := range before {
			if again, _ := b.State(id); again != s {
				t.Errorf("told twice: %+v became %+v", s, again)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		content template.Content
		want    string // problems, joined
	}{
		{"fine", template.Content{Category: "UTILITY", Body: "Hi {{1}}, your order {{2}} is on its way.", Samples: []string{"Ann", "4711"}}, ""},
		{"fine code", template.Content{Category: "AUTHENTICATION", Body: "{{1}} is your code.", Samples: []string{"123456"}}, "body: begins with a variable"},
		{"start", template.Content{Body: "{{1}} is here.", Samples: []string{"x"}}, "begins with a variable"},
		{"end", template.Content{Body: "Hello {{1}}", Samples: []string{"x"}}, "ends with a variable"},
		{"gap", template.Content{Body: "Hi {{1}} and {{3}}.", Samples: []string{"x", "y"}}, "{{3}} in the place of {{2}}"},
		{"order", template.Content{Body: "Hi {{2}} and {{1}}.", Samples: []string{"x", "y"}}, "{{2}} in the place of {{1}}"},
		{"twice", template.Content{Body: "Hi {{1}} and {{1}}.", Samples: []string{"x", "y"}}, "{{1}} twice"},
		{"name", template.Content{Body: "Hi {{name}}.", Samples: []string{"x"}}, "{{name}} in the place of {{1}}"},
		{"zero", template.Content{Body: "Hi {{01}}.", Samples: []string{"x"}}, "{{01}} in the place of {{1}}"},
		{"open", template.Content{Body: "Hi {{1}, you."}, "is not closed"},
		{"samples", template.Content{Body: "Hi {{1}}."}, "samples: 0 samples for 1"},
		{"empty sample", template.Content{Body: "Hi {{1}}.", Samples: []string{" "}}, "sample 1 is empty"},
		{"params", template.Content{Body: "Hi {{1}}.", Params: []string{"a", "b"}}, "params: 2 values for 1"},
		{"empty", template.Content{}, "body: empty"},
		{"link", template.Content{Category: "AUTHENTICATION", Body: "Your code {{1}}, see acme.com now.", Samples: []string{"1"}}, "body: has a link"},
		{"link in a value", template.Content{Category: "AUTHENTICATION", Body: "Your code {{1}}.", Params: []string{"bit.ly/x"}}, "params: has a link"},
		{"emoji", template.Content{Category: "AUTHENTICATION", Body: "Your code {{1}} 🎉.", Samples: []string{"1"}}, "has an emoji"},
		{"media", template.Content{Category: "AUTHENTICATION", Body: "Your code.", Media: true}, "header: media"},
		{"long value", template.Content{Category: "AUTHENTICATION", Body: "Your code {{1}}.", Params: []string{"1234567890123456"}}, "params: 16 characters"},
		{"15 are fine", template.Content{Category: "AUTHENTICATION", Body: "Your code {{1}}.", Params: []string{"123456789012345"}}, ""},
		{"marketing may", template.Content{Category: "MARKETING", Body: "See https://acme.com 🎉", Media: true}, ""},
		{"card", template.Content{Category: "UTILITY", Body: "Please reply with your card number."}, "asks for a card"},
		{"national id", template.Content{Category: "UTILITY", Body: "Send your national ID to us."}, "asks for a card"},
		{"no request", template.Content{Category: "UTILITY", Body: "A card was added."}, ""},
		{"watch", template.Content{Category: "MARKETING", Body: "Best CASINO in town!"}, "real-money gambling"},
		{"a part of a word", template.Content{Category: "MARKETING", Body: "Beerenberg jam is back."}, ""},
	} {
		problems := template.Check(c.content, template.DefaultWatch())
		var all []string
		for _, p := range problems {
			all = append(all, p.String())
		}
		if got := strings.Join(all, "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) || len(all) > 1 {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
