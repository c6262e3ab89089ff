package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/limiter"
)

func delays(dst *[]Delay) value {
	written := make(map[string]*Delay)
	v := mapOf(&written, ".PURPOSE", func(text string) error { return purpose(new(string)).check(text) },
		func(name string, y *Delay) value {
			*y = Delay{Purpose: name, path: "delays." + name}
			return delay(y)
		})
	read := v.read
	v.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		for _, name := range slices.Sorted(maps.Keys(written)) {
			*dst = append(*dst, *written[name])
		}
	}
	return v
}

func delayFields(y *Delay) []field {
	b := &y.Backoff
	return []field{
		{"preset", choice(&y.Preset, presetNames()...), "", "The shape that somebody else's codes have; see docs/otp.md for the sources. What is written beside it differs from it."},
		{"by", by(&y.By), "number", "Whose sends are spread: one part of a key, or a list for a combination."},
		{"free", integer(&b.Free, 0, 100), "2", "How many sends are not delayed."},
		{"base", duration(&b.Base, limiter.MinWindow, limiter.MaxWindow), "60s", "The first wait."},
		{"factor", factor(&b.Factor, 1, 100), "2", "How much longer each wait is than the one before."},
		{"max", duration(&b.Max, limiter.MinWindow, limiter.MaxWindow), "32m", "The longest wait. Not shorter than base."},
		{"forget_after", duration(&b.ForgetAfter, time.Second, limiter.MaxWindow), "24h", "Quiet for so long after its wait, a key starts again."},
		{"jitter", percent(&b.Jitter, 0, 0.5), "10%", "Each wait is longer or shorter by up to this share of itself."},
		{"on_limit", choice(&y.OnLimit, Deny, Challenge), "deny", "The verdict before the wait is over."},
		{"mode", choice(&y.Mode, Enforce, Shadow, Off), "enforce", "shadow is kept and reported, never enforced."},
		{"count_denied", boolean(&y.CountDenied), "false", "Let sends that are denied make the wait longer, too."},
		{"fail_mode", choice(&y.FailMode, Open, Closed, Local), "", "What the delay answers when the store cannot. Left out: fail_mode.default."},
		{"when", sameAs("limits[].when", condition(&y.When)), "", "The sends that are delayed, as a CEL expression."},
	}
}

func spends(dst *[]Spend) value {
	return value{kind: "budget list", item: "[]", fields: spendFields(new(Spend)), read: func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.SequenceNode, "a list of budgets, such as [{name: ..., by: ..., budget: 50.00, currency: USD, window: 24h}]") {
			return
		}
		for i, item := range n.Content {
			s := Spend{path: element(path, i)}
			d.object(item, s.path, spendFields(&s), false)
			*dst = append(*dst, s)
		}
	}}
}

func spendFields(s *Spend) []field {
	return []field{
		{"name", word(&s.Name, "rule name", ruleBounds, rulePattern), required, "What callers, metrics and fail_mode call the budget. No limit has the same name."},
		{"by", by(&s.By), required, "Whose money is counted: one part of a key, or a list for a combination."},
		{"budget", money(&s.Budget), required, "How much may be spent in any window, with up to 6 decimals."},
		{"currency", word(&s.Currency, "currency", "an ISO 4217 code, such as USD", currencyPattern), required, "The currency of the budget, which the price table must have."},
		{"window", duration(&s.Window, limiter.MinWindow, limiter.MaxWindow), required, "The length of the window. It begins anywhere, not at midnight."},
		{"of", choice(&s.Of, OfAll, OfUnverified), "all", "unverified gives the money of a send back when it verifies."},
		{"warn_at", percent(&s.WarnAt, 0.01, 1), "", "Warn when this share is spent."},
		{"challenge_at", percent(&s.ChallengeAt, 0.01, 1), "", "Challenge from when this share is spent."},
		{"on_limit", choice(&s.OnLimit, Deny, Challenge), "deny", "The verdict when the budget is spent."},
		{"mode", choice(&s.Mode, Enforce, Shadow, Off), "enforce", "shadow is counted and reported, never enforced."},
		{"fail_mode", choice(&s.FailMode, Open, Closed, Local), "", "What the budget answers when the store cannot. Left out: what fail_mode says."},
		{"match", sameAs("limits[].match", match(&s.Match)), "", "The sends that the budget is for: those for which all these fields hold. Left out: every send."},
		{"unless", sameAs("limits[].match", match(&s.Unless)), "", "Sends that the budget is not for: those for which all these fields hold."},
		{"when", sameAs("limits[].when", condition(&s.When)), "", "The sends that the budget is for, as a CEL expression."},
	}
}

