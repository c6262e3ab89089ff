package phone

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRange(t *testing.T) {
	for _, c := range []struct {
		e164   string
		masked int
		want   string
	}{
		{"+6591234567", 2, "+65912345**"},
		{"+6591234567", 3, "+6591234***"},
		{"+6591234567", 4, "+659123****"},
		{"+6591234567", 5, "+65912*****"},
		{"+6591234567", 6, "+6591******"},
		{"+6591234567", 1, "+65912345**"},
		{"+6591234567", -5, "+65912345**"},
		{"+6591234567", 99, "+6591******"},
		{"+6834012", 3, "+6834***"},
		{"+6834012", 4, "+683****"},
		{"+6834012", 5, "+683****"},
		{"+6834012", 6, "+683****"},
		{"+29051234", 6, "+290*****"},
		{"+4702345", 5, "+47*****"},
	} {
		if got := mustParse(t, c.e164).Range(c.masked); got.String() != c.want {
			t.Errorf("%s without %d: %s, want %s", c.e164, c.masked, got, c.want)
		} else if back, err := ParseRange(c.want); err != nil || back != got {
			t.Errorf("%s reads back as %s, %v", c.want, back, err)
		}
	}
}

func TestRangesOfOnePrefixDiffer(t *testing.T) {
	a, b := mustParse(t, "+4930123456").Range(3), mustParse(t, "+49301234567").Range(4)
	if a == b || a.Key() == b.Key() || a.Contains(mustParse(t, "+49301234567")) {
		t.Errorf("%s and %s are one", a, b)
	}
}

func TestRangeIsOfItsNumbersOnly(t *testing.T) {
	all := examples(t)
	keys := map[uint64]Range{}
	rapid.Check(t, func(t *rapid.T) {
		o := international(all[rapid.IntRange(0, len(all)-1).Draw(t, "example")].e164()[1:])
		if o.reason != 0 {
			t.Skip()
		}
		n, masked := o.number, rapid.IntRange(MinMasked, MaxMasked).Draw(t, "masked")
		r := n.Range(masked)
		_, national := plans.split(n.Digits())
		if r.Masked() != min(masked, national) {
			t.Fatalf("%s: %d digits masked, want %d", n.E164(), r.Masked(), masked)
		}
		if !r.Contains(n) || r.Contains(Number{}) || !strings.HasPrefix(r.String(), "+"+strconv.Itoa(n.CallingCode())) {
			t.Fatalf("%s is not in its range %s", n.E164(), r)
		}
		width := pow10[r.Masked()]
		first := n.Digits() / width * width
		for _, d := range []uint64{first, first + width - 1} {
			if !r.Contains(fromDigits(d)) || fromDigits(d).Range(masked) != r {
				t.Fatalf("%d is not in %s", d, r)
			}
		}
		for _, d := range []uint64{first - 1, first + width, n.Digits() * 10, n.Digits() / 10} {
			if r.Contains(fromDigits(d)) {
				t.Fatalf("%d is in %s", d, r)
			}
		}
		if other, ok := keys[r.Key()]; ok && other != r {
			t.Fatalf("%s and %s have one key", other, r)
		}
		keys[r.Key()] = r
		if back, err := ParseRange(r.String()); err != nil || back != r {
			t.Fatalf("%s reads back as %s, %v", r, back, err)
		}
	})
}

func TestParseRangeRefuses(t *testing.T) {
	for _, s := range []string{
		"", "+", "***", "+***", "+6591234567", "+65912345670*", "+65912345*", "+6*******", "+65*******", "6591234***", "+65 91234***", "+6591234**x",
		"+6591*34***", "+999123***", "+6591234***\n", "+0591234***", "+6591234****", "+659123***", "+12**********", "+68******", "+29******", "+" + strings.Repeat("1", 30) + "**",
	} {
		r, err := ParseRange(s)
		if err == nil {
			t.Errorf("%q is read as %s", s, r)
			continue
		}
		if !strings.Contains(err.Error(), "write") || repeats(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
