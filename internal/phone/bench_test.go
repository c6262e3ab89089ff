package phone

import (
	"math/rand/v2"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

// coldNumbers is a power of two, large enough that the numbers fit no cache that
// matters and that the answers of most are forgotten before they come again.
const coldNumbers = 1 << 18

// fresh returns numbers as an attack uses them: one country, all different.
func fresh(format func(n uint64) string) []string {
	r := rand.New(rand.NewPCG(5, 6))
	out := make([]string, coldNumbers)
	for i := range out {
		out[i] = format(90_000_000 + r.Uint64N(9_000_000))
	}
	return out
}

func BenchmarkParse(b *testing.B) {
	digits := func(n uint64) string { return string(appendDigits(nil, n)) }
	for name, spell := range map[string]func(uint64) string{
		"e164":      func(n uint64) string { return "+65" + digits(n) },
		"separated": func(n uint64) string { d := digits(n); return "+65 " + d[:4] + "-" + d[4:] },
		"national":  func(n uint64) string { return digits(n) },
		"dialled":   func(n uint64) string { return "0065" + digits(n) }, // by libphonenumber
	} {
		numbers := fresh(spell)
		b.Run(name+"/hot", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(numbers[0], "SG"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/cold", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := Parse(numbers[i&(coldNumbers-1)], "SG"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse("+659123", "SG"); err == nil {
				b.Fatal("read")
			}
		}
	})
}

func BenchmarkInfo(b *testing.B) {
	for name, before := range map[string]string{"SG": "65", "US": "120", "GB": "4479"} {
		numbers := make([]Number, coldNumbers)
		for i, s := range fresh(func(n uint64) string { return "+" + before + string(appendDigits(nil, n)) }) {
			numbers[i] = mustParse(b, s)
		}
		b.Run(name+"/hot", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = numbers[0].Info()
			}
		})
		b.Run(name+"/cold", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = numbers[i&(coldNumbers-1)].Info()
			}
		})
		b.Run(name+"/country", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = numbers[i&(coldNumbers-1)].Country()
			}
		})
	}
}

// BenchmarkLibphonenumber is what the tables are there to save.
func BenchmarkLibphonenumber(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		m, _ := phonenumbers.Parse("+6591234567", "SG")
		_, _, _ = phonenumbers.GetRegionCodeForNumber(m), phonenumbers.GetNumberType(m), phonenumbers.IsValidNumber(m)
	}
}

// BenchmarkRange builds the five keys that detection counts a number by.
func BenchmarkRange(b *testing.B) {
	n := mustParse(b, "+6591234567")
	b.ReportAllocs()
	for b.Loop() {
		for masked := MinMasked; masked <= MaxMasked; masked++ {
			_ = n.Range(masked).Key()
		}
	}
}

// BenchmarkAutomaton is what the first number of a calling code pays once.
func BenchmarkAutomaton(b *testing.B) {
	meta := metadataByCode()
	for name, code := range map[string]int{"SG": 65, "US": 1, "DE": 49} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = numberAutomaton(meta[code], maxDigits-countDigits(uint64(code)))
			}
		})
	}
}
