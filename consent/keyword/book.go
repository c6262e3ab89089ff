package keyword

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Action is what a message asks for.
type Action uint8

// The actions. None is a message for people. Confirm is a yes, which means something only where it was asked for.
const (
	None Action = iota
	OptOut
	OptIn
	Help
	Confirm
)

func (a Action) String() string {
	switch a {
	case OptOut:
		return "opt_out"
	case OptIn:
		return "opt_in"
	case Help:
		return "help"
	case Confirm:
		return "confirm"
	}
	return "none"
}

// MarshalText is String.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Mode is what may stand around a keyword; see the package comment.
type Mode uint8

// The modes.
const (
	Courteous Mode = iota
	Exact
	Leading
)

// Options of NewBook. The zero value is English as carriers test it.
type Options struct {
	// Mode is what may stand around a keyword. Default Courteous.
	Mode Mode
	// Languages are codes of built-in languages, spoken beside English.
	Languages []string
	// Words are further keywords, by language and action. A language that is not built in begins here.
	Words map[string]map[Action][]string
	// Off are keywords that are not to count here, such as HELP where a person reads it. STOP cannot be one of them.
	Off []string
	// YesOptsIn makes YES resubscribe. Without it YES only confirms what was asked for.
	YesOptsIn bool
	// Programs are names that may stand behind a keyword: STOP Acme.
	Programs []string
	// Postbacks are what buttons of RCS and WhatsApp send back, each letter as it is set up there.
	Postbacks map[string]Action
}

// Match is what a message was found to be.
type Match struct {
	Action Action
	// Word is the keyword as the book writes it, "STOP"; "" for none.
	Word string
	// Language is the language of the keyword.
	Language string
	// All says that the keyword asks to hear from nobody of this account: STOPALL, or STOP ALL.
	All bool
}

// Book finds keywords. It never changes and is safe for concurrent use.
type Book struct {
	mode      Mode
	words     map[string]Match // by folded spelling without spaces
	courtesy  map[string]bool
	lead      map[string]bool
	follow    map[string]bool
	things    map[string]bool
	strong    map[string]bool
	postbacks map[string]Match
}

// NewBook makes a book. The error says which option is wrong and what to write.
func NewBook(o Options) (*Book, error) {
	b := &Book{mode: o.Mode, words: map[string]Match{}, courtesy: map[string]bool{}, lead: map[string]bool{}, follow: map[string]bool{},
		things: map[string]bool{}, strong: map[string]bool{}, postbacks: map[string]Match{}}
	if o.Mode > Leading {
		return nil, fmt.Errorf("keyword: mode: write Courteous, Exact or Leading")
	}
	known := languages()
	// English goes last but is added first: a word is of the language that had it first.
	for _, code := range append([]string{English}, o.Languages...) {
		l, ok := known[code]
		if !ok {
			return nil, fmt.Errorf("keyword: language %q is not built in: write one of %s, or give its words", code, strings.Join(Languages(), ", "))
		}
		if err := b.addAll(code, l.words); err != nil {
			return nil, err
		}
		b.addLanguage(l)
	}
	for _, code := range slices.Sorted(maps.Keys(o.Words)) {
		if err := b.addAll(code, o.Words[code]); err != nil {
			return nil, err
		}
	}
	yes := Confirm
	if o.YesOptsIn {
		yes = OptIn
	}
	if err := b.addAll(English, map[Action][]string{yes: {"YES"}}); err != nil {
		return nil, err
	}
	for _, text := range o.Programs {
		for _, w := range fold(text) {
			b.follow[w] = true
		}
	}
	for text, action := range o.Postbacks {
		if action == None || action > Confirm || text == "" {
			return nil, fmt.Errorf("keyword: postback %q: give it an action", text)
		}
		b.postbacks[text] = Match{Action: action, Word: strings.ToUpper(action.String()), Language: English}
	}
	return b, b.turnOff(o.Off)
}

// turnOff takes keywords out. STOP stays: without it nobody could leave.
func (b *Book) turnOff(off []string) error {
	for _, text := range off {
		spelled := strings.Join(fold(text), "")
		if spelled == "stop" {
			return fmt.Errorf("keyword: off: STOP always counts: take it out of the list")
		}
		if _, ok := b.words[spelled]; !ok {
			return fmt.Errorf("keyword: off: %q is no keyword: take it out of the list", text)
		}
		delete(b.words, spelled)
	}
	return nil
}

