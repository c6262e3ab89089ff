package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// topBoard is what `sendgate top` knows, and how it is drawn.
type topBoard struct {
	addr    string
	color   bool
	lost    error // why nothing comes; nil while it does
	seconds []*sendgatev1.BoardSecond
	state   sendgatev1.WatchBoardResponse
}

// set replaces a part.
func (b *topBoard) set(part proto.Message) {
	switch p := part.(type) {
	case *sendgatev1.BoardGate:
		b.state.Gate = p
	case *sendgatev1.BoardReasons:
		b.state.Reasons = p
	case *sendgatev1.BoardAttacks:
		b.state.Attacks = p
	case *sendgatev1.BoardBlocks:
		b.state.Blocks = p
	case *sendgatev1.BoardKeys:
		b.state.Keys = p
	case *sendgatev1.BoardRules:
		b.state.Rules = p
	case *sendgatev1.BoardBudgets:
		b.state.Budgets = p
	}
}

// Colours, by what they say.
const (
	unpainted = ""
	bold      = "1"
	dim       = "2"
	good      = "32"
	warn      = "33"
	alarm     = "1;31"
)

func (b *topBoard) paint(style, text string) string {
	if !b.color || style == unpainted {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// section is a title and rows under it. Each shows as many as there is room for.
type section struct {
	title string
	rows  []string
	none  string
}

// frame is the screen, line by line, none longer than width.
func (b *topBoard) frame(width, height int) []string {
	g := b.state.Gate
	if g == nil {
		return []string{cut("asking "+b.addr, width)}
	}
	style, link := good, "live"
	if b.lost != nil {
		style, link = alarm, "lost: "+clean(status.Convert(b.lost).Message())+"; asking again"
	}
	link = cut(link, width)
	head := cut(fmt.Sprintf("sendgate %s at %s, policy %s, up %s  ", clean(g.Version), b.addr, g.PolicyVersion, upFor(g)), width-len([]rune(link)))
	mood, text := b.mood()
	lines := []string{b.paint(bold, head) + b.paint(style, link), b.paint(mood, cut(text, width)), ""}
	lines = append(lines, b.rates(width)...)
	for _, w := range g.Warnings {
		lines = append(lines, b.paint(warn, cut("! "+clean(w), width)))
	}
	sections := b.sections(width)
	room := height - len(lines)
	for i, s := range sections {
		share := room / (len(sections) - i) // what one does not need is the next one's
		if share < 3 {
			break
		}
		shown := s.rows[:min(len(s.rows), share-2)]
		title := s.title
		if len(shown) < len(s.rows) {
			title += fmt.Sprintf(" (%d of %d)", len(shown), len(s.rows))
		}
		lines = append(lines, "", b.paint(bold, cut(title, width)))
		if len(s.rows) == 0 {
			shown = []string{b.paint(dim, cut("  "+s.none, width))}
		}
		lines = append(lines, shown...)
		room -= 2 + len(shown)
	}
	return lines[:min(len(lines), height)]
}

// mood is the one sentence that matters, and its style.
func (b *topBoard) mood() (style, text string) {
	var names []string
	stopped, saved := int64(0), int64(0)
	for _, a := range b.state.Attacks.GetAttacks() {
		if a.Shadow || a.Kind == "retry_storm" || a.Kind == "load_test" {
			continue
		}
		names = append(names, strings.TrimSpace(a.Kind+" "+a.Country))
		stopped += a.Stopped
		saved += a.Saved
	}
	if len(names) == 0 {
		return good, "All calm: detection stops nobody."
	}
	text = fmt.Sprintf("UNDER ATTACK: %s; %s sends stopped", strings.Join(names, ", "), thousands(stopped))
	if saved > 0 {
		text += ", " + b.money(saved) + " not spent"
	}
	return alarm, text
}

// mean is the mean second of the last n.
func (b *topBoard) mean(n int, of func(*sendgatev1.BoardSecond) float64) float64 {
	recent := b.seconds[max(0, len(b.seconds)-n):]
	sum := 0.0
	for _, s := range recent {
		sum += of(s)
	}
	return sum / float64(max(1, len(recent)))
}

func checksOf(s *sendgatev1.BoardSecond) float64 { return float64(s.Allowed + s.Challenged + s.Denied) }

func (b *topBoard) rates(width int) []string {
	checks := b.mean(10, checksOf)
	allowed := b.mean(10, func(s *sendgatev1.BoardSecond) float64 { return float64(s.Allowed) })
	denied := b.mean(10, func(s *sendgatev1.BoardSecond) float64 { return float64(s.Denied) })
	challenged := b.mean(10, func(s *sendgatev1.BoardSecond) float64 { return float64(s.Challenged) })
	failed := b.mean(10, func(s *sendgatev1.BoardSecond) float64 { return float64(s.Failed) })
	through := "–"
	if checks > 0 {
		through = fmt.Sprintf("%.1f %%", 100*allowed/checks)
	}
	p50, p99 := 0.0, 0.0
	for _, s := range b.seconds[max(0, len(b.seconds)-10):] {
		p50, p99 = max(p50, s.P50), max(p99, s.P99)
	}
	g := b.state.Gate
	lines := []string{
		cut(fmt.Sprintf("checks   %9s /s   let through %7s   denied %s /s   challenged %s /s   failed %s /s", decimal(checks), through, decimal(denied), decimal(challenged), decimal(failed)), width),
		cut(fmt.Sprintf("decided  half within %s, 99 of 100 within %s   store %s", seconds(p50), seconds(p99), storeOf(g)), width),
	}
	if g.Currency != "" {
		lines = append(lines, cut(fmt.Sprintf("money    %s spent, %s not spent since the start", b.money(g.Spent), b.money(g.Stopped)), width))
	}
	return append(lines, b.paint(dim, cut("last 2m  ", width))+b.curve(min(width-9, topPast/2)))
}

// curve draws checks a second in so many characters, two seconds each where there is room.
func (b *topBoard) curve(width int) string {
	if width < 1 {
		return ""
	}
	const steps = "▁▂▃▄▅▆▇█"
	cells := make([]float64, width)
	seen := make([]float64, width)
	for i, s := range b.seconds {
		at := (i + topPast - len(b.seconds)) * width / topPast
		cells[at] += checksOf(s)
		seen[at]++
	}
	most := 1.0
	for i := range cells {
		cells[i] /= max(1, seen[i])
		most = max(most, cells[i])
	}
	out := make([]rune, width)
	for i, v := range cells {
		out[i] = ' '
		if v > 0 {
			out[i] = []rune(steps)[int(v/most*7)]
		}
	}
	return string(out)
}

func (b *topBoard) sections(width int) []section {
	line := func(format string, args ...any) string { return cut("  "+clean(fmt.Sprintf(format, args...)), width) }
	why := section{title: "why not, last minute", none: "every send was let through"}
	for _, r := range b.state.Reasons.GetReasons() {
		if n := r.Denied + r.Challenged; n > 0 {
			why.rows = append(why.rows, line("%8s  %-34s %s", thousands(int64(n)), r.Reason, said(r)))
		}
	}
	blocks := section{title: fmt.Sprintf("blocks: %d", b.state.Blocks.GetTotal()), none: "nothing is blocked"}
	for _, x := range b.state.Blocks.GetBlocks() {
		shadow := ""
		if x.Shadow {
			shadow = "  shadow"
		}
		blocks.rows = append(blocks.rows, line("%8s  %-20s %-28s until %s%s", thousands(x.Stopped), x.Signal.Kind, x.Signal.Subject, x.Until.AsTime().Local().Format("15:04"), shadow))
	}
	keys := section{title: "most limited, fading over 10 minutes", none: "no key met a limit"}
	for _, k := range b.state.Keys.GetKeys() {
		keys.rows = append(keys.rows, line("%8s  %-34s %s", thousands(int64(k.Refused)), k.Rule, k.Key))
	}
	all := []section{why, blocks, keys}
	if budgets := b.state.Budgets.GetBudgets(); len(budgets) > 0 {
		s := section{title: "budgets"}
		for _, x := range budgets {
			s.rows = append(s.rows, line("%7.1f%%  %-20s %-20s %s of %s", 100*float64(x.Spent)/float64(max(1, x.Budget)), x.Rule, x.Key, b.money(x.Spent), b.money(x.Budget)))
		}
		all = append(all, s)
	}
	return all
}

func said(r *sendgatev1.BoardReason) string {
	switch {
	case r.Challenged == 0:
		return "denied"
	case r.Denied == 0:
		return "challenged"
	}
	return fmt.Sprintf("%s denied, %s challenged", thousands(int64(r.Denied)), thousands(int64(r.Challenged)))
}

func (b *topBoard) money(millionths int64) string {
	return fmt.Sprintf("%s %.2f", b.state.Gate.GetCurrency(), float64(millionths)/1e6)
}

func upFor(g *sendgatev1.BoardGate) string {
	return time.Since(g.Started.AsTime()).Round(time.Second).String()
}

func storeOf(g *sendgatev1.BoardGate) string {
	if g.StoreCapacity == 0 {
		return thousands(g.StoreOccupied) + " keys"
	}
	return fmt.Sprintf("%.1f %% full", 100*float64(g.StoreOccupied)/float64(g.StoreCapacity))
}

// clean takes out what a terminal would obey: names come from callers.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// cut shortens a line that is too long. It has no colours yet.
func cut(s string, width int) string {
	if width < 1 {
		return ""
	}
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// thousands writes 12345 as 12,345.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// decimal writes one decimal where it says something.
func decimal(v float64) string {
	if v >= 100 || v == math.Trunc(v) {
		return thousands(int64(v + .5))
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// seconds writes a time that a machine needs.
func seconds(s float64) string {
	if s == 0 {
		return "–"
	}
	d := time.Duration(s * float64(time.Second))
	return d.Round(cmp.Or(time.Duration(math.Pow10(int(math.Log10(float64(max(d, 1))))-2)), 1)).String()
}
