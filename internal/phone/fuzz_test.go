package phone

import (
	"strings"
	"testing"
	"unicode"
)

// repeats reports whether text has five digits of the input in a row.
func repeats(text, input string) bool {
	var digits strings.Builder
	for _, r := range input {
		if d, ok := digitOf(r); ok {
			digits.WriteByte('0' + d)
		} else if unicode.IsLetter(r) {
			digits.WriteRune(r)
		}
	}
	const window = 5
	for s := digits.String(); len(s) >= window; s = s[1:] {
		if part := s[:window]; strings.Trim(part, "0123456789") == "" && strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func FuzzParse(f *testing.F) {
	for _, want := range spellings {
		f.Add(want.e164, want.country)
		for _, w := range want.written {
			region, text, _ := strings.Cut(w, ":")
			f.Add(text, region)
		}
	}
	for _, c := range refusals {
		f.Add(c.text, c.region)
	}
	f.Fuzz(func(t *testing.T, text, region string) {
		n, err := Parse(text, region)
		if err != nil {
			if reasonIn(err) == 0 || !n.IsZero() {
				t.Fatalf("%q in %q: error %T, number %s", text, region, err, n.E164())
			}
			if repeats(err.Error(), text) {
				t.Fatalf("%q in %q: the error repeats the input: %v", text, region, err)
			}
			return
		}
		for _, again := range []string{n.E164(), "00" + n.E164()[1:], "+" + n.E164()[1:3] + " " + n.E164()[3:]} {
			if got, err := Parse(again, ""); err != nil || got != n {
				t.Fatalf("%q in %q is %s, and that is %s, %v", text, region, n.E164(), got.E164(), err)
			}
		}
		if got, err := FromDigits(n.Digits()); err != nil || got != n {
			t.Fatalf("%q in %q is %s, from digits %s, %v", text, region, n.E164(), got.E164(), err)
		}
		if info := n.Info(); info != infoByLibphonenumber(t, n) {
			t.Fatalf("%s: %+v", n.E164(), info)
		}
		if leaks(n.String()) || !n.Range(4).Contains(n) {
			t.Fatalf("%q in %q: %s, %s", text, region, n, n.Range(4))
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"+6591234***", "+6834***", "+1201555****", "+65912345**", "+999123***", "6591234***", "+65**"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			if repeats(err.Error(), s) {
				t.Fatalf("%q: the error repeats the input: %v", s, err)
			}
			return
		}
		if r.String() != s || r.IsZero() || r.Key() == 0 {
			t.Fatalf("%q is read as %s", s, r)
		}
	})
}
