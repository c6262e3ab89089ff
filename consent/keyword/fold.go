package keyword

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxWords is how many words of a message are looked at: no message with more is a keyword.
const maxWords = 24

// maxText is how many bytes of a message are looked at. Ten concatenated parts of 153 characters are a long text message.
const maxText = 4096

// fold splits a text into words of lower-case letters and digits, in the spelling in which keywords are compared.
// More than maxWords words give none.
func fold(text string) []string {
	if len(text) > maxText {
		return nil
	}
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	// NFKD makes letters of full-width and mathematical ones and takes accents off their letters.
	for _, r := range norm.NFKD.String(text) {
		switch {
		case r >= 0x300 && r <= 0x36f, r >= 0x64b && r <= 0x65f, unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
			// Accents of Latin, Greek and Cyrillic, vowels and hamza of Arabic; soft hyphens, joiners, marks of direction. Marks of other scripts are letters.
		case r == '\'' || r == '’' || r == '‘' || r == '`':
			// don't is one word.
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.Is(unicode.M, r) && word.Len() > 0:
			word.WriteRune(lower(r))
		default:
			end()
		}
		if len(words) > maxWords {
			return nil
		}
	}
	end()
	return words
}

func lower(r rune) rune {
	switch r {
	case 'ı': // Turkish writes iptal with a dotless capital
		return 'i'
	case 'ς':
		return 'σ'
	}
	return unicode.ToLower(r)
}

// squeeze makes one letter of three or more of a kind: "stoooop" is a keyword said loudly, "stopp" is another word.
func squeeze(word string) string {
	var b strings.Builder
	runes := []rune(word)
	for i := 0; i < len(runes); {
		n := 1
		for i+n < len(runes) && runes[i+n] == runes[i] {
			n++
		}
		if n == 2 {
			b.WriteRune(runes[i])
		}
		b.WriteRune(runes[i])
		i += n
	}
	return b.String()
}
