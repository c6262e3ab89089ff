package phone

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxInput is the longest input in bytes that is looked at. 15 digits with
	// separators, in any script, need less than half of it.
	maxInput = 250
	// maxSpelled is the most digits that are read: E.164 and what is dialled
	// before it, such as 0011 or a carrier code.
	maxSpelled = 24
)

// spelling is what is left of an input without separators.
type spelling struct {
	digits [maxSpelled]byte // ASCII
	n      int
	plus   bool
}

// scan reads an input. The result is not yet a number, but holds nothing else
// than an optional plus and at least one digit.
func (sp *spelling) scan(s string) Reason {
	if len(s) > maxInput {
		return TooLong
	}
	s = strings.TrimSpace(s)
	if len(s) >= 4 && strings.EqualFold(s[:4], "tel:") {
		return sp.scanURI(s[4:])
	}
	return sp.scanText(s)
}

// scanURI reads what follows tel: (RFC 3966). The phone-context parameter may
// hold the calling code; an extension or subaddress is refused; other parameters
// say nothing about the number.
func (sp *spelling) scanURI(s string) Reason {
	s, err := url.PathUnescape(s)
	if err != nil {
		return BadCharacter
	}
	number, parameters, _ := strings.Cut(s, ";")
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		switch strings.ToLower(name) {
		case "ext", "isub", "postd":
			return Extension
		case "phone-context":
			if strings.HasPrefix(value, "+") && !strings.HasPrefix(number, "+") {
				number = value + number
			}
		}
	}
	return sp.scanText(number)
}

func (sp *spelling) scanText(s string) Reason {
	for i, r := range s {
		if d, ok := digitOf(r); ok {
			if sp.n == maxSpelled {
				return TooLong
			}
			sp.digits[sp.n] = '0' + d
			sp.n++
			continue
		}
		switch {
		case r == '+' || r == '\uFF0B' || r == '\uFE62':
			if sp.plus || sp.n > 0 {
				return BadCharacter
			}
			sp.plus = true
		case isSeparator(r):
		default:
			return sp.blame(s[i:], r)
		}
	}
	switch {
	case sp.n > 0:
		return 0
	case sp.plus:
		return TooShort
	default:
		return Empty
	}
}

// digitOf returns the value of a decimal digit of any script: full-width,
// Arabic-Indic, Devanagari and so on.
func digitOf(r rune) (byte, bool) {
	if r < utf8.RuneSelf {
		return byte(r - '0'), '0' <= r && r <= '9'
	}
	if !unicode.IsDigit(r) {
		return 0, false
	}
	// Unicode keeps the digits of a script together, from 0 to 9, so digits are
	// counted from the start of their block.
	for _, b := range unicode.Nd.R16 {
		if rune(b.Lo) <= r && r <= rune(b.Hi) {
			return byte((r - rune(b.Lo)) % 10), true
		}
	}
	for _, b := range unicode.Nd.R32 {
		if rune(b.Lo) <= r && r <= rune(b.Hi) {
			return byte((r - rune(b.Lo)) % 10), true
		}
	}
	return 0, false
}

// isSeparator reports whether r may stand between digits: spaces, dashes, dots,
// slashes, brackets, and invisible marks (zero-width, bidi, soft hyphen) that come
// along when text is pasted. A line break is not one: it separates two numbers.
func isSeparator(r rune) bool {
	switch r {
	case ' ', '\t', '-', '.', '/', '(', ')', '[', ']',
		'\u00B7', '\u2022', '\u2043', '\u2044', '\u2212', '\u2215', '\u30FB', '\u30FC',
		'\uFF08', '\uFF09', '\uFF0E', '\uFF0F', '\uFF3B', '\uFF3D':
		return true
	}
	return r >= utf8.RuneSelf && unicode.In(r, unicode.Zs, unicode.Pd, unicode.Cf)
}

// extensionLabels are what people write before an extension, longest first.
var extensionLabels = []string{"extension", "extensi\u00f3n", "extn", "ext", "xtn", "anexo", "int", "доб", "\uff45\uff58\uff54", "\uff58", "x", "#"}

// blame finds the reason for the character r that rest starts with.
func (sp *spelling) blame(rest string, r rune) Reason {
	if sp.n > 0 {
		if r == ',' || r == ';' {
			// Dial pauses before an extension, or a second number.
			if strings.IndexFunc(rest, unicode.IsDigit) >= 0 {
				return Extension
			}
			return BadCharacter
		}
		if r == '#' {
			return Extension
		}
		lower := strings.ToLower(rest)
		for _, label := range extensionLabels {
			if after, ok := strings.CutPrefix(lower, label); ok {
				after = strings.TrimLeft(after, " \u00a0\t.:=#-")
				if first, _ := utf8.DecodeRuneInString(after); unicode.IsDigit(first) {
					return Extension
				}
			}
		}
	}
	if unicode.IsLetter(r) {
		return Letters
	}
	return BadCharacter
}
