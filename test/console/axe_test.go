package console_test

import (
	"os"
	"strings"

	"github.com/chromedp/chromedp"
)

// axe fails if people with a keyboard, a screen reader or weak eyes would stumble over something in what is shown now.
func (p *page) axe(state string) {
	p.Helper()
	script, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		p.Fatal(err)
	}
	p.do(chromedp.Evaluate[chromedp.Void](string(script)))
	type finding struct {
		ID, Impact, Help string
		Nodes            []string
	}
	found := is[struct {
		Passes     int
		Violations []finding
	}](p, `axe.run(document, {resultTypes: ['violations']}).then((r) => ({passes: r.passes.length, violations: r.violations.map((v) => (
		{id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? ''))}))}))`)
	if found.Passes < 10 {
		p.Errorf("axe passed %d rules in the state %q: it is blind", found.Passes, state)
	}
	for _, f := range found.Violations {
		p.Errorf("%s: %s: %s (%s):\n\t%s", state, f.Impact, f.Help, f.ID, strings.Join(f.Nodes, "\n\t"))
	}
}
