package replay

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageHTML string

// Page is a report of a replay: one HTML file that needs nothing else. It has no date of its own, so that the same replay gives the
// same bytes.
type Page struct {
	// Log is the name of the log, and Currency that of the prices; "" for none.
	Log, Currency string
	// Lines are all that were read, and Bad those that were no events.
	Lines, Bad int
	// A judged, and B beside it; nil for none.
	A, B       *Replayer
	Difference *Difference
}

// side is one policy's part of a page.
type side struct {
	Name, Version string
	*Summary
	Counts Counts
	Shadow []shadowRow
}

type shadowRow struct {
	Name                      string
	Judged, Stopped, Verified int64
	Money                     int64
	Freed                     int64
}

// topRows is how many rows a list has.
const topRows = 12

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"count": func(n any) string { return thousandsOf(fmt.Sprint(n)) }, "percent": percent, "money": p.money, "day": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"chart": chart, "bar": bar, "words": func() []Word { return []Word{Allowed, Flagged, Challenged, Denied} }, "causes": causes,
		"places": places, "area": masked, "priced": func() bool { return p.Currency != "" }, "move": func(from, to Word) *Tally { return &p.Difference.Moves[from][to] },
		"change": func(c Change) *Tally { return p.Difference.Causes[c] }, "said": said, "span": span, "sum": func(a, b int64) int64 { return a + b },
	}).Parse(pageHTML)
	if err != nil {
		return err
	}
	data := struct {
		*Page
		Sides  []side
		Change *changes
	}{Page: p, Sides: []side{newSide(p.A)}}
	if p.B != nil {
		data.Sides = append(data.Sides, newSide(p.B))
		d := p.Difference
		data.Change = &changes{d.Only(true), d.Only(false), d.Top(true, topRows), d.Top(false, topRows), d.places()}
	}
	return t.Execute(w, &data)
}

// changes is the difference of two policies.
type changes struct {
	More, Less       Tally
	MoreTop, LessTop []Change
	Countries        []changedPlace
}

type changedPlace struct {
	Name       string
	More, Less Tally
}

func (d *Difference) places() (out []changedPlace) {
	for name, t := range d.Countries {
		out = append(out, changedPlace{name, t[0], t[1]})
	}
	slices.SortFunc(out, func(a, b changedPlace) int {
		return cmp.Or(cmp.Compare(b.More.Sends+b.Less.Sends, a.More.Sends+a.Less.Sends), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(topRows, len(out))]
}

func newSide(r *Replayer) side {
	s := side{Name: cmp.Or(r.Policy().Name, "the built-in policy"), Version: r.Policy().Version, Summary: r.Summary(), Counts: r.Counts}
	for _, e := range r.Shadow() {
		if e.Total.Judged > 0 {
			s.Shadow = append(s.Shadow, shadowRow{e.Name, e.Total.Judged, e.Total.Stopped(), e.Total.Verified, e.Total.Money, e.Total.Freed})
		}
	}
	return s
}

// row is one line of a list.
type row struct {
	Name string
	Word Word
	Tally
}

// causes are the reasons of stopped sends, the most first.
func causes(s *Summary, n int) (out []row) {
	for c, t := range s.Reasons {
		if c.Word.Stops() {
			out = append(out, row{c.Reason, c.Word, *t})
		}
	}
	return top(out, n)
}

// places are those of a map with most stopped sends; then those with most sends.
func places(all map[string]*ByWord, n int) (out []placeRow) {
	for name, b := range all {
		out = append(out, placeRow{name, b.Stopped(), b.All(), b.All()})
		p := &out[len(out)-1]
		p.Let.Sends -= p.Stopped.Sends
		p.Let.Money -= p.Stopped.Money
	}
	slices.SortFunc(out, func(a, b placeRow) int {
		return cmp.Or(cmp.Compare(b.Stopped.Sends, a.Stopped.Sends), cmp.Compare(b.All.Sends, a.All.Sends), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(n, len(out))]
}

type placeRow struct {
	Name              string
	Stopped, All, Let Tally
}

func top(all []row, n int) []row {
	slices.SortFunc(all, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Sends, a.Sends), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Word, b.Word))
	})
	return all[:min(n, len(all))]
}

