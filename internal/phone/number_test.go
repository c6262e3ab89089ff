package phone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func mustParse(t testing.TB, s string) Number {
	t.Helper()
	n, err := Parse(s, "")
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return n
}

// leaks reports whether text shows more than a calling code or two digits.
func leaks(text string) bool {
	run := 0
	for _, r := range text {
		if r < '0' || r > '9' {
			run = 0
		} else if run++; run > 3 {
			return true
		}
	}
	return false
}

func TestMasking(t *testing.T) {
	for e164, want := range map[string]string{
		"+6591234567": "+65****67", "+12015550123": "+1****23", "+2348021234567": "+234****67",
		"+29051234": "+290****", "+6834012": "+683****", "+49301234": "+49****34",
	} {
		n := mustParse(t, e164)
		if n.String() != want || n.GoString() != want || n.LogValue().String() != want {
			t.Errorf("%s is shown as %s, want %s", e164, n, want)
		}
	}
	if s := fmt.Sprint(Number{}); s != "none" {
		t.Errorf("no number is shown as %q", s)
	}
}

func TestEveryVerbMasks(t *testing.T) {
	n := mustParse(t, "+6591234567")
	type holder struct{ n Number }
	type Holder struct{ N Number }
	m := map[Number]int{n: 1}
	var clear []string
	for _, format := range []string{"%d", "%x", "%X", "%o", "%b", "%e"} {
		clear = append(clear, fmt.Sprintf(format, n.Digits()))
	}
	for _, verb := range "vsqdxXobOcUeEfFgGtTpw" {
		for _, flags := range []string{"", "+", "#", " ", "0", "-", "20", "-20", ".3", "020"} {
			format := "%" + flags + string(verb)
			// fmt does not ask a value how to print itself in an unexported field, nor
			// for %p and %w.
			values := []any{n, &n, []Number{n}, Holder{n}, &Holder{n}, m, [1]Number{n}, holder{n}, &holder{n}, []holder{{n}}}
			for i, value := range values {
				got := fmt.Sprintf(format, value)
				for _, c := range clear {
					if strings.Contains(got, c) {
						t.Errorf("%s of %T: %s", format, value, got)
					}
				}
				if asks := i < 7 && !strings.ContainsRune("Tpw", verb); asks && !strings.Contains(got, "+65") {
					t.Errorf("%s of %T: %s is not the mask", format, value, got)
				}
			}
		}
	}
	for format, want := range map[string]string{"%v": "+65****67", "%#v": "+65****67", "%d": "+65****67", "%q": `"+65****67"`, "%12s|": "   +65****67|"} {
		if got := fmt.Sprintf(format, n); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
}

func TestLogsAndJSONMask(t *testing.T) {
	n := mustParse(t, "+6591234567")
	var b bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
		slog.New(h).With("with", n).WithGroup("g").Info("send", "number", n, "in", struct{ N Number }{n}, "list", []Number{n}, "range", n.Range(2))
	}
	shown := b.String()
	b.Reset()
	if err := json.NewEncoder(&b).Encode(map[string]any{"n": n, "p": &n, "m": map[Number]int{n: 1}, "s": []Number{n}}); err != nil {
		t.Fatal(err)
	}
	if want := `{"m":{"+65****67":1},"n":"+65****67","p":"+65****67","s":["+65****67"]}` + "\n"; b.String() != want {
		t.Errorf("JSON %s, want %s", b.String(), want)
	}
	if shown += b.String(); strings.Contains(shown, "4567") || strings.Contains(shown, fmt.Sprint(n.Digits())) {
		t.Error(shown)
	}
	if strings.Count(shown, "+65****67") < 8 {
		t.Errorf("too few masked numbers in %s", shown)
	}
}

func TestClearText(t *testing.T) {
	n := mustParse(t, "+6591234567")
	if n.E164() != "+6591234567" || n.Digits() != 6591234567 || string(n.AppendE164([]byte("to "))) != "to +6591234567" {
		t.Error(n.E164(), n.Digits())
	}
	var none Number
	if none.E164() != "" || none.Digits() != 0 || none.CallingCode() != 0 || none.Country() != "" || none.Info() != (Info{}) ||
		none.NationalPrefixLen() != 0 || !none.IsZero() || n.IsZero() || none.Range(2) != (Range{}) {
		t.Error("no number is not nothing")
	}
	if mustParse(t, "+65 9123 4567") != n || mustParse(t, "+6591234568") == n {
		t.Error("equality is not that of the digits")
	}
}

func TestNationalPrefixLen(t *testing.T) {
	for e164, want := range map[string]int{"+442079460018": 2, "+12015550123": 3, "+6591234567": 4, "+5491123456789": 3} {
		if got := mustParse(t, e164).NationalPrefixLen(); got != want {
			t.Errorf("%s: %d, want %d", e164, got, want)
		}
	}
}

func TestTypeNames(t *testing.T) {
	for of := UnknownType; of <= Voicemail; of++ {
		text, _ := of.MarshalText()
		var back Type
		if err := back.UnmarshalText(text); err != nil || back != of {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
	var back Type
	if err := back.UnmarshalText([]byte("Mobile")); err == nil || !strings.Contains(err.Error(), `"mobile"`) {
		t.Error(err)
	}
	if Type(200).String() != "unknown" || Reason(200).String() != "unknown" || refuse(200).Error() == "" {
		t.Error("unknown values have no name")
	}
}

// TestConcurrent is for the race detector: automata are built and answers
// remembered while others read them.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, want := range spellings {
				for _, w := range want.written {
					region, text, _ := strings.Cut(w, ":")
					n, err := Parse(text, region)
					if err != nil || n.E164() != want.e164 || n.Info().Country != want.country || n.Range(3).IsZero() {
						t.Errorf("%q: %v %v", w, n, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestInBubble: callers test with synctest, whose bubbles must end without a
// goroutine of ours.
func TestInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 3 {
			if n, err := Parse("9123 4567", "SG"); err != nil || n.E164() != "+6591234567" {
				t.Error(n, err)
			}
			synctest.Wait()
		}
	})
}

func TestFastPathAllocatesNothing(t *testing.T) {
	Warm()
	memory.Wait() // another test's answers are being stored
	n := mustParse(t, "+12015550123")
	buf := make([]byte, 0, 16)
	for name, f := range map[string]func(){
		"parse":     func() { _, _ = Parse("+6591234567", "") },
		"region":    func() { _, _ = Parse("+6591234567", "US") },
		"separated": func() { _, _ = Parse("+65 9123-4567", "SG") },
		"national":  func() { _, _ = Parse("9123 4567", "SG") }, // remembered
		"digits":    func() { _, _ = FromDigits(6591234567) },
		"info":      func() { _ = n.Info() },
		"country":   func() { _ = n.Country() },
		"code":      func() { _ = n.CallingCode() },
		"range":     func() { _ = n.Range(3).Key() },
		"append":    func() { buf = n.AppendE164(buf[:0]) },
	} {
		if allocs := testing.AllocsPerRun(1000, f); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
