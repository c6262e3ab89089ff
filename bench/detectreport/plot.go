package main

import (
	"bytes"
	"fmt"
	"math"
)

// Colours that are told apart by most people who do not see all colours.
var colours = map[string]string{"ait_range": "#0072b2", "enumeration": "#56b4e9", "low_slow": "#009e73", "ip_fanout": "#e69f00", "victim_flood": "#d55e00",
	"otp_bruteforce": "#cc79a7", "country_anomaly": "#666666", "conversion_collapse": "#999999"}

// plot draws, for each attack, the portion that was stopped and how many messages passed before the first signal.
func (r *report) plot() []byte {
	const row, top, left, width, gap, right = 20, 60, 210, 420, 70, 330
	all := r.attacks()
	height := top + row*len(all) + 50
	total := left + width + gap + right + 30
	b := new(bytes.Buffer)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", total, height)
	fmt.Fprintf(b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	text := func(x, y float64, anchor, style, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, s)
	}
	line := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	bottom := float64(top + row*len(all))

	text(left, 24, "start", `font-size="15" font-weight="bold"`, "Messages stopped, per cent (from 75)")
	share := func(v float64) float64 { return left + width*(math.Max(v, .75)-.75)/.25 }
	for v := 75; v <= 100; v += 5 {
		x := share(float64(v) / 100)
		line(x, top-8, x, bottom, `stroke="#ddd"`)
		text(x, bottom+18, "middle", `fill="#444"`, fmt.Sprint(v))
	}
	second := float64(left + width + gap)
	text(second, 24, "start", `font-size="15" font-weight="bold"`, "Messages before the first signal")
	count := func(n float64) float64 { return second + right*math.Log10(math.Max(n, 1))/4 }
	for _, n := range []float64{1, 10, 100, 1000, 10000} {
		x := count(n)
		line(x, top-8, x, bottom, `stroke="#ddd"`)
		text(x, bottom+18, "middle", `fill="#444"`, fmt.Sprint(n))
	}
	text(left, 42, "start", `fill="#444"`, "The black mark is the bar of its kind. Behind each name: messages a minute.")
	text(second, 42, "start", `fill="#444"`, "Of a hollow one a limit stopped most by then.")
	for i, a := range all {
		y := float64(top + row*i)
		colour := colours[a.Type]
		text(left-8, y+14, "end", "", fmt.Sprintf("%s  %g", a.Label, a.rate))
		fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", left, y+3, math.Max(0, share(a.Recall)-left), row-6, colour)
		text(share(a.Recall)+4, y+14, "start", `font-size="11" fill="#222"`, fmt.Sprintf("%.1f", 100*a.Recall))
		for _, c := range recalls {
			if c.holds(a) {
				x := share(c.must)
				line(x, y+1, x, y+row-1, `stroke="black" stroke-width="2"`)
				break
			}
		}
		fill := colour
		if a.Through < a.Before/2 {
			fill = "white"
		}
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="5" fill="%s" stroke="%s" stroke-width="2"/>`+"\n", count(float64(a.Before)), y+row/2, fill, colour)
		text(count(float64(a.Before))+10, y+14, "start", `font-size="11" fill="#222"`, fmt.Sprint(a.Before))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
