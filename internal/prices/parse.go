package prices

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxPrice is the most that a segment may cost: a million of the currency. Dearer is a slip of the pen.
	maxPrice = 1_000_000_000_000
	// maxProblems is how many problems Parse tells before it only counts them.
	maxProblems = 20
	wantHeader  = "prefix,price,currency"
)

// entry is one line of the file.
type entry struct {
	at, end uint64
	micros  int64
	line    int
}

// Parse reads a table from CSV. The first line names the columns: prefix, price and currency, in any order; others are passed
// over. A prefix is 1 to 15 digits with or without a +, a price is a decimal of at most 6 places from 0 to 1,000,000, a currency
// is a code such as USD, the same on every line.
//
// The error joins every problem as "name:line: column: what: write this instead", up to 20 of them. It never holds a full number.
func Parse(name string, src []byte) (*Table, error) {
	p := parser{name: name}
	p.read(bytes.TrimPrefix(src, []byte("\ufeff")))
	slices.SortFunc(p.entries, func(a, b entry) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return a.line - b.line
	})
	for i := 1; i < len(p.entries); i++ {
		if p.entries[i].at == p.entries[i-1].at {
			p.problem(p.entries[i].line, "prefix: has a price on line %d already: keep one of them", p.entries[i-1].line)
		}
	}
	if p.more > 0 {
		p.problems = append(p.problems, fmt.Errorf("%s: and %d more", name, p.more))
	}
	if err := errors.Join(p.problems...); err != nil {
		return nil, err
	}
	return newTable(p.currency, p.entries), nil
}

type parser struct {
	name     string
	currency string
	since    int // line of the first currency
	entries  []entry
	problems []error
	more     int // problems beyond maxProblems
}

func (p *parser) problem(line int, format string, args ...any) {
	if len(p.problems) == maxProblems {
		p.more++
		return
	}
	p.problems = append(p.problems, fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

func (p *parser) read(src []byte) {
	r := csv.NewReader(bytes.NewReader(src))
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		p.problem(1, "no table: write the line %s, then a line for each prefix, such as 65,0.042,USD", wantHeader)
		return
	}
	if err != nil {
		p.malformed(err)
		return
	}
	line, _ := r.FieldPos(0)
	columns, ok := p.columns(line, header)
	if !ok {
		return
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.malformed(err)
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			return // where the next line begins is a guess
		}
		line, _ := r.FieldPos(0)
		p.record(line, record[columns[0]], record[columns[1]], record[columns[2]])
	}
	if len(p.entries) == 0 && len(p.problems) == 0 {
		p.problem(1, "no prefix: write at least one line, such as 65,0.042,USD; its price is that of every unknown number")
	}
}

// columns finds prefix, price and currency.
func (p *parser) columns(line int, header []string) (at [3]int, ok bool) {
	before := len(p.problems)
	for i, want := range strings.Split(wantHeader, ",") {
		at[i] = -1
		for j, name := range header {
			if !strings.EqualFold(strings.TrimSpace(name), want) {
				continue
			}
			if at[i] >= 0 {
				p.problem(line, "%s: two columns have this name: keep one of them", want)
			}
			at[i] = j
		}
		if at[i] < 0 {
			p.problem(line, "%s: no such column: write the names of the columns first, separated by commas: %s", want, wantHeader)
		}
	}
	return at, len(p.problems) == before
}

func (p *parser) malformed(err error) {
	var wrong *csv.ParseError
	switch {
	case !errors.As(err, &wrong):
		p.problem(1, "%v", err)
	case errors.Is(err, csv.ErrFieldCount):
		p.problem(wrong.Line, "more or fewer columns than the first line names: write as many; a price has a point, not a comma")
	default:
		p.problem(wrong.Line, `a " out of place: put it around a whole field, or leave it out`)
	}
}

func (p *parser) record(line int, prefix, price, currency string) {
	e := entry{line: line}
	good := true
	wrong := func(column string, err error) {
		if err != nil {
			good = false
			p.problem(line, "%s: %v", column, err)
		}
	}
	var err error
	e.at, e.end, err = readPrefix(strings.TrimSpace(prefix))
	wrong("prefix", err)
	e.micros, err = readPrice(strings.TrimSpace(price))
	wrong("price", err)
	wrong("currency", p.readCurrency(line, strings.TrimSpace(currency)))
	if good {
		p.entries = append(p.entries, e)
	}
}

func readPrefix(text string) (at, end uint64, err error) {
	digits := strings.TrimPrefix(text, "+")
	switch {
	case digits == "":
		return 0, 0, errors.New("empty: write the first digits of the numbers, such as 65")
	case !isDigits(digits):
		return 0, 0, fmt.Errorf("%s is not a prefix: write digits only, such as +6591", quote(text))
	case digits[0] == '0':
		return 0, 0, fmt.Errorf("%s begins with 0: begin with the calling code of the country, such as 65", quote(text))
	case len(digits) > maxDigits:
		return 0, 0, fmt.Errorf("%s is longer than any number: write at most %d digits", quote(text), maxDigits)
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	return place(v, len(digits)), past(v, len(digits)), err
}

// readPrice reads an exact decimal as millionths.
func readPrice(text string) (int64, error) {
	whole, fraction, point := strings.Cut(text, ".")
	switch {
	case text == "":
		return 0, errors.New("empty: write what a segment costs, such as 0.0075, or 0 if it is free")
	case strings.HasPrefix(text, "-"):
		return 0, fmt.Errorf("%s is negative: write 0 or more", quote(text))
	case !isDigits(whole) || point && !isDigits(fraction):
		return 0, fmt.Errorf("%s is not a price: write digits with a point, such as 0.0075", quote(text))
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > 6 {
		return 0, fmt.Errorf("%s has more than 6 decimals: money is counted in millionths, round it up", quote(text))
	}
	v, err := strconv.ParseInt(whole+fraction+"000000"[len(fraction):], 10, 64)
	if err != nil || v > maxPrice {
		return 0, fmt.Errorf("%s is too much for a segment: write at most %d", quote(text), maxPrice/1_000_000)
	}
	return v, nil
}

func (p *parser) readCurrency(line int, text string) error {
	if len(text) != 3 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("%s is not a currency: write an ISO 4217 code, such as USD", quote(text))
	}
	if p.currency == "" {
		p.currency, p.since = text, line
	}
	if text != p.currency {
		return fmt.Errorf("%s, but line %d has %s: a table has one currency, write the prices in %[3]s", text, p.since, p.currency)
	}
	return nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// quote shows what was written, cut short, and without the last digits of what may be a number.
func quote(text string) string {
	if len(text) > 24 {
		text = text[:21] + "..."
	}
	digits := 0
	return strconv.Quote(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsDigit(r):
			if digits++; digits > 6 {
				return '*'
			}
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text))
}
