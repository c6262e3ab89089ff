package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/internal/extract"
)

var (
	profilePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	headerValue    = regexp.MustCompile(`^[!-~]([ -~]{0,126}[!-~])?$`)
)

const profileBounds = "1 to 64 of A-Z, a-z, 0-9, - and _"

func proxiesFields(x *Proxies) []field {
	x.ClientAddress = selectors("grpc.x-rl-client-ip", "peer.address")
	c := &x.Challenge
	return []field{
		{"unmatched", choice(&x.Unmatched, Refuse, Pass, Count), "deny", "What happens to a request that no profile is for: deny answers 403; allow lets it pass; count lets it pass and counts what deny would have refused."},
		{"client_address", someOf(&x.ClientAddress, selector), "", "Where the end user's address is when Envoy asks by gRPC, the first that is there. Left out: grpc.x-rl-client-ip, then peer.address."},
		{"challenge", object([]field{
			{"status", integer(&c.Status, 400, 499), "403", "The status of a challenge."},
			{"header", word(&c.Header, "header name", "one header name, such as x-sendgate-challenge", headerPattern), "x-sendgate-challenge", "The header that tells a challenge from a denial."},
			{"value", word(&c.Value, "header value", "1 to 128 printable characters", headerValue), "required", "The value of that header."},
		}), "{}", "How a challenge is told."},
		{"profiles", profiles(&x.Profiles), required, "Which requests are sends, and where their facts stand."},
		{"checks", checks(&x.Checks), "{}", "The HTTP checks, /v1/proxy/NAME, beside envoy, nginx, njs, haproxy, caddy and traefik; one with such a name differs from it in what is written."},
	}
}

func profiles(dst *map[string]*Profile) value {
	return mapOf(dst, ".NAME", nameOf("profile"), func(_ string, p *Profile) value {
		p.On = make(map[extract.Fault]Uncheckable)
		return object(profileFields(p))
	})
}

func nameOf(what string) func(string) error {
	return func(text string) error {
		return word(new(string), what+" name", profileBounds, profilePattern).check(text)
	}
}

func profileFields(p *Profile) []field {
	return append([]field{
		{"match", someOf(&p.Match, template), "", "The method and path of its requests, such as POST /v1/accounts/{account}/messages; ANY for every method. Used where the proxy does not name the profile (Envoy: context_extensions.profile)."},
		{"number", selectorOrCEL(&p.Number), required, "Where the number is. With [*] behind a list, such as body.json.messages[*].to, each is a send; the request passes if all do, and else none is charged."},
		{"client_address", selectorOrCEL(&p.ClientAddress), "", "Where the end user's address is in a request that somebody else makes for him. It is then the only place."},
		{"account", selectorOrCEL(&p.Account), "", "Where the account is."},
		{"subaccount", selectorOrCEL(&p.Subaccount), "", "Where the subaccount is."},
		{"endpoint", selectorOrCEL(&p.Endpoint), "", "Where the endpoint is. Left out: the profile's name."},
		{"channel", selectorOrCEL(&p.Channel), "", "Where the channel is. Left out: sms."},
		{"purpose", selectorOrCEL(&p.Purpose), "", "Where the purpose is, such as value.otp. Left out: otp."},
		{"idempotency_key", selectorOrCEL(&p.IdempotencyKey), "", "What is the same when the proxy asks again about the same request. Name nothing that a client can choose: who repeats it is not charged again."},
		{"challenge_passed", selectorOrCEL(&p.ChallengePassed), "", "What is true when the user passed a challenge. Name nothing that a client can set."},
		{"max_sends", integer(&p.MaxSends, 1, 1000), "100", "How many numbers one request may have."},
	}, onFields(p)...)
}

func onFields(p *Profile) []field {
	var out []field
	for _, on := range []struct {
		fault   extract.Fault
		meaning string
	}{
		{extract.Missing, "a value that is not there (deny answers 400)"},
		{extract.Unreadable, "a body or value that cannot be read, or in two ways, such as JSON with a key twice (400)"},
		{extract.Compressed, "a compressed body (415)"},
		{extract.Partial, "a body that the proxy cut off (413)"},
		{extract.Oversized, "a body that is too large to be read (413)"},
	} {
		chosen := new(Uncheckable)
		v := choice(chosen, Refuse, Pass, Count)
		read := v.read
		v.read = func(d *decoder, n *yaml.Node, path string) {
			read(d, n, path)
			p.On[on.fault] = *chosen
		}
		out = append(out, field{"on_" + string(on.fault), v, "deny", "What happens on " + on.meaning + ". allow and count let the request pass unchecked."})
	}
	return out
}