func (b *Book) addAll(code string, words map[Action][]string) error {
	for _, action := range []Action{OptOut, OptIn, Help, Confirm} {
		for _, text := range words[action] {
			spelled := strings.Join(fold(text), "")
			if spelled == "" {
				return fmt.Errorf("keyword: %s: %q: write a word with letters or digits", code, text)
			}
			if old, ok := b.words[spelled]; ok {
				// Opting out stands above all: a word that does so in one language does so in each that is spoken here.
				if old.Action != action && old.Action != OptOut {
					return fmt.Errorf("keyword: %s: %q is %s already: leave one of the two out", code, text, old.Action)
				}
				continue
			}
			b.words[spelled] = Match{Action: action, Word: text, Language: code, All: spelled == "stopall"}
		}
	}
	return nil
}

func (b *Book) addLanguage(l language) {
	for _, part := range []struct {
		to    map[string]bool
		words []string
	}{{b.courtesy, l.courtesy}, {b.lead, l.lead}, {b.follow, l.follow}, {b.follow, l.things}, {b.things, l.things}, {b.strong, l.strong}} {
		for _, text := range part.words {
			for _, w := range fold(text) {
				part.to[w] = true
			}
		}
	}
}

// Postback reads what a button sent back: as it was set up, else as if it had been typed.
func (b *Book) Postback(data string) Match {
	if m, ok := b.postbacks[data]; ok {
		return m
	}
	return b.Match(data)
}

// Match reads a message.
func (b *Book) Match(text string) Match {
	words := fold(withoutSignature(text))
	if len(words) == 0 {
		return Match{}
	}
	if m := b.exact(words); m.Action != None || b.mode == Exact {
		return m
	}
	if m := b.courteous(words); m.Action != None || b.mode == Courteous {
		return m
	}
	m, _ := b.leading(words, len(words))
	return m
}

// exact is a message that is a keyword, or several that opt out.
func (b *Book) exact(words []string) Match {
	if m, ok := b.find(words); ok {
		return m
	}
	var first Match
	for i, w := range words {
		m, ok := b.words[w]
		if !ok || m.Action != OptOut {
			return Match{}
		}
		if i == 0 {
			first = m
		}
		first.All = first.All || m.All
	}
	return first
}

// find looks up words written together: STOP ALL and S T O P are keywords as well.
func (b *Book) find(words []string) (Match, bool) {
	spelled := strings.Join(words, "")
	if m, ok := b.words[spelled]; ok {
		return m, true
	}
	m, ok := b.words[squeeze(spelled)]
	return m, ok
}

// courteous takes off what changes nothing.
func (b *Book) courteous(words []string) Match {
	for len(words) > 0 && (b.courtesy[words[0]] || b.lead[words[0]]) {
		words = words[1:]
	}
	core := words
	for len(core) > 0 && b.courtesy[core[len(core)-1]] {
		core = core[:len(core)-1]
	}
	if len(core) == 0 {
		return Match{}
	}
	// Opting in is never guessed: START stands alone.
	if m := b.exact(core); m.Action != None {
		if m.Action == OptIn {
			return Match{}
		}
		return m
	}
	m, rest := b.leading(words, 2)
	if m.Action == None {
		return Match{}
	}
	about := b.strong[strings.Join(fold(m.Word), "")]
	for _, w := range rest {
		if !b.follow[w] && !b.courtesy[w] && b.words[w].Action != OptOut {
			return Match{}
		}
		about = about || b.things[w]
	}
	if !about {
		return Match{}
	}
	return m
}

// leading finds a keyword that opts out at the beginning, of up to so many words: OPT OUT is two.
func (b *Book) leading(words []string, most int) (m Match, rest []string) {
	for n := min(most, len(words)); n > 0; n-- {
		if m, ok := b.find(words[:n]); ok && m.Action == OptOut {
			return m, words[n:]
		}
	}
	return Match{}, nil
}

// withoutSignature takes off what phones and mail gateways put below a message.
func withoutSignature(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		t := strings.TrimSpace(line)
		if i > 0 && (t == "--" || strings.HasPrefix(strings.ToLower(t), "sent from my ") || strings.HasPrefix(strings.ToLower(t), "get outlook for ")) {
			return strings.Join(lines[:i], "\n")
		}
	}
	return text
}
