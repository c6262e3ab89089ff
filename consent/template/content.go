package template

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Content is a template as it is handed in, or a send with it.
type Content struct {
	Category Category
	// Header and Footer are texts; "" for none. Media says that the header is an image, a video or a document.
	Header, Body, Footer string
	Media                bool
	// Samples are example values for {{1}}, {{2}}, ... of the body.
	Samples []string
	// Params are the values of one send; nil when the template itself is checked.
	Params []string
}

// Problem is something the platform would refuse, or, if Warning, may refuse.
type Problem struct {
	Field   string // "body", "header", "footer", "samples", "params"
	What    string // what is wrong, and what to write instead
	Warning bool
}

func (p Problem) String() string { return p.Field + ": " + p.What }

// Watch is a list of content that the platform prohibits or restricts. Words are whole, in any case.
type Watch struct {
	Name  string // such as "gambling"
	Why   string // explains the warning
	Words []string
}

// DefaultWatch is what WhatsApp's Business Policy prohibits or restricts (2026-11), by the words that give it away. It warns and never
// refuses: words alone do not say what a text means.
func DefaultWatch() []Watch {
	return []Watch{
		{"gambling", "real-money gambling needs written permission", []string{"casino", "betting", "jackpot", "slots", "poker"}},
		{"alcohol", "alcohol is restricted by country and age", []string{"whisky", "vodka", "beer", "wine"}},
		{"tobacco", "tobacco and vaping are prohibited", []string{"cigarettes", "tobacco", "vape"}},
		{"drugs", "drugs, prescription ones too, are prohibited", []string{"cannabis", "cbd", "opioid", "viagra"}},
		{"weapons", "weapons are prohibited", []string{"firearm", "ammunition", "rifle"}},
		{"loans", "payday loans and debt collection are prohibited", []string{"payday", "debt collection", "quick loan"}},
		{"crypto", "trading of cryptocurrency is restricted", []string{"bitcoin", "crypto", "forex"}},
		{"adult", "adult content is prohibited", []string{"xxx", "escort"}},
	}
}

const maxAuthParam = 15 // characters of a parameter of an authentication template

var (
	placeholder = regexp.MustCompile(`\{\{([^{}]*)\}\}`)
	link        = regexp.MustCompile(`(?i)https?://|www\.|\b[a-z0-9-]+\.(?:com|net|org|io|co|app|me|ly|link|info|biz)\b`)
	// sensitive asks for what must not be asked for in a chat: whole card numbers and identity numbers.
	sensitive = regexp.MustCompile(`(?i)\b(?:card number|credit card|debit card|cvv|cvc|account number|social security|ssn|national id|identity (?:card|number)|passport number|aadhaar|id number|pin code of your card)\b`)
	asks      = regexp.MustCompile(`(?i)\b(?:send|share|reply|enter|provide|give|confirm|tell|submit|type|your)\b`)
)

// Check tells what the platform would refuse, by its rules for the category. Watch adds warnings.
func Check(c Content, watch []Watch) []Problem {
	var out []Problem
	add := func(field, format string, args ...any) {
		out = append(out, Problem{Field: field, What: fmt.Sprintf(format, args...)})
	}
	names := variables(c.Body)
	checkVariables(c, names, add)
	if c.Params != nil && len(c.Params) != len(names) {
		add("params", "%d values for %d variables: give one for each", len(c.Params), len(names))
	}
	whole := strings.Join([]string{c.Header, c.Body, c.Footer}, "\n")
	if sensitive.MatchString(whole) && asks.MatchString(whole) {
		add("body", "asks for a card or identity number: never ask for those in a chat")
	}
	if c.Category == Authentication {
		checkAuthentication(c, whole, add)
	}
	lower := " " + strings.Join(strings.FieldsFunc(strings.ToLower(whole+"\n"+strings.Join(c.Params, "\n")), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), " ") + " "
	for _, w := range watch {
		if i := slices.IndexFunc(w.Words, func(word string) bool { return strings.Contains(lower, " "+strings.ToLower(word)+" ") }); i >= 0 {
			out = append(out, Problem{Field: "body", What: fmt.Sprintf("%s: %q: %s", w.Name, w.Words[i], w.Why), Warning: true})
		}
	}
	return out
}

// variables are the names in {{}} of a text, in order.
func variables(text string) (out []string) {
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.TrimSpace(m[1]))
	}
	return out
}

func checkVariables(c Content, names []string, add func(field, format string, args ...any)) {
	body := strings.TrimSpace(c.Body)
	if body == "" {
		add("body", "empty: write a text")
		return
	}
	if strings.Count(body, "{{") != len(names) || strings.Count(body, "}}") != len(names) {
		add("body", "a variable is not closed: write {{1}}")
	}
	if loc := placeholder.FindAllStringIndex(body, -1); len(loc) > 0 {
		if loc[0][0] == 0 {
			add("body", "begins with a variable: write a word before it")
		}
		if loc[len(loc)-1][1] == len(body) {
			add("body", "ends with a variable: write a word or a full stop behind it")
		}
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			add("body", "{{%s}} twice: use each variable once", name)
			break
		}
		if name != strconv.Itoa(i+1) { // what comes behind the first wrong one is wrong because of it
			add("body", "{{%s}} in the place of {{%d}}: number variables from 1 without gaps", name, i+1)
			break
		}
	}
	if c.Params == nil && len(c.Samples) != len(names) {
		add("samples", "%d samples for %d variables: give one for each", len(c.Samples), len(names))
	}
	for i, s := range c.Samples {
		if strings.TrimSpace(s) == "" {
			add("samples", "sample %d is empty: write what a person would see", i+1)
		}
	}
}

func checkAuthentication(c Content, whole string, add func(field, format string, args ...any)) {
	if c.Media {
		add("header", "media: authentication templates have text only")
	}
	for i, text := range append([]string{whole}, slices.Concat(c.Samples, c.Params)...) {
		field := "body"
		if i > len(c.Samples) {
			field = "params"
		} else if i > 0 {
			field = "samples"
		}
		if link.MatchString(text) {
			add(field, "has a link: authentication templates have none")
		}
		if strings.ContainsFunc(text, isEmoji) {
			add(field, "has an emoji: authentication templates have none")
		}
		if n := len([]rune(text)); i > 0 && n > maxAuthParam {
			add(field, "%d characters: authentication templates take %d at most", n, maxAuthParam)
		}
	}
}

// isEmoji knows the blocks of pictures, and what makes a picture of a sign.
func isEmoji(r rune) bool {
	return r >= 0x1f000 && r <= 0x1faff || r >= 0x2600 && r <= 0x27bf || r == 0xfe0f || r == 0x20e3 || r >= 0x2b05 && r <= 0x2b55
}
