package policy

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/consent/keyword"
)

var (
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}$`)
	webhookPattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
)

// longest is how long records can be kept: as long as the oldest duty that is known here is, twice over.
const longest = 20 * 366 * day

func consentFields(c *Consent) []field {
	reconfirm := "never"
	return []field{
		{"keywords", object(keywordFields(&c.Keywords)), "{}", "Which words of people mean what."},
		{"replies", pointer(&c.Replies, replyFields), "", "What keywords are answered. Each reply is checked for what it has to hold. Left out: nothing here answers."},
		{"scope", scope(&c.BySender), "account", "What STOP counts for: the whole account, or the sender that it was sent to. STOPALL is always for the account."},
		{"otp", choiceOf(&c.DenyOTP, "allow", "deny"), "allow", "Whether one-time codes reach those who opted out. Who asks for a code wants it."},
		{"senders", senders(&c.Senders), "", "Accounts, and senders of accounts, that hear or answer otherwise. What is left out is as above."},
		{"require", requirements(&c.Require), "", "The sends that need somebody's consent."},
		{"confirm_within", duration(&c.ConfirmWithin, time.Minute, 366*day), "24h", "How long a double opt-in can be confirmed."},
		{"reconfirm", object([]field{
			{"after", months(&c.ReconfirmAfter, &reconfirm), "never", "When consent has to be given again."},
			{"past_due", choice(&c.PastDue, Challenge, Deny), "challenge", "What becomes of sends without a fresh consent."},
		}), "{}", "Consent that grows old."},
		{"retention", object([]field{
			{"unconfirmed", duration(&c.Retention.Unconfirmed, day, longest), "30d", "How long a double opt-in that nobody confirmed is kept, after it could be."},
			{"proof", duration(&c.Retention.Proof, day, longest), "1460d", "How long the proof of consent is kept after it ended."},
			{"forgotten", duration(&c.Retention.Forgotten, day, longest), "1825d", "How long an opt-out is kept of somebody who asked to be forgotten."},
			{"messages", duration(&c.Retention.Messages, day, longest), "366d", "How long a keyword that was heard is known again if a platform, or somebody else, posts it twice."},
		}), "{}", "How long records are kept. Opt-outs stay until the person comes back."},
		{"templates", object([]field{
			{"pacing", object([]field{
				{"first", integer(&c.Templates.PaceFirst, 0, 1_000_000), "0", "How many sends of a new marketing template pass before its quality is known. 0: all."},
				{"wait", duration(&c.Templates.PaceWait, time.Minute, 30*day), "30m", "How long it is then held if no quality comes."},
			}), "{}", "Holds new marketing templates back until readers were heard."},
			{"watch", watches(&c.Templates.Watch), "", "Content that is warned of when a template is checked, in place of the built-in list."},
		}), "{}", "Message templates of WhatsApp and RCS."},
		{"webhooks", mapOf(&c.Webhooks, ".NAME", func(text string) error {
			if !webhookPattern.MatchString(text) {
				return fmt.Errorf("%s is not a name of a webhook: write 1 to 64 of a-z, 0-9 and -", quote(text))
			}
			return nil
		}, func(_ string, w *Webhook) value { return object(webhookFields(w)) }), "", "Where platforms post what people write: POST /v1/webhooks/NAME on the HTTP port."},
	}
}

func keywordFields(o *keyword.Options) []field {
	modes := []string{"courteous", "exact", "leading"} // in their order
	mode := "courteous"
	words := make(map[string]*map[keyword.Action][]string)
	postbacks := make(map[string]*string)
	actions := mapOf(&words, ".LANGUAGE", isLanguage, func(_ string, m *map[keyword.Action][]string) value {
		*m = make(map[keyword.Action][]string)
		return after(object(actionFields(*m)), func() {})
	})
	return []field{
		{"mode", after(choice(&mode, modes...), func() { o.Mode = keyword.Mode(slices.Index(modes, mode)) }), "courteous", "What may stand around a word: nothing (exact), courtesy such as please stop texting me (courteous), anything behind it (leading)."},
		{"languages", listOf(&o.Languages, func(s *string) value { return choice(s, builtIn()...) }), "", "Languages that are built in, beside English."},
		{"words", after(actions, func() {
			o.Words = make(map[string]map[keyword.Action][]string)
			for code, m := range words {
				o.Words[code] = *m
			}
		}), "", "Further words, by language."},
		{"off", listOf(&o.Off, text), "", "Words that are not to count, such as HELP where people answer. STOP always counts."},
		{"yes_opts_in", boolean(&o.YesOptsIn), "false", "YES brings people back, too. Without it YES only confirms what was asked."},
		{"programs", listOf(&o.Programs, text), "", "Names that may stand behind a word: STOP Acme."},
		{"postbacks", after(mapOf(&postbacks, ".DATA", func(text string) error { return longText(new(string), 2048).check(text) },
			func(_ string, s *string) value { return choice(s, actionNames()...) }), func() {
			o.Postbacks = make(map[string]keyword.Action)
			for data, name := range postbacks {
				o.Postbacks[data] = actionOf(*name)
			}
		}), "", "What buttons and suggested replies of RCS and WhatsApp send back, exactly, and what they mean."},
	}
}

func builtIn() []string {
	return slices.DeleteFunc(keyword.Languages(), func(code string) bool { return code == keyword.English })
}

func actionNames() []string { return []string{"opt_out", "opt_in", "help", "confirm"} }

func actionOf(name string) keyword.Action {
	return keyword.Action(slices.Index(actionNames(), name) + 1) // None comes first
}

func actionFields(m map[keyword.Action][]string) []field {
	var out []field
	for _, name := range actionNames() {
		var words []string
		out = append(out, field{name, after(listOf(&words, text), func() { m[actionOf(name)] = words }), "", "Words that ask for this."})
	}
	return out
}

func replyFields(t *keyword.Texts) []field {
	texts := make(map[string]*map[keyword.Kind]string)
	return []field{
		{"brand", text(&t.Brand), required, "Who writes, as people know it. {brand} in a text."},
		{"support", text(&t.Support), required, "Where people get help: an address, a link or a number. {support} in a text."},
		{"frequency", text(&t.Frequency), "Message frequency varies", "How often messages come. {frequency} in a text."},
		{"texts", after(mapOf(&texts, ".LANGUAGE", isLanguage, func(_ string, m *map[keyword.Kind]string) value {
			*m = make(map[keyword.Kind]string)
			var fields []field
			for _, kind := range []keyword.Kind{keyword.ReplyOptOut, keyword.ReplyWelcome, keyword.ReplyHelp} {
				var written string
				fields = append(fields, field{string(kind), after(longText(&written, 2048), func() { (*m)[kind] = written }), "", "The reply. Left out: a built-in text in English, or English."})
			}
			return object(fields)
		}), func() {
			t.Replies = make(map[string]map[keyword.Kind]string)
			for code, m := range texts {
				t.Replies[code] = *m
			}
		}), "", "Replies of your own, by language. Each says what carriers ask of it."},
	}
}

func isLanguage(text string) error {
	if !languagePattern.MatchString(text) {
		return fmt.Errorf("%s is not a language: write an ISO 639 code, such as es", quote(text))
	}
	return nil
}

func senders(dst *[]SenderVoice) value {
	return listOf(dst, func(s *SenderVoice) value {
		return object([]field{
			{"account", word(&s.Account, "account name", accountBounds, accountPattern), required, "The account."},
			{"sender", text(&s.Sender), "", "The sender, as sends name it. Left out: every sender of the account."},
			{"keywords", sameAs("consent.keywords", object(keywordFields(&s.Keywords))), "", "Which words mean what."},
			{"replies", sameAs("consent.replies", pointer(&s.Replies, replyFields)), "", "What keywords are answered."},
		})
	}).inList()
}

func requirements(dst *[]Requirement) value {
	return listOf(dst, func(q *Requirement) value {
		return object([]field{
			{"purpose", purpose(&q.Purpose), required, "The purpose."},
			{"channel", word(&q.Channel, "channel", "a lower-case word, such as sms, voice or whatsapp", channelPattern), "", "The channel. Left out: every channel."},
			{"double_opt_in", boolean(&q.Double), "false", "Consent counts when it was confirmed from the number itself."},
		})
	}).inList()
}

func watches(dst *[]Watch) value {
	return listOf(dst, func(w *Watch) value {
		return object([]field{
			{"name", word(&w.Name, "name", ruleBounds, rulePattern), required, "What the content is called."},
			{"why", longText(&w.Why, 256), required, "Explains the warning."},
			{"words", listOf(&w.Words, text), required, "Whole words, in any case."},
		})
	}).inList()
}

func webhookFields(w *Webhook) []field {
	envs := func(s *string) value {
		return secretless(s, "variable name", "the name of an environment variable, such as TWILIO_TOKEN", envPattern)
	}
	return []field{
		{"platform", choice(&w.Platform, Platforms()...), required, "Whose webhook it is; generic is JSON with the fields of ReportInbound, signed as Standard Webhooks are."},
		{"account", word(&w.Account, "account name", accountBounds, accountPattern), "", "Whose messages these are."},
		{"sender", text(&w.Sender), "", "Whom people write to. Left out: what the platform says."},
		{"url", webAddress(&w.URL), "", "The address that the platform posts to. Twilio signs it."},
		{"secret_from_env", oneOrMore(&w.SecretsFromEnv, envs), "", "Environment variables with what the platform signs with. Of several, any may have signed."},
		{"secret_from_file", oneOrMore(&w.SecretsFromFile, text), "", "Files with it, read at each call."},
		{"verify_token_from_env", envs(&w.VerifyTokenFromEnv), "", "The variable with the word that Meta shows when the webhook is set up."},
		{"verify_token_from_file", text(&w.VerifyTokenFromFile), "", "The file with it."},
		{"addresses", listOf(&w.Addresses, prefix), "", "The addresses that are posted from. Left out, with published: any."},
		{"published", listOf(&w.Published, func(s *string) value { return word(s, "region", "a lower-case word, such as global", regionPattern) }), "", "Regions of the built-in, dated list of the platform's addresses; see docs/consent.md."},
	}
}

// judgeConsent builds what the section describes, and so finds what does not fit together.
func (d *decoder) judgeConsent(p *Policy) {
	c := &p.Consent
	if slices.ContainsFunc(d.problems, func(b Problem) bool { return strings.HasPrefix(b.Field, "consent.") }) {
		return // what was not read is missing elsewhere
	}
	d.judgeVoice(&c.Voice, "consent")
	known, first := slices.Sorted(maps.Keys(p.Accounts)), make(map[[2]string]int)
	account := func(name, path string) {
		if name != "" && len(known) > 0 && !has(known, name) {
			d.badAt(path, "there is no account %s%s", quote(name), remedy(name, known))
		}
	}
	for i := range c.Senders {
		s, path := &c.Senders[i], element("consent.senders", i)
		account(s.Account, path+".account")
		if before, twice := first[[2]string{s.Account, s.Sender}]; twice {
			d.badAt(path, "the same sender stands at %s: keep one of them", element("consent.senders", before))
		}
		first[[2]string{s.Account, s.Sender}] = i
		d.judgeVoice(&s.Voice, path) // before it gets what it leaves out, which has been judged
		if _, written := d.at[path+".keywords"]; !written {
			s.Keywords = c.Keywords
		}
		if s.Replies == nil {
			s.Replies = c.Replies
		}
	}
	for i, q := range c.Require {
		if slices.ContainsFunc(c.Require[:i], func(o Requirement) bool { return o.Purpose == q.Purpose && (o.Channel == q.Channel || o.Channel == "") }) {
			d.badAt(element("consent.require", i), "the purpose and channel are named before: keep one of them, the narrower first")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Webhooks)) {
		w, path := c.Webhooks[name], "consent.webhooks."+name
		account(w.Account, path+".account")
		if w.Account == "" && len(known) > 0 {
			d.badAt(path, "account is missing: write whose messages these are")
		}
		switch signed := len(w.SecretsFromEnv)+len(w.SecretsFromFile) > 0; {
		case !signed && len(w.Addresses)+len(w.Published) == 0:
			d.badAt(path, "anybody could post here: write secret_from_env or secret_from_file, or the addresses that are posted from")
		case signed && w.Platform == "twilio" && w.URL == "":
			d.badAt(path, "url is missing: write the address that Twilio posts to, which it signs")
		}
	}
}

func (d *decoder) judgeVoice(v *Voice, path string) {
	if _, err := keyword.NewBook(v.Keywords); err != nil {
		d.badAt(path+".keywords", "%s", strings.TrimPrefix(err.Error(), "keyword: "))
	}
	if v.Replies == nil {
		return
	}
	if _, err := keyword.NewReplies(*v.Replies); err != nil {
		for line := range strings.Lines(err.Error()) {
			d.badAt(path+".replies", "%s", strings.TrimPrefix(strings.TrimSpace(line), "keyword: "))
		}
	}
}

// inList describes what is in a list as the fields of the list.
func (v value) inList() value {
	v.item = "[]"
	return v
}

// after goes on with what was read.
func after(v value, then func()) value {
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		then()
	}
	return v
}

// choiceOf reads the second of two words as true.
func choiceOf(dst *bool, no, yes string) value {
	var written string
	return after(choice(&written, no, yes), func() { *dst = written == yes })
}

func scope(bySender *bool) value { return choiceOf(bySender, "account", "sender") }

func months(dst *int, written *string) value {
	return after(choice(written, "never", "3mo", "6mo", "12mo"), func() {
		*dst = map[string]int{"3mo": 3, "6mo": 6, "12mo": 12}[*written]
	})
}

// longText reads text of any language, up to so many bytes.
func longText(dst *string, most int) value {
	return scalar("text", fmt.Sprintf("1 to %d bytes", most), func(s string, _ bool) error {
		if s == "" || len(s) > most {
			return fmt.Errorf("%s is not 1 to %d bytes long: write another text", quote(s), most)
		}
		*dst = s
		return nil
	})
}

func webAddress(dst *string) value {
	return scalar("URL", "an address such as https://gate.example.com/v1/webhooks/sms", func(s string, _ bool) error {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return errors.New("this is not an address: write one such as https://gate.example.com/v1/webhooks/sms")
		}
		*dst = s
		return nil
	})
}
