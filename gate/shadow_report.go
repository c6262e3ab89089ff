package gate

import (
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/report"
)

// Book is where shadow is counted; nil where Options had none.
func (g *Gate) Book() *report.Book { return g.book }

// ShadowDetect is the engine of detectors in shadow; nil until a policy has some.
func (g *Gate) ShadowDetect() *detect.Engine { return g.shadowDetect.Load() }

// ShadowRule is one row of the book, as the policy in force has it.
type ShadowRule struct {
	Row  string // its name in the book
	Kind string // limit, delay, spend or detector
	Mode string // shadow, candidate, or enforce for the limit beside a candidate
	// Live is the row of the limit that a candidate stands beside.
	Live   string
	Limit  int64 // of a budget in millionths of the currency; 0 for none
	Window time.Duration
}

// ShadowRules are the rows of the policy in force, in its order, detectors last.
func (g *Gate) ShadowRules() []ShadowRule {
	r := g.rules.Load()
	var out []ShadowRule
	for _, kind := range []struct {
		name  string
		rules []rule
	}{{"delay", r.delays}, {"limit", r.limits}, {"spend", r.spend}} {
		for i := range kind.rules {
			l := &kind.rules[i]
			one := ShadowRule{Row: l.rowName, Kind: kind.name, Mode: "shadow", Limit: l.n, Window: l.window}
			if l.live != nil {
				one.Mode, one.Live = "candidate", l.live.rowName
			}
			if !l.shadow {
				one.Mode = "enforce"
			}
			if l.row != nil {
				out = append(out, one)
			}
			if l.twin == nil {
				continue
			}
			one.Mode, one.Live = "shadow", ""
			for name := range r.policy.Accounts { // sorted by who shows them
				if l.twin.rows[name] != nil {
					one.Row = accountRow(name, l.rowName)
					out = append(out, one)
				}
			}
		}
	}
	add := func(all []watched, prefix string) {
		for _, w := range all {
			out = append(out, ShadowRule{Row: prefix + "detect:" + w.kind, Kind: "detector", Mode: "shadow"})
		}
	}
	add(r.shadow.others, "")
	for name, own := range r.shadow.detectors {
		if r.shadow.accounts[name] {
			add(own, accountRow(name, ""))
		}
	}
	return out
}

// Currency is that of what the book counts; "" where there are no prices.
func (g *Gate) Currency() string {
	if t := g.rules.Load().prices; t != nil {
		return t.Currency()
	}
	return ""
}