// Bounds of how long a signal stops its subject: shorter would let an attack through between two looks, longer would forget who has
// moved in.
const (
	shortestBlock = 5 * time.Minute
	longestBlock  = 12 * time.Hour
)

func detectFields(t *Detect) []field {
	out := []field{
		{"level", choice(&t.Level, LevelOff, LevelObserve, LevelBasic, LevelStandard, LevelMax), "standard", "How eager detection is. observe sees and reports, and acts on nothing."},
	}
	written := maps.Clone(t.Detectors) // an account starts from a copy of what holds for all
	if written == nil {
		written = make(map[string]Detector)
	}
	t.Detectors = written
	for i, name := range Detectors() {
		v := object(detectorFields(new(Detector)))
		v.read = func(d *decoder, n *yaml.Node, path string) {
			one, partial := written[name]
			d.object(n, path, detectorFields(&one), partial)
			written[name] = one
		}
		if i > 0 {
			v = sameAs("detect."+Detectors()[0], v)
		}
		out = append(out, field{name, v, "{}", "The detector " + name + "."})
	}
	return out
}

// detectionFields are those of the whole policy: what they are about is shared by accounts.
func detectionFields(t *Detect) []field {
	return []field{
		{"deny_at_most", percent(&t.DenyAtMost, 0.001, 1), "5%", "The largest share of a country's honest traffic that detection may be estimated to deny. Beyond it, it asks for challenges instead, and alerts. 100% turns this off."},
		{"expected", expectations(&t.Expected), "", "Volumes that are announced, such as a launch, so that their numbers are no anomaly while they stay below twice what was announced."},
	}
}

func expectations(dst *[]Expected) value {
	return value{kind: "list of volumes", item: "[]", fields: expectedFields(new(Expected)), read: func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.SequenceNode, "a list of volumes, such as [{country: KE, sessions: 5000, from: 2026-03-02T06:00:00Z, until: 2026-03-04T06:00:00Z}]") {
			return
		}
		for i, item := range n.Content {
			var e Expected
			at := element(path, i)
			d.object(item, at, expectedFields(&e), false)
			if !e.From.IsZero() && !e.Until.IsZero() && !e.Until.After(e.From) {
				d.bad(item, at, "until is not after from: write when it ends, after it begins")
			}
			*dst = append(*dst, e)
		}
	}}
}

func expectedFields(e *Expected) []field {
	return []field{
		{"country", country(&e.Country), required, "The country of the numbers, ISO 3166-1 alpha-2."},
		{"sessions", integer(&e.Sessions, 1, 1_000_000_000), required, "How many new users are expected, each with one code or several."},
		{"from", timestamp(&e.From), required, "When it begins."},
		{"until", timestamp(&e.Until), required, "When it ends."},
	}
}

func detectorFields(r *Detector) []field {
	return []field{
		{"mode", choice(&r.Mode, Enforce, Shadow, Off), "", "shadow reports what it would have done. Left out: what the level says."},
		{"on_signal", choice(&r.OnSignal, Deny, Challenge), "", "The verdict for what it suspects. Left out: deny for narrow scopes, challenge for broad ones."},
		{"block", object([]field{
			{"first", duration(&r.Block.First, shortestBlock, longestBlock), "5m", "How long a subject is stopped at first."},
			{"factor", factor(&r.Block.Factor, 1, 10), "2", "How much longer each next block is."},
			{"max", duration(&r.Block.Max, shortestBlock, longestBlock), "12h", "The longest block. Not shorter than first."},
		}), "{}", "How long the subject of a signal is stopped."},
	}
}

func listsFields(l *Lists) []field {
	return []field{
		{"allow", listOf(&l.Allow, entry), "", "Wins over limits and detection, never over an opt-out."},
		{"block", listOf(&l.Block, entry), "", "Always denied."},
		{"test_numbers", listOf(&l.TestNumbers, testNumber), "", "Numbers for tests: allowed, and counted nowhere."},
	}
}

// Recommended is the dated set of defaults for numbers that is built in. It names types only: lists of countries age within
// months (test numbers of the top ten countries fell from 45 % of all to under 20 %), so which to refuse is the operator's.
const Recommended = "2026-11"

// recommendedTypes are types that no person reads a message on, or that cost the sender or the reader extra.
func recommendedTypes() map[string]Action {
	return map[string]Action{"premium": Deny, "shared_cost": Deny, "toll_free": Deny, "uan": Deny, "pager": Deny,
		"voicemail": Deny, "personal": Challenge, "voip": Challenge}
}

