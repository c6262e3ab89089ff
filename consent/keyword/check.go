package keyword

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A reply has to hold certain things; carriers ask for them before they approve a sender. The list follows the CTIA's Messaging
// Principles and Short Code Monitoring Handbook and the platforms' campaign forms; see docs/consent.md.
type need uint8

const (
	needBrand need = iota
	needConfirmation
	needNoMore
	needStart
	needContact
	needStop
	needHelp
	needRates
	needFrequency
)

// Kind is which reply a text is for.
type Kind string

// The replies. Welcome confirms an opt-in: the answer to START and to a confirmed double opt-in.
const (
	ReplyOptOut  Kind = "opt_out"
	ReplyWelcome Kind = "welcome"
	ReplyHelp    Kind = "help"
)

func needs(k Kind) []need {
	switch k {
	case ReplyOptOut:
		return []need{needBrand, needConfirmation, needNoMore, needStart}
	case ReplyWelcome:
		return []need{needBrand, needStop, needHelp, needRates, needFrequency}
	default:
		return []need{needBrand, needContact, needStop}
	}
}

// say is what a language says for a need, folded. A keyword is a need of its own and holds for every language.
var (
	keywordNeeds = map[need]string{needStart: "start", needStop: "stop", needHelp: "help"}
	phraseNeeds  = map[need]map[string][]string{
		needConfirmation: {
			"en": {"unsubscribed", "opted out", "opt out", "removed", "stopped", "cancelled", "canceled"},
			"es": {"dado de baja", "cancelado", "cancelada", "baja"}, "fr": {"desinscrit", "desabonne", "desabonnement"},
			"de": {"abgemeldet", "abbestellt"}, "pt": {"cancelado", "cancelada", "descadastrado", "removido"},
		},
		needNoMore: {
			"en": {"no more", "no further", "not receive", "not send", "not text", "not message"},
			"es": {"no recibira", "no recibiras", "no mas", "no enviaremos"}, "fr": {"ne recevrez plus", "plus de messages", "aucun message"},
			"de": {"keine weiteren", "keine nachrichten", "nicht mehr"}, "pt": {"nao recebera", "nao enviaremos", "mais nenhuma"},
		},
		needRates: {
			"en": {"rates may apply", "charges may apply", "data rates", "fees may apply"},
			"es": {"tarifas", "cargos"}, "fr": {"frais", "tarifs"}, "de": {"gebuhren", "kosten", "kostenlos"}, "pt": {"tarifas", "taxas"},
		},
		needFrequency: {
			"en": {"frequency", "msgs mo", "msg mo", "msgs month", "messages a month", "messages per month", "messages a week", "messages per week", "per month", "per week", "a month", "a week",
				"a day", "per day", "one message", "1 msg", "recurring"},
			"es": {"frecuencia", "al mes", "por mes", "a la semana", "por semana", "recurrentes"}, "fr": {"frequence", "par mois", "par semaine"},
			"de": {"haufigkeit", "pro monat", "pro woche", "im monat"}, "pt": {"frequencia", "por mes", "por semana"},
		},
	}
)

func (n need) String() string {
	return [...]string{"the brand", "that the person is out, such as \"You are unsubscribed\"", "that no further messages come", "how to come back: START",
		"a support contact: an address, a link or a number", "how to leave: STOP", "how to get help: HELP", "\"Msg & data rates may apply\"", "how often messages come"}[n]
}

var (
	contact = regexp.MustCompile(`(?i)[^\s@]+@[^\s@]+\.[a-z]{2,}|https?://\S+|\b(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/\S*)?\b|\+?[0-9][0-9 ().-]{5,}[0-9]`)
	// advert finds what makes an opt-out reply one more advertisement, which 47 CFR 64.1200(a)(12) forbids.
	advert = regexp.MustCompile(`(?i)\b(?:sale|discount|coupon|promo code|special offer|buy|shop now|free shipping|% off)\b|[0-9]+ ?%`)
)

// maxReply is how many characters a reply has: three parts of a concatenated text message in GSM 7-bit.
const maxReply = 3 * 153

// CheckReply tells what a reply lacks, nothing if it holds all. Wording is known in en, es, fr, de and pt; in other languages
// only brand, keywords and contact are looked for.
func CheckReply(kind Kind, language, brand, text string) []string {
	var problems []string
	folded := " " + strings.Join(foldAll(text), " ") + " "
	for _, n := range needs(kind) {
		if !n.in(language, brand, text, folded) {
			problems = append(problems, fmt.Sprintf("%s reply (%s): does not say %s", kind, language, n))
		}
	}
	if n := len([]rune(text)); n > maxReply {
		problems = append(problems, fmt.Sprintf("%s reply (%s): %d characters: write %d at most", kind, language, n, maxReply))
	}
	if kind == ReplyOptOut && advert.MatchString(text) {
		problems = append(problems, fmt.Sprintf("%s reply (%s): advertises: only confirm", kind, language))
	}
	return problems
}

func (n need) in(language, brand, text, folded string) bool {
	switch n {
	case needBrand:
		b := strings.Join(foldAll(brand), " ")
		return b != "" && strings.Contains(folded, " "+b+" ")
	case needContact:
		return contact.MatchString(text)
	}
	if w, ok := keywordNeeds[n]; ok {
		return strings.Contains(folded, " "+w+" ")
	}
	phrases, ok := phraseNeeds[n][language]
	return !ok || slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(folded, " "+p+" ") })
}

// foldAll folds texts of any length, which our own are.
func foldAll(text string) []string {
	var out []string
	for part := range strings.FieldsSeq(text) {
		out = append(out, fold(part)...)
	}
	return out
}
