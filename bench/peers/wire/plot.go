package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// bar is one line of a plot.
type bar struct {
	name  string
	value float64
	ours  bool
}

// plot draws horizontal bars, which any browser and GitHub show.
func plot(title, unit string, bars []bar) string {
	const left, width, height, top = 210, 420, 24, 44
	most := slices.MaxFunc(bars, func(a, b bar) int { return int(1e6*a.value) - int(1e6*b.value) }).value
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13" role="img" aria-label="%s">`+"\n",
		left+width+110, top+height*len(bars)+12, html.EscapeString(title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="10" y="24" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	for i, bar := range bars {
		y, color := top+i*height, "#9aa5b1"
		if bar.ours {
			color = "#0b7285"
		}
		long := max(1, bar.value/most*width)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.0f" height="%d" fill="%s"/><text x="%.0f" y="%d">%s</text>`+"\n",
			left-8, y+15, html.EscapeString(bar.name), left, y+2, long, height-6, color, left+long+6, y+15, short(bar.value)+" "+html.EscapeString(unit))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// short prints three digits, and thousands as such.
func short(v float64) string {
	switch {
	case v >= 10_000:
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
