package policy

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/internal/clientip"
)

// judge notes what needs more than one field to be seen. What could not be read is left out: it has its own problem already.
func (d *decoder) judge(p *Policy) {
	d.judgeClientAddress(p)
	d.judgeNames(p)
	d.judgeFailModes(p)
	d.judgeMatches(p)
	for i := range p.Delays {
		if y := &p.Delays[i]; y.Backoff.Max < y.Backoff.Base {
			d.badAt(y.path+".max", "max %s is shorter than base %s: write at least %s", formatDuration(y.Backoff.Max),
				formatDuration(y.Backoff.Base), formatDuration(y.Backoff.Base))
		}
	}
	if b := &p.OTP.Verify.Number; b.Max < b.Base {
		d.badAt("otp.verify.number.max", "max %s is shorter than base %s: write at least %s", formatDuration(b.Max), formatDuration(b.Base), formatDuration(b.Base))
	}
	d.judgeDetect(&p.Detect, "detect")
	d.judgeLists(&p.Lists)
	d.judgeCountries(&p.Numbers.Countries, "numbers.countries")
	d.judgeAccounts(p)
	d.judgeProxies(p.Proxies)
	d.judgeConsent(p)
}

// judgeClientAddress asks the package that will use it. It tells a line a problem, the key first.
func (d *decoder) judgeClientAddress(p *Policy) {
	if slices.ContainsFunc(d.problems, func(b Problem) bool { return strings.HasPrefix(b.Field, "client_address.") }) {
		return
	}
	if _, err := clientip.New(p.ClientAddress.Config()); err != nil {
		for line := range strings.Lines(err.Error()) {
			key, _, _ := strings.Cut(line, " ")
			d.badAt("client_address."+strings.TrimSuffix(key, ":"), "%s", strings.TrimSpace(line))
		}
	}
}

// judgeNames wants every name once, for limits and spend together: metrics, fail_mode and operators go by it.
func (d *decoder) judgeNames(p *Policy) {
	first := make(map[string]string)
	note := func(unique, name, path string) {
		at := path + ".name"
		switch before, twice := first[unique]; {
		case name == "":
		case name == "default":
			d.badAt(at, "the name default is taken by fail_mode.default: write another")
		case twice:
			d.badAt(at, "the name %s is taken by %s in line %d: write another", quote(name), before, d.at[before].Line)
		default:
			first[unique] = path
		}
	}
	for i := range p.Limits {
		note(p.Limits[i].StoreName(), p.Limits[i].Name, p.Limits[i].path)
	}
	for i := range p.Spend {
		note(p.Spend[i].Name, p.Spend[i].Name, p.Spend[i].path)
	}
}

// judgeFailModes gives each rule the mode that its own field, else fail_mode, says.
func (d *decoder) judgeFailModes(p *Policy) {
	p.FailMode = Open
	if mode := p.failModes["default"]; mode != nil && *mode != "" {
		p.FailMode = *mode
	}
	names := []string{"default"}
	settle := func(own *FailMode, name, path string) {
		mode, named := p.failModes[name]
		names = append(names, name)
		switch {
		case *own != "" && named && *own != *mode && d.at[path+".fail_mode"] != nil:
			d.badAt(path+".fail_mode", "fail_mode.%s says %s and this says %s: keep one of them", name, *mode, *own)
		case *own == "" && named:
			*own = *mode
		case *own == "":
			*own = p.FailMode
		}
	}
	for i := range p.Limits {
		settle(&p.Limits[i].FailMode, p.Limits[i].Name, p.Limits[i].path)
	}
	for i := range p.Spend {
		settle(&p.Spend[i].FailMode, p.Spend[i].Name, p.Spend[i].path)
	}
	for i := range p.Delays {
		if p.Delays[i].FailMode == "" {
			p.Delays[i].FailMode = p.FailMode
		}
	}
	if slices.Contains(names, "") {
		return // a rule without a name may be the one that is meant
	}
	for name := range p.failModes {
		if !slices.Contains(names, name) {
			d.badAt("fail_mode."+name, "there is no rule %s%s", quote(name), remedy(name, names))
		}
	}
}

