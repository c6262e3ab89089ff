package keyword_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/consent/keyword"
)

func book(t testing.TB, o keyword.Options) *keyword.Book {
	t.Helper()
	b, err := keyword.NewBook(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// told is a match as testdata writes it.
func told(m keyword.Match) string {
	return strings.TrimSpace(m.Action.String() + " " + m.Word)
}

func TestMatch_messages(t *testing.T) {
	src, err := os.ReadFile("testdata/messages.tsv")
	if err != nil {
		t.Fatal(err)
	}
	read, near := 0, 0
	for i, line := range strings.Split(strings.TrimSuffix(string(src), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		column := strings.SplitN(line, "\t", 3)
		if len(column) != 3 {
			t.Fatalf("messages.tsv:%d: not three columns", i+1)
		}
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(column[2], `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("messages.tsv:%d: %v", i+1, err)
		}
		o := keyword.Options{Programs: []string{"Acme Alerts"}}
		if column[1] != "" {
			o.Languages = strings.Split(column[1], ",")
		}
		if got := told(book(t, o).Match(text)); got != column[0] {
			t.Errorf("messages.tsv:%d: %q is %q, want %q", i+1, text, got, column[0])
		}
		if read++; column[0] == "none" {
			near++
		}
	}
	if read < 200 || near < 100 {
		t.Fatalf("%d messages, %d of them near misses: the table has lost some", read, near)
	}
}

func TestMatch_modes(t *testing.T) {
	for _, c := range []struct{ text, exact, courteous, leading string }{
		{"STOP", "opt_out STOP", "opt_out STOP", "opt_out STOP"},
		{"stop please", "none", "opt_out STOP", "opt_out STOP"},
		{"stop texting me", "none", "opt_out STOP", "opt_out STOP"},
		{"stop by tomorrow", "none", "none", "opt_out STOP"},
		{"cancel my 3pm", "none", "none", "opt_out CANCEL"},
		{"please stop by tomorrow", "none", "none", "none"},
		{"start tomorrow", "none", "none", "none"},
		{"help me", "none", "none", "none"},
	} {
		for mode, want := range map[keyword.Mode]string{keyword.Exact: c.exact, keyword.Courteous: c.courteous, keyword.Leading: c.leading} {
			if got := told(book(t, keyword.Options{Mode: mode}).Match(c.text)); got != want {
				t.Errorf("%q in mode %d is %q, want %q", c.text, mode, got, want)
			}
		}
	}
}

func TestMatch_options(t *testing.T) {
	b := book(t, keyword.Options{
		YesOptsIn: true, Off: []string{"info", "END"},
		Words:     map[string]map[keyword.Action][]string{"sw": {keyword.OptOut: {"ACHA"}, keyword.Help: {"MSAADA"}}},
		Postbacks: map[string]keyword.Action{"act:leave/7": keyword.OptOut},
	})
	for text, want := range map[string]string{
		"yes": "opt_in YES", "info": "none", "end": "none", "acha!": "opt_out ACHA", "Msaada": "help MSAADA", "act:leave/7": "none", "stop": "opt_out STOP",
	} {
		if got := told(b.Match(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	for data, want := range map[string]string{"act:leave/7": "opt_out OPT_OUT", "act:leave/8": "none", "STOP": "opt_out STOP"} {
		if got := told(b.Postback(data)); got != want {
			t.Errorf("button %q is %q, want %q", data, got, want)
		}
	}
	for text, all := range map[string]bool{"STOP": false, "stop all": true, "quit stopall": true, "cancel": false} {
		if m := b.Match(text); m.All != all {
			t.Errorf("%q: All is %v", text, m.All)
		}
	}
}

func TestNewBook_refuses(t *testing.T) {
	for want, o := range map[string]keyword.Options{
		`language "xx" is not built in`: {Languages: []string{"xx"}},
		"STOP always counts":            {Off: []string{"Stop."}},
		`"halt" is no keyword`:          {Off: []string{"halt"}},
		"write Courteous":               {Mode: 9},
		"give it an action":             {Postbacks: map[string]keyword.Action{"x": keyword.None}},
		"write a word with letters":     {Words: map[string]map[keyword.Action][]string{"sw": {keyword.Help: {"?!"}}}},
		`"help" is help already`:        {Words: map[string]map[keyword.Action][]string{"sw": {keyword.OptIn: {"help"}}}},
	} {
		if _, err := keyword.NewBook(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Every language that is built in can be spoken together with all others, and none makes a plain English word opt in.
func TestNewBook_allLanguages(t *testing.T) {
	b := book(t, keyword.Options{Languages: []string{"es", "fr", "de", "pt", "it", "nl", "pl", "ru", "tr", "id", "vi", "th", "ja", "ko", "zh", "ar", "hi"}})
	for _, text := range []string{"see you tomorrow", "please stop by tomorrow", "danke bis morgen"} {
		if got := told(b.Match(text)); got != "none" {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, text := range []string{"STOP", "please stop by tomorrow", "ＳＴＯＰ", "s\u200bt o p", "stop\n--\nx", "ｽﾄｯﾌﾟ", "\xff\xfestop", "ﷺ stop", strings.Repeat("stop ", 30)} {
		f.Add(text)
	}
	exact, courteous, leading := book(f, keyword.Options{Mode: keyword.Exact}), book(f, keyword.Options{}), book(f, keyword.Options{Mode: keyword.Leading})
	f.Fuzz(func(t *testing.T, text string) {
		e, c, l := exact.Match(text), courteous.Match(text), leading.Match(text)
		// Each mode hears what the stricter one hears.
		if e.Action != keyword.None && c != e || c.Action != keyword.None && l != c {
			t.Errorf("%q: exact %v, courteous %v, leading %v", text, e, c, l)
		}
		if again := courteous.Match(" " + text + " "); again != c {
			t.Errorf("%q: spaces around it make %v of %v", text, again, c)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	k := book(b, keyword.Options{})
	for b.Loop() {
		k.Match("Please stop texting me!")
	}
}