func checks(dst *map[string]*ProxyCheck) value {
	written := make(map[string]*ProxyCheck)
	v := mapOf(&written, ".NAME", nameOf("check"), func(name string, c *ProxyCheck) value {
		before, known := proxyChecks()[name]
		if known {
			*c = *before
		}
		v := object(proxyCheckFields(c))
		v.read = func(d *decoder, n *yaml.Node, path string) { d.object(n, path, proxyCheckFields(c), known) }
		return v
	})
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		*dst = proxyChecks()
		maps.Copy(*dst, written)
	}
	return v
}

func proxyCheckFields(c *ProxyCheck) []field {
	return []field{
		{"original", choice(&c.Original, AsPath, XOriginal, XForwarded), required, "Where the request stands that is asked about: path is the check's own method and what follows its path, the others are headers -method and -uri."},
		{"deny_status", integer(&c.DenyStatus, 400, 499), "", "The status of every refusal, for proxies that know only some. The true one is in X-RL-Status."},
		{"profile", word(&c.Profile, "profile name", profileBounds, profilePattern), "", "The profile of every request. Left out: that of their path."},
		{"client_address", someOf(&c.ClientAddress, selector), "", "Where the end user's address is. The proxy must set it over whatever the client sent. If it is not there, client_address of the policy judges the check's own connection."},
	}
}

// parsed reads text by a function of another package.
func parsed[T any](dst *T, kind, bounds string, parse func(string) (T, error)) value {
	return scalar(kind, bounds, func(text string, _ bool) error {
		v, err := parse(text)
		if err != nil {
			return errors.New(maskDigits(err.Error()))
		}
		*dst = v
		return nil
	})
}

func selector(dst *extract.Selector) value {
	return parsed(dst, "selector", extract.Bounds, extract.ParseSelector)
}

func template(dst *extract.Template) value {
	return parsed(dst, "method and path", "a method and a path, such as POST /v1/accounts/{account}/messages", extract.ParseTemplate)
}

// someOf is oneOrMore for what cannot be compared, only by its text.
func someOf[T fmt.Stringer](dst *[]T, one func(*T) value) value {
	var texts []string
	return oneOrMore(&texts, func(text *string) value {
		var v T
		out := one(&v)
		read := out.read
		out.read = func(d *decoder, n *yaml.Node, path string) {
			before := len(d.problems)
			if text == &texts[0] {
				*dst = nil // what is written takes the place of a default
			}
			if read(d, n, path); len(d.problems) == before {
				*text, *dst = v.String(), append(*dst, v)
			}
		}
		return out
	})
}

// judgeProxies wants what selectors say to fit together.
func (d *decoder) judgeProxies(x *Proxies) {
	if x == nil {
		return
	}
	if len(x.Profiles) == 0 && d.at["proxies.profiles"] != nil {
		d.badAt("proxies.profiles", "there is no profile: write one, such as sms: {match: POST /messages, number: body.json.to}")
	}
	first := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(x.Profiles)) {
		p, path := x.Profiles[name], "proxies.profiles."+name
		if text, is := p.Number.IsFixed(); is {
			d.badAt(path+".number", "%s is the same for every request: write where the number is", quote(text))
		}
		for _, t := range p.Match {
			if before, twice := first[t.String()]; twice {
				d.badAt(path+".match", "%s is matched by profile %s too: keep one of them", quote(t.String()), before)
			}
			first[t.String()] = name
		}
		for _, other := range []struct {
			key string
			s   extract.Selector
		}{{"client_address", p.ClientAddress}, {"account", p.Account}, {"subaccount", p.Subaccount}, {"endpoint", p.Endpoint},
			{"channel", p.Channel}, {"purpose", p.Purpose}, {"idempotency_key", p.IdempotencyKey}, {"challenge_passed", p.ChallengePassed}, {"number", p.Number}} {
			if !p.Number.Beside(other.s) {
				d.badAt(path+"."+other.key, "%s goes through a list that number does not: write one value for each number", quote(other.s.String()))
			}
			variable, isPath := strings.CutPrefix(other.s.String(), "path.")
			if isPath && len(p.Match) > 0 && !slices.ContainsFunc(p.Match, func(t extract.Template) bool { return t.Has(variable) }) {
				d.badAt(path+"."+other.key, "no path in match has the variable {%s}", variable)
			}
		}
		if text, is := p.Purpose.IsFixed(); is {
			if err := purpose(new(string)).check(text); err != nil {
				d.badAt(path+".purpose", "%v", err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.Checks)) {
		if c := x.Checks[name]; c.Profile != "" && x.Profiles[c.Profile] == nil {
			d.badAt("proxies.checks."+name+".profile", "there is no profile %s%s", quote(c.Profile), remedy(c.Profile, slices.Sorted(maps.Keys(x.Profiles))))
		}
	}
}