func numbersFields(b *Numbers) []field {
	types := make(map[string]*Action)
	actions := mapOf(&types, ".TYPE", func(text string) error { return numberType(new(string)).check(text) },
		func(_ string, a *Action) value { return choice(a, Allow, Deny, Challenge) })
	read := actions.read
	actions.read = func(d *decoder, n *yaml.Node, path string) {
		read(d, n, path)
		b.Types = make(map[string]Action, len(types))
		for name, action := range types {
			b.Types[name] = *action
		}
	}
	return []field{
		{"default_region", region(&b.DefaultRegion), "", "The country of numbers that are written without one. Left out: every number needs its +."},
		{"invalid", choice(&b.Invalid, Allow, Deny, Challenge), "", "What happens to numbers that no numbering plan has. Left out: allow, or what recommended says."},
		{"types", actions, "", "What happens to numbers of a type: unknown, mobile, fixed, fixed_or_mobile, toll_free, premium, shared_cost, voip, personal, pager, uan or voicemail. Left out: allow, or what recommended says."},
		{"countries", object(countriesFields(&b.Countries)), "", "Which countries are sent to."},
		{"recommended", choice(&b.Recommended, "off", Recommended), "off", "Take these defaults of the given date for what invalid and types leave out: invalid, premium, shared_cost, toll_free, uan, pager, voicemail are denied, personal and voip challenged."},
	}
}

func countriesFields(c *Countries) []field {
	return []field{
		{"allow", oneOrMore(&c.Allow, country), "", "All that are sent to; others are denied. ZZ stands for numbers of no country."},
		{"block", oneOrMore(&c.Block, country), "", "Denied."},
		{"challenge", oneOrMore(&c.Challenge, country), "", "Challenged."},
	}
}

func otpFields(p *Policy) []field {
	start := func(name string) (Limit, bool) { return p.startFrom(name, Limit{KnownGood: true, OnLimit: Challenge}) }
	return []field{
		{"outcome_timeout", duration(&p.OTP.OutcomeTimeout, 10*time.Second, 7*day), "1h", "A send without an outcome for so long counts as unverified."},
		{"known_good", object([]field{
			{"for", duration(&p.OTP.KnownGoodFor, time.Minute, limiter.MaxWindow), "30d", "How long a number is known good after it verified."},
			{"limits", sameAs("limits[]", limits(&p.Limits, start)), "", "Limits of known-good numbers. One with the name of a limit takes its place and differs in what is written; on_limit is challenge unless written."},
		}), "{}", "Numbers that verified recently have a budget of their own, so that a stranger cannot lock the owner out."},
		{"verify", object(verifyFields(&p.OTP.Verify)), "{}", "How many codes may be entered; see CheckVerify."},
	}
}

func verifyFields(v *Verify) []field {
	b := &v.Number
	return []field{
		{"codes", integer(&v.Codes, 1, limiter.MaxExact), "5", "How many wrong codes may be entered for one OTP."},
		{"consecutive", integer(&v.Consecutive, 2, 100), "100", "How many wrong codes may follow one another for a number, over all its OTPs. Half of them are kept for users who passed a challenge."},
		{"number", object([]field{
			{"free", integer(&b.Free, 0, 49), "5", "How many wrong codes are not delayed."},
			{"base", duration(&b.Base, limiter.MinWindow, limiter.MaxWindow), "30s", "The first wait."},
			{"factor", factor(&b.Factor, 1, 100), "2", "How much longer each wait is than the one before."},
			{"max", duration(&b.Max, limiter.MinWindow, limiter.MaxWindow), "1h", "The longest wait. Not shorter than base."},
			{"forget_after", duration(&b.ForgetAfter, time.Second, limiter.MaxWindow), "366d", "Quiet for so long after its wait, a number starts again. The limit on consecutive wrong codes is only as good as this is long."},
			{"jitter", percent(&b.Jitter, 0, 0.5), "10%", "Each wait is longer or shorter by up to this share of itself."},
		}), "{}", "The wait between wrong codes for a number."},
		{"client", object([]field{
			{"limit", integer(&v.ClientN, 1, limiter.MaxN), "60", "How many codes one client may enter, right ones too."},
			{"window", duration(&v.ClientWindow, limiter.MinWindow, limiter.MaxWindow), "10m", "The length of the window."},
		}), "{}", "A client that enters more is challenged."},
	}
}

var (
	spiffePattern  = regexp.MustCompile(`^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+$`)
	subjectPattern = regexp.MustCompile(`^([A-Za-z]+=[^=,]+)(,[A-Za-z]+=[^=,]+)*$`)
)

func accounts(p *Policy) value {
	return mapOf(&p.Accounts, ".NAME", func(text string) error {
		if !accountPattern.MatchString(text) {
			return fmt.Errorf("%s is not an account name: write %s", quote(text), accountBounds)
		}
		return nil
	}, func(name string, a *Account) value {
		a.Detect = p.Detect
		return object(accountFields(p, name, a))
	})
}

