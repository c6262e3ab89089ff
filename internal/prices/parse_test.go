package prices

import (
	"regexp"
	"strings"
	"testing"
)

func TestParse_accepts(t *testing.T) {
	for name, src := range map[string]string{
		"plain":                     "prefix,price,currency\n65,0.042,USD\n",
		"no last newline, CRLF":     "prefix,price,currency\r\n65,0.042,USD",
		"byte order mark":           "\ufeffprefix,price,currency\n65,0.042,USD\n",
		"+, spaces, case, quotes":   "Prefix, PRICE ,\"currency\"\n +65 , 0.0420000000 , USD\n",
		"other columns, any order":  "country,currency,operator,price,prefix\nSG,USD,\"Sing, tel\",0.042,65\n",
		"empty lines are no lines":  "\n\nprefix,price,currency\n\n65,0.042,USD\n\n",
		"a column without any name": "prefix,price,currency,\n65,0.042,USD,\n",
	} {
		table, err := Parse("prices.csv", []byte(src))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if micros, known := table.Lookup(6591234567); micros != 42_000 || !known || table.Currency() != "USD" {
			t.Errorf("%s: %d %s, known %v", name, micros, table.Currency(), known)
		}
	}
}

func TestParse_refuses(t *testing.T) {
	const header = "prefix,price,currency\n"
	for _, c := range []struct{ src, want string }{
		{"", `p.csv:1: no table: write the line prefix,price,currency, then a line for each prefix, such as 65,0.042,USD`},
		{header, `p.csv:1: no prefix: write at least one line, such as 65,0.042,USD; its price is that of every unknown number`},
		{"65,0.042,USD\n", `p.csv:1: prefix: no such column: write the names of the columns first, separated by commas: prefix,price,currency`},
		{"prefix;price;currency\n65;1;USD", `p.csv:1: currency: no such column`},
		{"prefix,price,price,currency\n65,1,1,USD", `p.csv:1: price: two columns have this name: keep one of them`},
		{header + "@65,1,USD", `p.csv:2: prefix: "@65" is not a prefix: write digits only, such as +6591`},
		{header + "+6591234***,1,USD", `p.csv:2: prefix: "+659123****" is not a prefix`},
		{header + ",1,USD", `p.csv:2: prefix: empty: write the first digits of the numbers, such as 65`},
		{header + "+,1,USD", `p.csv:2: prefix: empty`},
		{header + "065,1,USD", `p.csv:2: prefix: "065" begins with 0: begin with the calling code of the country, such as 65`},
		{header + "6591234567890123,1,USD", `p.csv:2: prefix: "659123**********" is longer than any number: write at most 15 digits`},
		{header + "65,,USD", `p.csv:2: price: empty: write what a segment costs, such as 0.0075, or 0 if it is free`},
		{header + "65,-0.1,USD", `p.csv:2: price: "-0.1" is negative: write 0 or more`},
		{header + "65,1e3,USD", `p.csv:2: price: "1e3" is not a price: write digits with a point, such as 0.0075`},
		{header + "65,.5,USD", `p.csv:2: price: ".5" is not a price`},
		{header + "65,1.,USD", `p.csv:2: price: "1." is not a price`},
		{header + `65,"0,5",USD`, `p.csv:2: price: "0,5" is not a price: write digits with a point`},
		{header + "65,0,5,USD", `p.csv:2: more or fewer columns than the first line names: write as many; a price has a point, not a comma`},
		{header + "65,0.0000001,USD", `p.csv:2: price: "0.00000**" has more than 6 decimals: money is counted in millionths, round it up`},
		{header + "65,1000000.000001,USD", `p.csv:2: price: "100000*.******" is too much for a segment: write at most 1000000`},
		{header + "65,99999999999999999999,USD", `p.csv:2: price: "999999**************" is too much`},
		{header + "65,1,usd", `p.csv:2: currency: "usd" is not a currency: write an ISO 4217 code, such as USD`},
		{header + "65,1,", `p.csv:2: currency: "" is not a currency`},
		{header + "65,1,USD\n\n66,1,EUR", `p.csv:4: currency: EUR, but line 2 has USD: a table has one currency, write the prices in USD`},
		{header + "65,1,USD\n66,1,USD\n+65,2,USD", `p.csv:4: prefix: has a price on line 2 already: keep one of them`},
		{header + "65,1,USD\n6\"6,1,USD", `p.csv:3: a " out of place: put it around a whole field, or leave it out`},
		{header + "x,-1,eur", "p.csv:2: prefix: \"x\" is not a prefix: write digits only, such as +6591\np.csv:2: price: \"-1\" is negative: write 0 or more\np.csv:2: currency: \"eur\" is not"},
		{header + strings.Repeat("x,1,USD\n", 25), "p.csv: and 5 more"},
	} {
		_, err := Parse("p.csv", []byte(c.src))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.src, err, c.want)
		}
	}
}

// Nobody who reads a log is told a number, even if somebody put numbers where prefixes or prices belong.
func FuzzParse(f *testing.F) {
	f.Add([]byte("prefix,price,currency,country\n1,0.0079,USD,US\n+65,0.042,USD,SG\n6591,0.0451,USD,\n"))
	f.Add([]byte("\ufeffcurrency,price,prefix\nJPY,12,81\n"))
	f.Add([]byte("prefix,price,currency\n+6591234567,6591234567,6591234567\n"))
	f.Add([]byte("prefix,price,currency\n65 9123 4567,1,USD\n\"65\"x,1,USD\n"))
	number := regexp.MustCompile(`[0-9]{7,}`)
	f.Fuzz(func(t *testing.T, src []byte) {
		table, err := Parse("prices.csv", src)
		if err != nil {
			if text := strings.ReplaceAll(err.Error(), "write at most 1000000", ""); number.MatchString(text) {
				t.Errorf("%q tells a number", text)
			}
			return
		}
		for _, number := range []uint64{0, 1, 6591234567, 999_999_999_999_999, 1 << 63} {
			micros, known := table.Lookup(number)
			if micros < 0 || micros > table.Dearest() || !known && micros != table.Dearest() {
				t.Errorf("Lookup = %d, %v, dearest %d", micros, known, table.Dearest())
			}
		}
	})
}
