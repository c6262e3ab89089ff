package consent

import (
	"regexp"
	"strings"
)

// disclosures are what a call to action tells people before they agree to recurring messages, after the CTIA's Messaging
// Principles (2023), 5.1 and the platforms' forms for campaigns. In English.
var disclosures = []struct {
	missing string
	pattern *regexp.Regexp
}{
	{`that the person agrees, such as "By signing up you agree to receive"`, regexp.MustCompile(`(?i)\b(?:agree|consent|opt in|sign(?:ing)? up|subscrib)`)},
	{"what messages come, such as marketing, offers, order updates or codes", regexp.MustCompile(`(?i)\b(?:marketing|promotion|offers?|deals|updates?|alerts?|reminders?|notifications?|codes?|news)`)},
	{`how often, such as "up to 4 messages a month" or "message frequency varies"`, regexp.MustCompile(`(?i)frequency|\b(?:per|a|each|every) (?:day|week|month)|(?:msgs?|messages?)/(?:mo|month|week|day)|one-time|recurring`)},
	{`"Msg & data rates may apply"`, regexp.MustCompile(`(?i)rates? (?:may|might) apply|charges may apply`)},
	{"how to leave: STOP", regexp.MustCompile(`\bSTOP\b`)},
	{"how to get help: HELP", regexp.MustCompile(`\bHELP\b`)},
	{"a link to the terms", regexp.MustCompile(`(?i)terms`)},
	{"a link to the privacy policy", regexp.MustCompile(`(?i)privacy`)},
}

var unconditional = regexp.MustCompile(`(?i)not (?:a )?(?:required|condition|conditional|necessary)`)

// CheckCTA tells what a call to action lacks for messages of a purpose; nothing when it holds all. Marketing has to say that consent
// is no condition of a purchase (47 CFR 64.1200(f)(9)).
func CheckCTA(brand, purpose, text string) []string {
	var missing []string
	if brand == "" || !strings.Contains(strings.ToLower(text), strings.ToLower(brand)) {
		missing = append(missing, "call to action: does not say the brand")
	}
	for _, d := range disclosures {
		if !d.pattern.MatchString(text) {
			missing = append(missing, "call to action: does not say "+d.missing)
		}
	}
	if purpose == Marketing && !unconditional.MatchString(text) {
		missing = append(missing, "call to action: does not say that consent is not a condition of purchase")
	}
	return missing
}
