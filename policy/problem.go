package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is a policy that was refused: everything that is wrong with it, sorted by line.
type Error struct{ Problems []Problem }

// Error has a line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one thing that is wrong in a policy file.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 where the reader could not tell
	Field        string // the path, such as limits[2].window; empty for the file itself
	Message      string // what is wrong: what to write instead
}

// String is file:line:column: field: message. Runs of digits that could be a phone number are masked.
func (p Problem) String() string {
	if p.Field == "" {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, p.Field, p.Message)
}

func sortProblems(ps []Problem) []Problem {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.Compact(ps)
}

// quote shows what was written: short, on one line, and without anything that could be a phone number.
func quote(s string) string {
	if utf8.RuneCountInString(s) > 40 {
		s = string([]rune(s)[:40]) + "..."
	}
	return fmt.Sprintf("%q", maskDigits(s))
}

var digitRuns = regexp.MustCompile(`[0-9](?:[ .()-]*[0-9]){6,}`)

// maskDigits replaces what may be a phone number, that is 7 or more digits with nothing but separators between them.
func maskDigits(s string) string {
	return digitRuns.ReplaceAllString(s, "***")
}

// remedy is what to write for a word that is not one of those known: the nearest if one is near, else all of them.
func remedy(word string, known []string) string {
	best, at := len(word)/3+2, ""
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < best {
			best, at = d, k
		}
	}
	if at == "" {
		return ": write " + list(known)
	}
	return fmt.Sprintf(": did you mean %q?", at)
}

// distance is the Levenshtein distance with swaps of neighbours. Words are cut to 64 bytes: a key is never longer.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// list writes words as "a, b or c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