// judgeMatches wants every account that a rule names to exist, where accounts are told apart, and limits that stand in for
// others not to pick accounts or numbers again.
func (d *decoder) judgeMatches(p *Policy) {
	known := slices.Sorted(maps.Keys(p.Accounts))
	judge := func(m *Match, path string) {
		for _, name := range m.Account {
			if _, written := d.at[path+".account"]; written && name != "" && len(known) > 0 && !has(known, name) {
				d.badAt(path+".account", "there is no account %s%s", quote(name), remedy(name, known))
			}
		}
	}
	d.judgeConditions(p, known)
	for i := range p.Limits {
		l := &p.Limits[i]
		judge(&l.Match, l.path+".match")
		judge(&l.Unless, l.path+".unless")
		at := l.path + ".match"
		if _, written := d.at[at+".account"]; written && l.Account != "" {
			d.badAt(at+".account", "a limit of an account is for that account: leave the key out")
		}
		if _, written := d.at[at+".known_good"]; written && l.KnownGood {
			d.badAt(at+".known_good", "a limit of known-good numbers is for those: leave the key out")
		}
		if _, written := d.at[at+".challenge_passed"]; written && l.AfterChallenge {
			d.badAt(at+".challenge_passed", "a limit of after_challenge is for sends that passed one: leave the key out")
		}
	}
	for i := range p.Spend {
		judge(&p.Spend[i].Match, p.Spend[i].path+".match")
		judge(&p.Spend[i].Unless, p.Spend[i].path+".unless")
	}
}

// judgeConditions does the same for conditions, at the place within the expression.
func (d *decoder) judgeConditions(p *Policy, accounts []string) {
	for _, c := range p.conditions() {
		for _, a := range c.accounts {
			if a.name != "" && len(accounts) > 0 && !has(accounts, a.name) {
				d.bad(&yaml.Node{Line: a.line, Column: a.column}, "", "there is no account %s%s", quote(a.name), remedy(a.name, accounts))
			}
		}
	}
}

func (d *decoder) judgeDetect(t *Detect, path string) {
	for _, name := range Detectors() {
		at := path + "." + name + ".block"
		if b := t.Detectors[name].Block; b.Max < b.First && d.at[at] != nil {
			d.badAt(at+".max", "max %s is shorter than first %s: write at least %s", formatDuration(b.Max), formatDuration(b.First), formatDuration(b.First))
		}
	}
}

// judgeLists wants every entry once, over both lists: which of two would win is not for the reader to guess.
func (d *decoder) judgeLists(l *Lists) {
	first := make(map[Entry]string)
	for _, list := range []struct {
		path    string
		entries []Entry
	}{{"lists.allow", l.Allow}, {"lists.block", l.Block}} {
		for i, e := range list.entries {
			at := element(list.path, i)
			if before, twice := first[e]; twice && e != (Entry{}) {
				d.badAt(at, "the same entry stands at %s in line %d: keep one of them", before, d.at[before].Line)
			} else {
				first[e] = at
			}
		}
	}
}

func (d *decoder) judgeCountries(c *Countries, path string) {
	first := make(map[string]string)
	for _, list := range []struct {
		key       string
		countries []string
	}{{"allow", c.Allow}, {"block", c.Block}, {"challenge", c.Challenge}} {
		for _, code := range list.countries {
			if before, twice := first[code]; twice && before != list.key && code != "" {
				d.badAt(path+"."+list.key, "%s stands in %s and in %s: keep one of them", code, before, list.key)
			}
			first[code] = list.key
		}
	}
}

// judgeAccounts wants what proves to be an account to prove one account only.
func (d *decoder) judgeAccounts(p *Policy) {
	owner := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(p.Accounts)) {
		a, path := p.Accounts[name], "accounts."+name
		for _, proof := range []struct {
			key    string
			values []string
		}{{"keys_from_env", a.KeysFromEnv}, {"keys_from_file", a.KeysFromFile}, {"keys", a.Keys}, {"identities", a.Identities}} {
			for _, v := range proof.values {
				if other, taken := owner[proof.key+" "+v]; taken && other != name && v != "" {
					d.badAt(path+"."+proof.key, "account %s has one of these too: one proves one account, so keep it in one place", other)
				}
				owner[proof.key+" "+v] = name
			}
		}
		if a.Countries != nil {
			d.judgeCountries(a.Countries, path+".countries")
		}
		d.judgeDetect(&a.Detect, path+".detect")
	}
}
