package policy

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// placer finds where in a file the characters of a text stand that YAML has read: behind quotes, escapes and folded lines.
type placer struct {
	lines []string
	// Where the next character is looked for: index of the line, bytes in it, and the column in runes, both from 0.
	line, byte, column int
}

// places returns line and column, from 1, of each rune of the node's value and of its end. Where the source cannot be followed,
// it stays at the last place that it knows.
func places(src []byte, n *yaml.Node) [][2]int {
	value := []rune(n.Value)
	out := make([][2]int, 0, len(value)+1)
	p := &placer{lines: strings.Split(string(src), "\n"), line: n.Line - 1, column: 0}
	if p.line < 0 || p.line >= len(p.lines) {
		return append(out, [2]int{max(n.Line, 1), max(n.Column, 1)})
	}
	p.advance(n.Column - 1)
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		p.advance(1)
	case yaml.LiteralStyle, yaml.FoldedStyle:
		p.nextLine()
	}
	for _, r := range value {
		p.seek(r)
		out = append(out, [2]int{p.line + 1, p.column + 1})
		p.take(r, n.Style)
	}
	return append(out, [2]int{p.line + 1, p.column + 1})
}

// rest is what is left of the line.
func (p *placer) rest() string { return p.lines[p.line][p.byte:] }

// advance goes on by some runes of the line.
func (p *placer) advance(runes int) {
	for ; runes > 0 && p.rest() != ""; runes-- {
		_, size := utf8.DecodeRuneInString(p.rest())
		p.byte += size
		p.column++
	}
}

// nextLine goes to the first character of the next line that has one, if there is such a line.
func (p *placer) nextLine() {
	for next := p.line + 1; next < len(p.lines); next++ {
		text := p.lines[next]
		if indent := len(text) - len(strings.TrimLeft(text, " \t")); indent < len(strings.TrimRight(text, "\r")) {
			p.line, p.byte, p.column = next, indent, indent
			return
		}
	}
}

// seek goes to where a rune that is no space must stand. YAML folds the ends of lines and what indents the next.
func (p *placer) seek(r rune) {
	if r == ' ' || r == '\n' || r == '\t' {
		return
	}
	if trimmed := strings.TrimLeft(p.rest(), " \t"); trimmed == "" || trimmed == "\r" || trimmed == `\` {
		p.nextLine()
		return
	}
	if next, _ := utf8.DecodeRuneInString(p.rest()); next == ' ' || next == '\t' {
		p.advance(len(p.rest()) - len(strings.TrimLeft(p.rest(), " \t")))
	}
}

// take goes on behind a rune, which one or more characters of the source may stand for.
func (p *placer) take(r rune, style yaml.Style) {
	rest := p.rest()
	next, _ := utf8.DecodeRuneInString(rest)
	switch {
	case rest == "" || rest == "\r": // the end of a line, which seek passes
	case style&yaml.DoubleQuotedStyle != 0 && next == '\\':
		p.advance(escapeLength(rest))
	case style&yaml.SingleQuotedStyle != 0 && r == '\'' && strings.HasPrefix(rest, "''"):
		p.advance(2)
	case next == r:
		p.advance(1)
	}
}

// escapeLength is how many characters an escape has.
func escapeLength(s string) int {
	if len(s) < 2 {
		return 1
	}
	switch s[1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}
