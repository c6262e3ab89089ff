package gate

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// CheckPrices says whether a price table fits a policy: its budgets need one, in their currency.
func CheckPrices(p *policy.Policy, t *prices.Table) error { return checkPrices(p, t) }

// Changes tells what another policy changes, one sentence each, and what becomes of what was counted.
func Changes(old, p *policy.Policy) []string {
	var out []string
	before, after := namedLimits(old), namedLimits(p)
	for _, name := range before.order {
		if _, stays := after.by[name]; !stays {
			out = append(out, name+" is gone; what it counted is kept for a while, in case it comes back")
		}
	}
	for _, name := range after.order {
		now := after.by[name]
		was, known := before.by[name]
		if !known {
			out = append(out, name+" is new")
			continue
		}
		out = append(out, changeOf(name, &was, &now)...)
	}
	sections := []struct {
		name     string
		old, new any
	}{
		{"client_address", old.ClientAddress, p.ClientAddress}, {"detect", old.Detect, p.Detect}, {"lists", old.Lists, p.Lists},
		{"numbers", old.Numbers, p.Numbers}, {"accounts", old.Accounts, p.Accounts}, {"otp", old.OTP, p.OTP},
		{"proxies", old.Proxies, p.Proxies}, {"consent", old.Consent, p.Consent}, {"fail_mode", old.FailMode, p.FailMode},
	}
	for _, s := range sections {
		if !reflect.DeepEqual(s.old, s.new) {
			out = append(out, s.name+" changed")
		}
	}
	if len(out) == 0 && old.Version != p.Version {
		out = append(out, "the rules match other sends, or act otherwise")
	}
	return out
}

// asWritten is a rule, and what says whom it is for and what it does.
type asWritten struct {
	limiter.Limit
	rest any
	mode policy.Mode
}

type limitsByName struct {
	by    map[string]asWritten
	order []string
}

// namedLimits are the rules of a policy by what an operator calls them.
func namedLimits(p *policy.Policy) limitsByName {
	n := limitsByName{by: make(map[string]asWritten)}
	all := p.LimiterLimits()
	add := func(name string, rest any, mode policy.Mode) {
		n.by[name] = asWritten{all[len(n.order)], rest, mode}
		n.order = append(n.order, name)
	}
	for i := range p.Delays {
		y := p.Delays[i]
		add("delay "+y.Purpose, []any{y.OnLimit, y.CountDenied, y.FailMode, y.When.String()}, y.Mode)
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		add("limit "+l.StoreName(), []any{l.OnLimit, l.CountDenied, l.FailMode, l.Match, l.Unless, l.When.String(), slices.Clone(l.NotAccounts)}, l.Mode)
	}
	for i := range p.Spend {
		b := &p.Spend[i]
		add("spend "+b.Name, []any{b.OnLimit, b.FailMode, b.Match, b.Unless, b.When.String(), b.Of, b.WarnAt, b.ChallengeAt}, b.Mode)
	}
	return n
}

func changeOf(name string, was, now *asWritten) (out []string) {
	say := func(format string, args ...any) { out = append(out, name+" "+fmt.Sprintf(format, args...)) }
	if was.Group != now.Group {
		say("counts by %s and no longer by %s; it begins anew", now.Group, was.Group)
		return out
	}
	switch {
	case now.N > was.N:
		say("is raised from %d to %d, at once", was.N, now.N)
	case now.N < was.N:
		say("is lowered from %d to %d; what was let through counts on", was.N, now.N)
	}
	if was.Window != now.Window {
		say("holds for %s and not %s; what was let through is held for as long as it was then", now.Window, was.Window)
	}
	if !reflect.DeepEqual(was.Backoff, now.Backoff) {
		say("waits otherwise from the next send on")
	}
	if was.mode != now.mode {
		say("is in mode %s and was in %s; the two count apart", now.mode, was.mode)
	}
	if !reflect.DeepEqual(was.rest, now.rest) {
		say("is for other sends, or acts otherwise")
	}
	return out
}
