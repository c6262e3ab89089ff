package lists_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/lists"
)

func target(t testing.TB, text string) lists.Target {
	t.Helper()
	got, err := lists.ParseTarget(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		text string
		kind lists.Kind
		want string
	}{
		{"+6591234567", lists.KindNumber, "+65****67"},
		{"+123456789012345", lists.KindNumber, "+12****45"},
		{"+1234567", lists.KindNumber, "+12****67"},
		{"+1234500", lists.KindNumber, "+12****00"},
		{"+6591234***", lists.KindRange, "+6591234***"},
		{"+65********", lists.KindRange, "+65********"},
		{"+1234567890123**", lists.KindRange, "+1234567890123**"},
		{"+12345**", lists.KindRange, "+12345**"},
		{"+6591*", lists.KindPrefix, "+6591*"},
		{"+1*", lists.KindPrefix, "+1*"},
		{"+123456789*", lists.KindPrefix, "+123456789*"},
		{"SG", lists.KindCountry, "SG"},
		{"sg", lists.KindCountry, "SG"},
		{"203.0.113.7", lists.KindAddress, "203.0.113.7"},
		{"::ffff:203.0.113.7", lists.KindAddress, "203.0.113.7"},
		{"203.0.113.0/24", lists.KindAddress, "203.0.113.0/24"},
		{"203.0.113.7/32", lists.KindAddress, "203.0.113.7"},
		{"::ffff:203.0.113.0/120", lists.KindAddress, "203.0.113.0/24"},
		{"2001:DB8::/48", lists.KindAddress, "2001:db8::/48"},
		{"::1", lists.KindAddress, "::1"},
		{"account:acme", lists.KindAccount, "account:acme"},
		{"account:SG", lists.KindAccount, "account:SG"},
		{"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+65****67", lists.KindNumber, "+65****67"},
	} {
		got, err := lists.ParseTarget(c.text)
		if err != nil || got.Kind() != c.kind || got.String() != c.want || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v %s, %v", c.text, got.Kind(), got, err)
		}
	}
}

func TestParseTarget_errors(t *testing.T) {
	for text, want := range map[string]string{
		"account:":                      "write its name behind account:",
		"account:+6591234567":           "no phone number",
		"account:a\nb":                  "one line",
		"":                              "no target: write a number like +6591234567",
		"6591234567":                    "without +: write it in E.164",
		"+":                             "begins with a country calling code",
		"+*":                            "begins with a country calling code",
		"+06591234567":                  "begins with a country calling code",
		"+65 9123 4567":                 "only digits after the +",
		"+65-91234567":                  "only digits after the +",
		"+65x":                          "only digits after the +",
		"+\uff16\uff15912345":           "only digits after the +",
		"+1234567890123456":             "15 digits at most",
		"+" + strings.Repeat("9", 1000): "15 digits at most",
		"+65" + strings.Repeat("*", 99): "15 digits at most",
		"+65*9***":                      "stars stand at the end",
		"+123456":                       "put a star behind it, like +6591*",
		"+6591234567*":                  "a prefix has 9 digits at most",
		"+12345678901234*":              "a prefix has 9 digits at most",
		"+65**":                         "for any length, a prefix with one star",
		"+12345678901234**":             "has 7 to 15",
		"UK":                            "write GB",
		"S1":                            "neither number, country nor address",
		"SGP":                           "neither number, country nor address",
		"203.0.113.7:80":                "without port and zone",
		"fe80::1%eth0":                  "without port and zone",
		"203.0.113.300":                 "not an address",
		"203.0.113.7/24":                "write 203.0.113.0/24",
		"203.0.113.0/33":                "not a CIDR",
		"0.0.0.0/0":                     "is everybody",
		"::/0":                          "is everybody",
		"::ffff:0:0/96":                 "is everybody",
		"::ffff:0:0/90":                 "write it as IPv4",
		"hmac:":                         "not a sealed number",
		"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+6591234567": "not a sealed number",
		"hmac:5F1C2E90:OrGqEsIJ5Ky1zuDWzYbNCA:+65****67":   "not a sealed number",
		"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNC:+65****67":    "not a sealed number",
		"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCB:+65****67":   "not a sealed number",
		"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+05****67":   "not a sealed number",
	} {
		got, err := lists.ParseTarget(text)
		if err == nil || !strings.Contains(err.Error(), want) || got != (lists.Target{}) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestTarget_masksNumbers(t *testing.T) {
	n := target(t, "+6591234567")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		if text := fmt.Sprintf(verb, n); text != "+65****67" {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	if n.ID() != "+65****67" {
		t.Errorf("ID %s", n.ID())
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"+6591234567", "+6591234***", "+6591*", "SG", "203.0.113.7", "2001:db8::/48", "::ffff:203.0.113.0/120",
		"hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+65****67", "+65**", "UK", "+65*9", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := lists.ParseTarget(text)
		if err != nil {
			if got != (lists.Target{}) {
				t.Fatalf("%q: error with a target", text)
			}
			return
		}
		if got.Kind() == lists.KindNumber && got.ID() == got.String() {
			if strings.Contains(got.String(), text[3:]) {
				t.Fatalf("%q is printed as %s", text, got)
			}
			return // its ID is only a mask
		}
		if again, err := lists.ParseTarget(got.ID()); err != nil || again != got {
			t.Fatalf("%q: ID %s is read as %v, %v", text, got.ID(), again, err)
		}
	})
}
