package audit

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/internal/phone"
)

func veil(t testing.TB, secret []byte) *Veil {
	t.Helper()
	v, err := NewVeil(secret)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func number(t testing.TB, text string) phone.Number {
	t.Helper()
	n, err := phone.Parse(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestVeil_number(t *testing.T) {
	v := veil(t, secret)
	for text, visible := range map[string]string{
		"+6581234567": "+6581", "+12125550123": "+12125", "+491701234567": "+491701", "+2901234": "+290", "+442071838750": "+442071",
	} {
		got := v.Number(number(t, text))
		hidden, ok := strings.CutPrefix(got, visible)
		if !ok || len(got) != len(text) || strings.Trim(hidden, "abcdefghij") != "" {
			t.Errorf("%s is written %s, want %s and letters", text, got, visible)
		}
		if got == veil(t, another).Number(number(t, text)) {
			t.Errorf("%s: the secret does not matter", text)
		}
	}
	if got := v.Number(phone.Number{}); got != "" {
		t.Error(got)
	}
}

// Two numbers share as many leading letters as digits: the same number is the same letters, others are others, and a range is one.
func TestVeil_keepsNeighbours(t *testing.T) {
	v := veil(t, secret)
	common := func(a, b string) int {
		n := 0
		for n < len(a) && a[n] == b[n] {
			n++
		}
		return n
	}
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[0-9]{6}`)
		a, b := "+6581"+digits.Draw(t, "a"), "+6581"+digits.Draw(t, "b")
		if keep := rapid.IntRange(0, 6).Draw(t, "keep"); keep > 0 {
			b = a[:5+keep] + b[5+keep:]
		}
		x, err := phone.Parse(a, "")
		y, err2 := phone.Parse(b, "")
		if err != nil || err2 != nil {
			t.Skip("no numbers")
		}
		if got := common(v.Number(x), v.Number(y)); got != common(a, b) {
			t.Errorf("%s and %s are written %s and %s", a, b, v.Number(x), v.Number(y))
		}
		if stand := Unveil(v.Number(x)); len(stand) != len(a) || common(stand, Unveil(v.Number(y))) != common(a, b) {
			t.Errorf("%s stands for %s", stand, a)
		}
	})
}

func TestVeil_address(t *testing.T) {
	v := veil(t, secret)
	written := func(text string) string { return v.Address(netip.MustParseAddr(text)) }
	for _, same := range [][2]string{{"2001:db8:1:2::3", "2001:db8:1:2:ffff::"}, {"203.0.113.7", "::ffff:203.0.113.7"}} {
		if written(same[0]) != written(same[1]) {
			t.Errorf("%v are not the same", same)
		}
	}
	if a, b := written("203.0.113.7"), written("203.0.113.8"); a == b || a[:10] != b[:10] || !strings.HasPrefix(a, "ip4:ml") {
		t.Error(a, b)
	}
	if strings.ContainsAny(written("203.0.113.7")[4:], "0123456789") || v.Address(netip.Addr{}) != "" {
		t.Error("digits")
	}
	for _, text := range []string{"203.0.113.7", "2001:db8:1:2::3"} {
		a, err := UnveilAddress(written(text))
		if want := netip.MustParseAddr(text); err != nil || a.Is4() != want.Is4() || a.AsSlice()[0] != want.AsSlice()[0] {
			t.Errorf("%s stands for %s: %v", a, text, err)
		}
	}
	for _, text := range []string{"", "ip4:", "ip4:mlaaaaaz", "ip6:mlaaaaaa", "ip5:mlaaaaaa", "mlaaaaaa"} {
		if _, err := UnveilAddress(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func TestVeil_sampled(t *testing.T) {
	v := veil(t, secret)
	in := 0
	for i := range 10_000 {
		n, err := phone.FromDigits(6581000000 + uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if v.sampled(n, 0.1) {
			in++
			if !v.sampled(n, 0.2) {
				t.Fatal("a larger sample holds the smaller one")
			}
		}
		if v.sampled(n, 0) || !v.sampled(n, 1) {
			t.Fatal("none and all")
		}
	}
	if in < 850 || in > 1150 { // five standard deviations
		t.Errorf("%d of 10,000 are in a sample of a tenth", in)
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"login":                    "login",
		"/sms/+6581234567":         "/sms/+#",
		"8123 4567":                "#",
		"(0)20-7183 8750 and 12":   "(# and 12",
		"８１２３４５６７":                 "#",
		"٨١٢٣٤٥٦٧":                 "#",
		"v2/otp-123456":            "v2/otp-123456",
		"203.0.113.77":             "#",
		"a1b2c3d4e5f6":             "a1b2c3d4e5f6",
		"1234567":                  "#",
		"tel:81234567;ext=12 done": "tel:#;ext=12 done",
		"":                         "",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("/sms/+65 8123-4567")
	f.Fuzz(func(t *testing.T, text string) {
		once := Clean(text)
		if Clean(once) != once {
			t.Errorf("%q becomes %q and then %q", text, once, Clean(once))
		}
		run := 0
		for i := range len(once) {
			if once[i] < '0' || once[i] > '9' {
				run = 0
			} else if run++; run >= 7 {
				t.Fatalf("%q becomes %q", text, once)
			}
		}
	})
}
