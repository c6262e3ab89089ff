package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sendgate/sendgate/internal/prices"
)

// Warning is something that a policy may say and that is probably not meant.
type Warning struct {
	// Name is one of WarningNames: stable, for programs.
	Name string
	Problem
}

// String is file:line:column: warning: NAME: field: message.
func (w Warning) String() string {
	return fmt.Sprintf("%s:%d:%d: warning: %s: %s: %s", w.File, w.Line, w.Column, w.Name, w.Field, w.Message)
}

// The names of warnings.
const (
	WarnNeverMatches  = "never-matches"  // no send meets the rule
	WarnAlwaysHolds   = "always-holds"   // a condition that every send meets
	WarnShadowed      = "shadowed"       // a stricter rule stands before it
	WarnDelayLonger   = "delay-longer"   // a window that a delay never lets fill
	WarnMissingPrices = "missing-prices" // a budget without prices in its currency
	WarnUnboundedKeys = "unbounded-keys" // keys without end: chosen by the caller, or kept for long
	WarnNeverWaits    = "never-waits"    // a delay that forgets before it has ever grown
)

// LintOptions of Lint.
type LintOptions struct {
	// Prices are what serve would be given. Nil: none.
	Prices *prices.Table
}

// Lint reads a policy as Parse does and says what in it is probably not meant, by line.
func Lint(name string, src []byte, o LintOptions) (*Policy, []Warning, error) {
	p, d, err := parse(name, src)
	if err != nil {
		return nil, nil, err
	}
	l := &linter{decoder: d, policy: p}
	l.never()
	l.shadowed()
	l.delays()
	l.prices(o.Prices)
	l.keys()
	slices.SortStableFunc(l.warnings, func(a, b Warning) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return p, l.warnings, nil
}

type linter struct {
	*decoder
	policy   *Policy
	warnings []Warning
}

// warn notes a warning where a path stands. What the parser added by itself has no path and no warning.
func (l *linter) warn(name, path, format string, args ...any) {
	if path == "" || strings.HasPrefix(path, ".") {
		return
	}
	before := len(l.problems)
	l.badAt(path, format, args...)
	l.warnings = append(l.warnings, Warning{name, l.problems[before]})
	l.problems = l.problems[:before]
}

// never finds rules that no send meets, and conditions that each meets.
func (l *linter) never() {
	p := l.policy
	for i := range p.Limits {
		if r := &p.Limits[i]; r.CandidateOf == "" {
			l.neverRule(r.path, []question{{r.Match, r.Unless, r.When}}, r.applies)
		}
	}
	for i := range p.Spend {
		b := &p.Spend[i]
		l.neverRule(b.path, []question{{b.Match, b.Unless, b.When}}, func(s *Send) bool {
			return b.Match.Holds(s) && (b.Unless.empty() || !b.Unless.Holds(s)) && b.When.maybe(s)
		})
	}
	for i := range p.Delays {
		y := &p.Delays[i]
		l.neverRule(y.path, []question{{When: y.When}}, func(s *Send) bool { return y.Purpose == s.Purpose && y.When.maybe(s) })
	}
}

func (l *linter) neverRule(path string, asked []question, applies func(*Send) bool) {
	met, unmet, reached := false, false, false
	complete := l.policy.everySend(asked, func(s *Send) bool {
		reached = true
		met = met || applies(s)
		unmet = unmet || !asked[0].When.maybe(s)
		return !met || !unmet
	})
	switch when := asked[0].When; {
	case !complete:
	case !met && reached:
		l.warn(WarnNeverMatches, path, "no send meets this: compare match, unless and when with each other and with numbers.countries and numbers.types, or take the rule out")
	case when != nil && !when.opaque && !unmet:
		l.warn(WarnAlwaysHolds, path+".when", "every send meets this: leave when out")
	}
}

// applies reports whether a limit judges a send, as the index has it.
func (l *Limit) applies(s *Send) bool {
	for d := range dimensions {
		if slices.Contains(l.replacedFor(d), s.value(d)) {
			return false
		}
	}
	return l.Match.Holds(s) && (l.Unless.empty() || !l.Unless.Holds(s)) && l.When.maybe(s)
}

// shadowed finds limits that are never reached because a stricter one is met first.
func (l *linter) shadowed() {
	everyones, ofAccount := make([]*Limit, 0, 16), make(map[string][]*Limit)
	p := l.policy
	for i := range p.Limits {
		switch r := &p.Limits[i]; {
		case r.Mode != Enforce:
		case r.Account == "":
			everyones = append(everyones, r)
		default:
			ofAccount[r.Account] = append(ofAccount[r.Account], r)
		}
	}
	for i := range p.Limits {
		a := &p.Limits[i]
		if a.Mode != Enforce || a.CountDenied {
			continue
		}
		for _, b := range append(slices.Clip(everyones), ofAccount[a.Account]...) {
			if b != a && p.stricter(b, a) && !(l.isLater(b, a) && p.stricter(a, b)) { // of two that say the same, the later goes
				l.warn(WarnShadowed, a.path, "%s in line %d is met first, always: it allows %d in %s by %s; raise or narrow one of them, or take this out",
					quote(b.Name), l.lineOf(b.path), b.N, formatDuration(b.Window), b.Group())
				break
			}
		}
	}
}

// stricter reports whether whoever meets a has met b before: b counts at least what a counts, lets no more of it pass, for at least as
// long, and judges every send that a judges.
func (p *Policy) stricter(b, a *Limit) bool {
	if b.N > a.N || b.Window < a.Window || b.OnLimit == Challenge && a.OnLimit == Deny || !coarser(b.By, a.By) ||
		b.When != nil && b.When.opaque && (a.When == nil || a.When.text != b.When.text) {
		return false
	}
	implied := true
	complete := p.everySend([]question{{a.Match, a.Unless, a.When}, {b.Match, b.Unless, b.When}, {Match: Match{Account: append(slices.Clone(a.NotAccounts), b.NotAccounts...)}}},
		func(s *Send) bool {
			implied = !a.applies(s) || b.applies(s)
			return implied
		})
	return complete && implied
}

// coarser reports whether sends of one key by fine always share their key by coarse.
func coarser(coarse, fine []Part) bool {
	follows := map[Part][]Part{
		ByNumber: {ByRange2, ByRange3, ByRange4, ByCountry}, ByRange2: {ByRange3, ByRange4, ByCountry}, ByRange3: {ByRange4, ByCountry},
		ByRange4: {ByCountry}, ByClient56: {ByClient48},
	}
	return !slices.ContainsFunc(coarse, func(c Part) bool {
		return !slices.ContainsFunc(fine, func(f Part) bool { return f == c || slices.Contains(follows[f], c) })
	})
}

// delays finds limits whose window is over before a delay has let so many pass, and delays that never grow.
func (l *linter) delays() {
	p := l.policy
	for i := range p.Delays {
		y := &p.Delays[i]
		if y.Mode != Enforce {
			continue
		}
		for j := range p.Limits {
			r := &p.Limits[j]
			purposes := r.Match.Purpose
			if r.Mode != Enforce || r.CountDenied || r.path == "" || !coarser(y.By, r.By) || y.When != nil || r.AfterChallenge ||
				len(purposes) > 1 || len(purposes) == 1 && purposes[0] != y.Purpose {
				continue
			}
			if passed := int64(y.Backoff.Free) + 1; r.Window <= y.Backoff.Base && passed <= r.N {
				l.warn(WarnDelayLonger, r.path+".window", "delays.%s lets no more than %d pass in %s, its first wait, so the limit of %d is never reached: write a longer window, or a base shorter than this one",
					y.Purpose, passed, formatDuration(y.Backoff.Base), r.N)
			}
		}
		if b := &y.Backoff; b.Factor > 1 && b.ForgetAfter < b.Base {
			l.warn(WarnNeverWaits, y.path+".forget_after", "forget_after %s is shorter than base %s, so the wait hardly grows: write at least %s",
				formatDuration(b.ForgetAfter), formatDuration(b.Base), formatDuration(b.Base))
		}
	}
}

// prices finds budgets that serve would refuse.
func (l *linter) prices(t *prices.Table) {
	for i := range l.policy.Spend {
		switch b := &l.policy.Spend[i]; {
		case t == nil:
			l.warn(WarnMissingPrices, b.path, "a budget needs prices in %s: give a table with --prices, here and to serve", b.Currency)
		case t.Currency() != b.Currency:
			l.warn(WarnMissingPrices, b.path+".currency", "the prices are in %s: write both in one currency", t.Currency())
		}
	}
}

// longKept is how long a key of a person may be kept before there are so many that the table is full of them.
const longKept = 31 * day

// keys finds rules whose keys have no end.
func (l *linter) keys() {
	for i := range l.policy.Limits {
		r := &l.policy.Limits[i]
		if r.CandidateOf != "" {
			continue
		}
		for part, d := range map[Part]dimension{ByEndpoint: byEndpoint, BySubaccount: bySubaccount} {
			if slices.Contains(r.By, part) && r.Match.values(d) == nil && !r.When.asks("send."+string(part)) {
				l.warn(WarnUnboundedKeys, r.path+".by", "every new %s is a new key, so who can choose it gets around the limit: name those that count in match.%s, or leave it out of by", part, part)
			}
		}
		if r.Window > longKept && slices.ContainsFunc(r.By, func(p Part) bool { return !p.isShared() }) {
			l.warn(WarnUnboundedKeys, r.path+".window", "every key by %s is kept for %s, and there is one for each that ever sent: write at most %s, or count by what has few values",
				r.Group(), formatDuration(r.Window), formatDuration(longKept))
		}
	}
}

// isLater reports whether b stands behind a in the file; what the parser added stands before all.
func (l *linter) isLater(b, a *Limit) bool {
	x, y := l.at[b.path], l.at[a.path]
	return x != nil && (y == nil || x.Line > y.Line || x.Line == y.Line && x.Column > y.Column)
}

func (l *linter) lineOf(path string) int {
	if n := l.at[path]; n != nil {
		return n.Line
	}
	return 1
}

// WarningNames are the names of all warnings, sorted.
func WarningNames() []string {
	return []string{WarnAlwaysHolds, WarnDelayLonger, WarnMissingPrices, WarnNeverMatches, WarnNeverWaits, WarnShadowed, WarnUnboundedKeys}
}
