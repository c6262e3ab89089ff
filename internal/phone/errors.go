package phone

// Reason says why a spelling is no number. The names that [Reason.String]
// returns are stable: API answers and metrics carry them.
type Reason uint8

// The reasons.
const (
	_                  Reason = iota
	Empty                     // nothing, or nothing but spaces
	BadCharacter              // something that is no digit, separator or leading plus
	Letters                   // a vanity number, 1-800-FLOWERS
	Extension                 // ext. 12, x12, ;ext=12, #12
	ShortCode                 // an emergency number or service code: 112, 911, 40404
	TooShort                  // fewer digits than the numbering plan has
	TooLong                   // more digits than the numbering plan or E.164 has
	BadLength                 // a length between the shortest and longest that the plan does not use
	UnknownCallingCode        // +999..., +0...
	NoRegion                  // a national spelling and no default region
	UnknownRegion             // the default region is not an upper-case ISO 3166-1 code we know
)

var reasonTexts = [...]struct{ name, text string }{
	Empty:              {"empty", "is empty: write it in E.164, a plus, the country calling code and the number"},
	BadCharacter:       {"bad_character", "has a character that is no digit or separator: write a plus and digits only"},
	Letters:            {"letters", "has letters: write the digits that they stand for"},
	Extension:          {"extension", "has an extension: messages cannot be sent to one, leave it out"},
	ShortCode:          {"short_code", "is a short code or emergency number: write a full subscriber number"},
	TooShort:           {"too_short", "is too short: write all digits, with the area code"},
	TooLong:            {"too_long", "is too long: write one number of at most 15 digits, calling code included"},
	BadLength:          {"bad_length", "has a length that this country does not use: write all digits and no more"},
	UnknownCallingCode: {"unknown_calling_code", "has no assigned country calling code: write one after the plus, such as +65"},
	NoRegion:           {"no_region", "has no calling code and there is no default region: write it in E.164 or set a default region"},
	UnknownRegion:      {"unknown_region", "cannot be read because the default region is unknown: write two upper-case letters of ISO 3166-1, such as SG"},
}

// String returns the stable name, such as "too_short".
func (r Reason) String() string {
	if int(r) >= len(reasonTexts) || r == 0 {
		return "unknown"
	}
	return reasonTexts[r].name
}

// ParseError is the error of [Parse]. It never holds the input.
type ParseError struct{ Reason Reason }

// Error says what is wrong and what to write instead.
func (e *ParseError) Error() string {
	if e.Reason.String() == "unknown" {
		return "phone number cannot be read"
	}
	return "phone number " + reasonTexts[e.Reason].text
}

func refuse(r Reason) error { return &ParseError{Reason: r} }