func said(c Cause) string {
	if c.Reason == "" {
		return c.Word.String()
	}
	return c.Word.String() + " " + c.Reason
}

// masked is a range with a star for each digit that may differ.
func masked(r Range) string { return fmt.Sprintf("+%d****", r.Digits) }

func (p *Page) money(micros int64) string {
	return p.Currency + " " + thousandsOf(fmt.Sprintf("%.2f", float64(micros)/1e6))
}

func thousandsOf(text string) string {
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "\u202f" + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}

func percent(part, of int64) string {
	switch {
	case of == 0:
		return "–"
	case part > 0 && float64(part)/float64(of) < .0005:
		return "<0.1 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(of))
}

// bar is the width of a bar, in percent of the longest.
func bar(n int64, all []row) string {
	most := int64(1)
	for i := range all {
		most = max(most, all[i].Sends)
	}
	return fmt.Sprintf("%.1f%%", 100*float64(n)/float64(most))
}

// Size of the chart, in its own units.
const (
	chartWide = 960.
	chartHigh = 190.
	chartLeft = 46.
)

// chart draws the verdicts over time as stacked bars.
func chart(s *Summary) template.HTML {
	most := int64(1)
	for i := range s.Buckets {
		most = max(most, s.Buckets[i].All().Sends)
	}
	most = roundUp(most)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="verdicts over time">`, chartWide, chartHigh+24)
	for i := range 5 {
		y := chartHigh - float64(i)/4*(chartHigh-8)
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			chartLeft, chartWide, y, y, chartLeft-6, y+4, short(float64(most)*float64(i)/4))
	}
	wide := (chartWide - chartLeft) / float64(max(1, len(s.Buckets)))
	for i := range s.Buckets {
		y, x := chartHigh, chartLeft+float64(i)*wide
		title := s.Start.Add(time.Duration(i) * s.Width).UTC().Format("2006-01-02 15:04")
		b.WriteString(`<g>`)
		for w := range words {
			n := s.Buckets[i][w].Sends
			title += fmt.Sprintf("\n%s %s", w, thousandsOf(fmt.Sprint(n)))
			if n == 0 {
				continue
			}
			h := float64(n) / float64(most) * (chartHigh - 8)
			y -= h
			fmt.Fprintf(&b, `<rect class="%s" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, w, x, y, max(wide-gap(wide), .5), h)
		}
		fmt.Fprintf(&b, `<title>%s</title></g>`, template.HTMLEscapeString(title))
	}
	whole := time.Duration(len(s.Buckets)) * s.Width
	every, layout := time.Minute, "15:04"
	for _, d := range []time.Duration{5, 15, 30, 60, 180, 360, 720, 1440, 2 * 1440, 7 * 1440, 30 * 1440} {
		if whole/every > 9 {
			every = d * time.Minute
		}
	}
	if every >= 24*time.Hour || whole > 36*time.Hour {
		layout = "Jan 2 15:04"
	}
	end := s.Start.Add(whole - every/4) // a text at the very end would be cut off
	for t := s.Start.UTC().Truncate(every); t.Before(end); t = t.Add(every) {
		if !t.Before(s.Start) {
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g">%s</text>`, chartLeft+float64(t.Sub(s.Start))/float64(s.Width)*wide, chartHigh+18, t.Format(layout))
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) // made of numbers and our own words
}

// span is a duration in words: "8 minutes".
func span(d time.Duration) string {
	n, unit := int64(d/time.Minute), "minute"
	if d >= time.Hour && d%time.Hour == 0 {
		n, unit = int64(d/time.Hour), "hour"
	}
	if n == 1 {
		return unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

func gap(wide float64) float64 {
	if wide > 4 {
		return 1
	}
	return 0
}

// roundUp is the next number that reads well, so that a quarter of it does too.
func roundUp(n int64) int64 {
	for step := int64(4); ; step *= 10 {
		for _, tenths := range []int64{10, 15, 20, 25, 30, 40, 50, 75} {
			if step*tenths/10 >= n && step*tenths%10 == 0 {
				return step * tenths / 10
			}
		}
	}
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}
