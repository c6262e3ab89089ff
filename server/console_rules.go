package server

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// ruleList tells the rules of a policy, detectors included, and what each did.
func (b *Board) ruleList(p *policy.Policy) *sendgatev1.BoardRules {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := new(sendgatev1.BoardRules)
	told := make(map[string]bool)
	add := func(name, says string, mode policy.Mode) {
		if told[name] { // limits of accounts and of known-good numbers share the name of what they replace
			return
		}
		told[name] = true
		r := &sendgatev1.BoardRule{Name: name, Says: says, Mode: string(mode)}
		if c := b.rules[name]; c != nil && mode == policy.Shadow {
			r.Refused, r.Saved = c.wouldRefuse, c.wouldSave
		} else if c != nil {
			r.Refused, r.Saved = c.refused, c.saved
		}
		out.Rules = append(out.Rules, r)
	}
	for i := range p.Delays {
		y := &p.Delays[i]
		add("delay:"+y.Purpose, delaySays(y), y.Mode)
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		if l.Account == "" && !l.KnownGood && !l.AfterChallenge {
			add("limit:"+l.Name, fmt.Sprintf("%d per %s by %s", l.N, short(l.Window), parts(l.By)), l.Mode)
		}
	}
	for i := range p.Limits { // those that replace nothing
		l := &p.Limits[i]
		add("limit:"+l.Name, fmt.Sprintf("%d per %s by %s", l.N, short(l.Window), parts(l.By)), l.Mode)
	}
	for i := range p.Spend {
		s := &p.Spend[i]
		add("spend:"+s.Name, budgetSays(s), s.Mode)
	}
	for _, e := range detect.Catalogue() {
		mode := cmp.Or(p.Detect.Detectors[e.Kind.String()].Mode, policy.Enforce)
		switch p.Detect.Level {
		case policy.LevelOff:
			mode = policy.Off
		case policy.LevelObserve:
			mode = policy.Shadow
		}
		add("detect:"+e.Kind.String(), e.Action, mode)
	}
	return out
}

// shadowEvery is how often the shadow report is looked at: it is put together for each look.
const shadowEvery = 5 * time.Second

// rules are the rules of the policy, those in shadow with what the shadow report has on them, and candidates beside the rule that they
// are for. b is locked.
func (b *boards) rules() *sendgatev1.BoardRules {
	out := b.board.ruleList(b.gate.Policy())
	if b.gate.Book() == nil {
		return out
	}
	if time.Since(b.reported) > shadowEvery {
		b.reported, b.shadow = time.Now(), shadowRules(b.gate, time.Time{})
	}
	for _, s := range b.shadow {
		kind := s.Kind
		if kind == "detector" {
			kind = "detect"
		}
		at := slices.IndexFunc(out.Rules, func(r *sendgatev1.BoardRule) bool { return r.Name == kind+":"+cmp.Or(s.CandidateOf, s.Rule) })
		if at < 0 || s.Mode != "shadow" && s.Mode != "candidate" {
			continue
		}
		r := out.Rules[at]
		if s.Mode == "candidate" {
			r = &sendgatev1.BoardRule{Name: kind + ":" + s.Rule, Says: "a candidate for " + s.CandidateOf, Mode: s.Mode}
			out.Rules = slices.Insert(out.Rules, at+1, r)
		}
		r.Refused, r.Saved, r.Verified = s.Total.Denied+s.Total.Challenged, s.Total.Money, s.Total.Verified
	}
	return out
}

func delaySays(y *policy.Delay) string {
	b := &y.Backoff
	return fmt.Sprintf("%d free, then %s growing to %s, by %s", b.Free, short(b.Base), short(b.Max), parts(y.By))
}

func budgetSays(s *policy.Spend) string {
	of := ""
	if s.Of == policy.OfUnverified {
		of = " of what was not verified"
	}
	return fmt.Sprintf("%s %.2f%s per %s by %s", s.Currency, float64(s.Budget)/1e6, of, short(s.Window), parts(s.By))
}

func parts(by []policy.Part) string {
	if len(by) == 0 {
		return "all together"
	}
	words := make([]string, len(by))
	for i, p := range by {
		words[i] = string(p)
	}
	return strings.Join(words, " and ")
}

// short writes 30m where Duration writes 30m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
