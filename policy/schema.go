package policy

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
)

// policyFields is the schema of a whole file. Later fields may look at earlier ones: accounts start from what holds for all.
func policyFields(p *Policy) []field {
	version := 1
	return []field{
		{"version", integer(&version, 1, 1), required, "The version of this schema."},
		{"client_address", object(clientAddressFields(&p.ClientAddress)), "{}", "How the address of the end user is found."},
		{"limits", limits(&p.Limits, startFresh), "[]", "At most so many per key in any window."},
		{"after_challenge", sameAs("limits[]", limits(&p.Limits, func(name string) (Limit, bool) {
			return p.startFrom(name, Limit{AfterChallenge: true, OnLimit: Deny})
		})), "", "Limits of sends whose user passed a challenge. They stand in for every limit with on_limit: challenge, and for those of their name; a send that meets one of them is denied. Left out, where something challenges: 5 per 30m by number and 10 per 10m by client."},
		{"delays", delays(&p.Delays), "", "Waits between the sends of one purpose that grow with each."},
		{"spend", spends(&p.Spend), "", "Budgets of money per key in any window."},
		{"detect", object(append(detectFields(&p.Detect), detectionFields(&p.Detect)...)), "{}", "What looks like abuse, and what is done about it."},
		{"lists", object(listsFields(&p.Lists)), "", "Numbers, ranges, prefixes, countries and addresses that are always or never sent to. Lists that change belong to the admin API."},
		{"numbers", object(numbersFields(&p.Numbers)), "{}", "Which numbers are sent to at all."},
		{"otp", object(otpFields(p)), "{}", "The life of a one-time password."},
		{"consent", object(consentFields(&p.Consent)), "{}", "Who may be written to: keywords, replies, proof of consent; see docs/consent.md."},
		{"accounts", accounts(p), "", "Who pays, how its callers are known, and what is different for it. Without accounts callers are not told apart."},
		{"proxies", pointer(&p.Proxies, proxiesFields), "", "How sends are found in requests that proxies ask about; see docs/proxies.md. Left out: proxies are told that nothing here is for them."},
		{"fail_mode", failModes(&p.failModes), "", "What a check answers when the store cannot: default (open unless written), and by the name of a rule. open lets the send pass, closed refuses it, local counts in this process alone."},
	}
}

func clientAddressFields(c *ClientAddress) []field {
	return []field{
		{"trusted_proxies", listOf(&c.TrustedProxies, prefix), "", "Our own proxies. Their entries are taken off the forwarded header from the right; the first stranger is the client."},
		{"trusted_hops", integer(&c.TrustedHops, 0, 32), "0", "How many proxies of ours there are, instead of naming them in trusted_proxies."},
		{"trust_unix", boolean(&c.TrustUnix), "false", "Trust peers on a unix socket, which have no address."},
		{"header", word(&c.Header, "header name", "one header name, such as x-forwarded-for or forwarded", headerPattern), "x-forwarded-for", "The one header that is believed. forwarded is read by RFC 7239."},
		{"ipv6_prefix", integer(&c.IPv6Prefix, 32, 128), "64", "The width at which IPv6 clients are counted."},
		{"nat64", listOf(&c.NAT64, prefix), "", "Prefixes of NAT64 translators beside 64:ff9b::/96; their addresses are counted as IPv4."},
		{"missing_client", choice(&c.MissingClient, Allow, Deny, Challenge, Bucket), "allow", "What happens to a send without a client address. allow: rules by client do not apply. bucket: all such sends share one key of each rule by client."},
	}
}

func limitFields(l *Limit) []field {
	onLimit := "deny"
	if l.KnownGood {
		onLimit = "challenge" // a stranger who spends the budget must not lock the owner out
	}
	return []field{
		{"name", word(&l.Name, "rule name", ruleBounds, rulePattern), required, "What callers, metrics and fail_mode call the rule. Its counters live as long as the name."},
		{"by", by(&l.By), required, "What is counted: one part of a key, or a list for a combination."},
		{"limit", integer(&l.N, 1, limiter.MaxN), required, "How many units (message segments) fit in any window."},
		{"window", duration(&l.Window, limiter.MinWindow, limiter.MaxWindow), required, "The length of the window. It begins anywhere, not at the full minute."},
		{"on_limit", choice(&l.OnLimit, Deny, Challenge), onLimit, "The verdict when the limit is reached."},
		{"mode", choice(&l.Mode, Enforce, Shadow, Off), "enforce", "shadow is counted and reported, never enforced. off is as if the rule were not there; in an account it takes away the rule of that name."},
		{"count_denied", boolean(&l.CountDenied), "false", "Charge the rule for sends that are denied, too."},
		{"fail_mode", choice(&l.FailMode, Open, Closed, Local), "", "What the rule answers when the store cannot. Left out: what fail_mode says."},
		{"match", match(&l.Match), "", "The sends that the rule is for: those for which all these fields hold. Left out: every send."},
		{"unless", sameAs("limits[].match", match(&l.Unless)), "", "Sends that the rule is not for: those for which all these fields hold."},
		{"when", condition(&l.When), "", "The sends that the rule is for, as a CEL expression; see docs/policy.md. With match, both must hold. A condition that cannot be answered holds."},
		{"candidates", candidates(l), "", "Other sizes of this limit, counted and reported beside it as if they were the limit, never enforced."},
	}
}