func accountFields(p *Policy, name string, a *Account) []field {
	start := func(rule string) (Limit, bool) { return p.startFrom(rule, Limit{Account: name}) }
	detect := object(detectFields(&a.Detect))
	fields := detect.fields
	detect.read = func(d *decoder, n *yaml.Node, path string) { d.object(n, path, fields, true) }
	return []field{
		{"keys_from_env", oneOrMore(&a.KeysFromEnv, func(s *string) value {
			return secretless(s, "variable name", "the name of an environment variable, such as ACME_KEY", envPattern)
		}), "", "Environment variables that hold one API key each."},
		{"keys_from_file", oneOrMore(&a.KeysFromFile, text), "", "Files that hold one API key a line."},
		{"keys", oneOrMore(&a.Keys, func(s *string) value {
			return secretless(s, "hashed key", "sha256: and 64 hex digits, as sendgate keys hash prints", hashPattern)
		}), "", "Hashed API keys. Several live side by side while one replaces the other."},
		{"identities", oneOrMore(&a.Identities, identity), "", "Names in client certificates."},
		{"allow_addresses", listOf(&a.AllowAddresses, prefix), "", "The peers that may use the account. Left out: any."},
		{"region", word(&a.Residency, "region name", "a lower-case word, such as eu", regionPattern), "", "Where the data of the account stays."},
		{"default_region", region(&a.DefaultRegion), "", "The country of numbers that are written without one. Left out: numbers.default_region."},
		{"countries", pointer(&a.Countries, countriesFields), "", "Which countries are sent to, instead of numbers.countries."},
		{"mode", choice(&a.Mode, Enforce, Shadow), "enforce", "shadow: limits, delays, budgets and detection judge and report the sends of this account and stop none of them; what they count is kept apart from what other accounts count. Lists, opt-outs and numbers hold all the same."},
		{"limits", sameAs("limits[]", limits(&p.Limits, start)), "", "Limits of this account. One with the name of a limit takes its place and differs in what is written."},
		{"detect", sameAs("detect", detect), "", "Detection for this account. It differs from detect in what is written."},
	}
}

// startFrom is where a limit starts that may stand in for the one of its name: the scope says for whom.
func (p *Policy) startFrom(name string, scope Limit) (Limit, bool) {
	for i := range p.Limits {
		l := &p.Limits[i]
		if l.Account != "" || l.KnownGood || l.AfterChallenge {
			continue
		}
		if l.Name != name {
			continue
		}
		base := *l
		base.Account, base.KnownGood, base.AfterChallenge = scope.Account, scope.KnownGood, scope.AfterChallenge
		if scope.OnLimit != "" {
			base.OnLimit = scope.OnLimit
		}
		return base, true
	}
	return scope, false
}

// identity reads a SPIFFE ID or a certificate subject.
func identity(dst *string) value {
	return scalar("identity", "a SPIFFE ID (spiffe://example.org/billing) or a subject (CN=billing,O=Acme)", func(s string, _ bool) error {
		if len(s) > 512 || !spiffePattern.MatchString(s) && !subjectPattern.MatchString(s) {
			return fmt.Errorf("%s is not an identity: write a SPIFFE ID such as spiffe://example.org/billing, or a subject such as CN=billing,O=Acme", quote(s))
		}
		*dst = s
		return nil
	})
}

// secretless is word for places where people put a secret by mistake: its error does not show what was written.
func secretless(dst *string, kind, bounds string, pattern *regexp.Regexp) value {
	return scalar(kind, bounds, func(text string, _ bool) error {
		if !pattern.MatchString(text) {
			return fmt.Errorf("this is not a %s: write %s", kind, bounds)
		}
		*dst = text
		return nil
	})
}

// pointer reads a mapping that may be left out and then is nil.
func pointer[T any](dst **T, fields func(*T) []field) value {
	v := object(fields(new(T)))
	v.read = func(d *decoder, n *yaml.Node, path string) {
		*dst = new(T)
		d.object(n, path, fields(*dst), false)
	}
	return v
}

// sameAs keeps the fields of a value out of the reference: they are described elsewhere.
func sameAs(where string, v value) value {
	v.fields, v.kind = nil, v.kind+", as in "+where
	return v
}

// failModes reads modes by name of a rule; whether there is such a rule is judged when all are read.
func failModes(dst *map[string]*FailMode) value {
	return mapOf(dst, ".RULE", func(text string) error { return word(new(string), "rule name", ruleBounds, rulePattern).check(text) },
		func(_ string, m *FailMode) value { return choice(m, Open, Closed, Local) })
}