// match reads a Match. What it held before, from a limit that it stands in for, does not show through.
func match(m *Match) value {
	v := object(matchFields(m))
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		*m = Match{}
		if read(d, n, path); m.empty() && isEmptyMapping(n) {
			d.bad(n, path, "it asks about nothing: write a field, such as purpose: otp, or leave the key out")
		}
	}
	return v
}

func isEmptyMapping(n *yaml.Node) bool { return n.Kind == yaml.MappingNode && len(n.Content) == 0 }

func matchFields(m *Match) []field {
	return []field{
		{"account", oneOrMore(&m.Account, accountName), "", "The account."},
		{"subaccount", oneOrMore(&m.Subaccount, text), "", "The subaccount."},
		{"endpoint", oneOrMore(&m.Endpoint, text), "", "The endpoint, exactly as callers send it."},
		{"channel", oneOrMore(&m.Channel, channel), "", "The channel."},
		{"purpose", oneOrMore(&m.Purpose, purpose), "", "The purpose."},
		{"country", oneOrMore(&m.Country, country), "", "The country of the number, ISO 3166-1 alpha-2. ZZ: numbers of no country."},
		{"number_type", oneOrMore(&m.NumberType, numberType), "", "The type of the number, by its numbering plan."},
		{"known_good", truthOf(&m.KnownGood), "", "Whether the number verified recently."},
		{"challenge_passed", truthOf(&m.ChallengePassed), "", "Whether the user has just passed a challenge."},
	}
}

// startFresh is where a limit starts that nothing stands behind.
func startFresh(string) (Limit, bool) { return Limit{}, false }

// limits reads a list of limits and adds them to dst. Each starts from what start has for its name; when that is a whole
// limit (true), only what differs has to be written.
func limits(dst *[]Limit, start func(name string) (Limit, bool)) value {
	fresh, _ := start("")
	return value{kind: "limit list", item: "[]", fields: limitFields(&fresh), read: func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.SequenceNode, "a list of limits, such as [{name: ..., by: ..., limit: ..., window: ...}]") {
			return
		}
		for i, item := range n.Content {
			l, whole := start(wordIn(item, "name"))
			l.path = element(path, i)
			d.object(item, l.path, limitFields(&l), whole)
			*dst = append(*dst, l)
		}
	}}
}

// wordIn is what a mapping writes for a key, before the mapping is read.
func wordIn(n *yaml.Node, key string) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// by reads the parts of a key, in any order.
func by(dst *[]Part) value {
	v := oneOrMore(dst, func(p *Part) value { return choice(p, parts...) })
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		slices.Sort(*dst)
	}
	return v
}

func text(dst *string) value {
	return scalar("text", "1 to 128 bytes", func(s string, _ bool) error {
		if s == "" || len(s) > 128 {
			return fmt.Errorf("%s is not 1 to 128 bytes long: write a shorter text", quote(s))
		}
		*dst = s
		return nil
	})
}

func purpose(dst *string) value { return choice(dst, "otp", "transactional", "marketing") }

func channel(dst *string) value {
	return word(dst, "channel", "a lower-case word, such as sms, voice or whatsapp", channelPattern)
}

func accountName(dst *string) value { return word(dst, "account name", accountBounds, accountPattern) }

func numberType(dst *string) value {
	var names []string
	for t := phone.UnknownType; t <= phone.Voicemail; t++ {
		names = append(names, t.String())
	}
	return choice(dst, names...)
}

func truthOf(dst **bool) value {
	v := boolean(new(bool))
	v.read = func(d *decoder, n *yaml.Node, path string) {
		*dst = new(bool)
		boolean(*dst).read(d, n, path)
	}
	return v
}
