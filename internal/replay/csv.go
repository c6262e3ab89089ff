package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Columns says which column of a CSV file a field comes from: field to column, by the names of the header. A field that is not there
// comes from the column of its own name, if there is one.
type Columns map[string]string

// fields are those of a line of JSON, in the order in which they are told to people.
func fields() []string {
	return []string{"t", "type", "id", "msisdn", "ip", "account", "subaccount", "endpoint", "purpose", "channel", "outcome", "cost", "challenge_passed"}
}

// ParseColumns reads FIELD=COLUMN pairs, such as "t=created_at,msisdn=to". A column's name may hold any character but a comma.
func ParseColumns(text string) (Columns, error) {
	out := Columns{}
	if strings.TrimSpace(text) == "" {
		return out, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		field, column, ok := strings.Cut(strings.TrimSpace(pair), "=")
		field, column = strings.TrimSpace(field), strings.TrimSpace(column)
		switch {
		case !ok || column == "":
			return nil, fmt.Errorf("%q: write FIELD=COLUMN, such as msisdn=to", pair)
		case !slices.Contains(fields(), field):
			return nil, fmt.Errorf("there is no field %q: write one of %s", field, strings.Join(fields(), ", "))
		case out[field] != "":
			return nil, fmt.Errorf("%s is written twice: keep one of them", field)
		}
		out[field] = column
	}
	return out, nil
}

// table reads a CSV file of RFC 4180, whose first record names the columns. Columns are separated by whichever of comma, semicolon
// and tab the header has most of.
type table struct {
	in     *lines
	comma  byte
	place  [13]int // of fields(), -1 for none
	width  int
	record []byte
	cells  [][]byte
	id     []byte
}

var errNoColumn = errors.New("no such column")

// newTable reads the header.
func newTable(in *lines, columns Columns) (*table, error) {
	t := &table{in: in}
	line, err := in.next()
	if err != nil {
		return nil, errors.New("line 1: there is no header: write the names of the columns there")
	}
	header := bytes.TrimPrefix(line, []byte("\ufeff"))
	t.comma = ','
	for _, c := range []byte(";\t") {
		if bytes.Count(header, []byte{c}) > bytes.Count(header, []byte{t.comma}) {
			t.comma = c
		}
	}
	if err := t.split(slices.Clone(header)); err != nil {
		return nil, fmt.Errorf("line 1: the header: %w", err)
	}
	t.width = len(t.cells)
	var names []string
	for _, cell := range t.cells {
		names = append(names, strings.TrimSpace(string(cell)))
	}
	for i, field := range fields() {
		column, mapped := columns[field]
		if !mapped {
			column = field
		}
		t.place[i] = slices.Index(names, column)
		if mapped && t.place[i] < 0 {
			return nil, fmt.Errorf("line 1: %s: %w: the header has %s", field, errNoColumn, strings.Join(names, ", "))
		}
	}
	for _, need := range []int{0, 3} {
		if t.place[need] < 0 {
			return nil, fmt.Errorf("line 1: no column is called %s: say which one it is, as in --columns %s=NAME; the header has %s", fields()[need], fields()[need], strings.Join(names, ", "))
		}
	}
	return t, nil
}

// next reads a record into an event. A *LineError is about the record.
func (t *table) next(e *event) error {
	line, err := t.in.next()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return errEmpty
	}
	t.record = append(t.record[:0], line...)
	for open := t.open(line, false); open; { // a quoted text goes on in the next line
		more, err := t.in.next()
		switch {
		case errors.Is(err, io.EOF):
			return &LineError{errors.New("a quote is opened and not closed")}
		case err != nil:
			return err
		case len(t.record)+len(more) >= maxLine:
			return &LineError{fmt.Errorf("a record longer than %d bytes: is a quote not closed?", maxLine)}
		}
		t.record = append(append(t.record, '\n'), more...)
		open = t.open(more, true)
	}
	if err := t.split(t.record); err != nil {
		return &LineError{err}
	}
	if len(t.cells) != t.width {
		return &LineError{fmt.Errorf("%d columns, the header has %d", len(t.cells), t.width)}
	}
	return t.read(e)
}

// open says whether, after one more line of a record, a quote is open that nothing has closed. A doubled quote never lies across lines.
func (t *table) open(line []byte, quoted bool) bool {
	start := !quoted // of a field
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '"' && i+1 < len(line) && line[i+1] == '"':
			i++
		case quoted && c == '"':
			quoted = false
		case quoted:
		case c == '"' && start:
			quoted, start = true, false
		default:
			start = c == t.comma
		}
	}
	return quoted
}

// split cuts a record into cells, in place.
func (t *table) split(record []byte) error {
	t.cells = t.cells[:0]
	for {
		if len(record) == 0 || record[0] != '"' {
			at := bytes.IndexByte(record, t.comma)
			if at < 0 {
				t.cells = append(t.cells, record)
				return nil
			}
			t.cells, record = append(t.cells, record[:at]), record[at+1:]
			continue
		}
		n, i := 0, 1
		for ; i < len(record); i++ {
			if record[i] == '"' {
				if i+1 == len(record) || record[i+1] != '"' {
					break
				}
				i++
			}
			record[n] = record[i]
			n++
		}
		if i == len(record) {
			return errors.New("a quote is opened and not closed")
		}
		t.cells = append(t.cells, record[:n])
		switch rest := record[i+1:]; {
		case len(rest) == 0:
			return nil
		case rest[0] != t.comma:
			return errors.New("text follows a closing quote: write a quote within quotes twice")
		default:
			record = rest[1:]
		}
	}
}

// read makes an event of the cells. A file without a column for the type has sends only, and one without ids is numbered.
func (t *table) read(e *event) error {
	*e = event{cost: 1}
	cell := func(field int) []byte {
		if t.place[field] < 0 {
			return nil
		}
		return bytes.TrimSpace(t.cells[t.place[field]])
	}
	for i, at := range []*[]byte{&e.t, &e.kind, &e.id, &e.number, &e.client, &e.account, &e.subaccount, &e.endpoint, &e.purpose, &e.channel, &e.outcome} {
		*at = cell(i)
	}
	var err error
	if e.at, err = parseTime(string(e.t)); err != nil {
		return &LineError{err}
	}
	switch strings.ToLower(string(e.kind)) {
	case "":
		if e.kind = []byte("send"); t.place[1] >= 0 {
			return &LineError{errors.New(`type: write "send" or "outcome"`)}
		}
	case "send", "outcome":
		e.kind = bytes.ToLower(e.kind)
	default:
		return &LineError{errors.New(`type: write "send" or "outcome"`)}
	}
	if len(e.id) == 0 {
		if t.place[2] >= 0 || string(e.kind) == "outcome" {
			return &LineError{errors.New("id: missing")}
		}
		t.id = strconv.AppendInt(append(t.id[:0], "line-"...), int64(t.in.n), 10)
		e.id = t.id
	}
	if c := cell(11); len(c) > 0 {
		if e.cost, err = strconv.ParseInt(string(c), 10, 64); err != nil {
			return &LineError{errors.New("cost: write a whole number, such as 1")}
		}
	}
	if c := cell(12); len(c) > 0 {
		if e.challengePassed, err = strconv.ParseBool(string(c)); err != nil {
			return &LineError{errors.New("challenge_passed: write true or false")}
		}
	}
	e.outcome = bytes.ToLower(e.outcome)
	return nil
}

// parseTime reads the times that logs have: RFC 3339, the same with a space, which is UTC where it names no zone, and seconds or
// milliseconds since 1970.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST"} {
		if at, err := time.Parse(layout, text); err == nil {
			return inRange(at)
		}
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 1e8 && n < 1e14 {
		if n < 1e11 {
			n *= 1000
		}
		return time.UnixMilli(int64(n)).UTC(), nil
	}
	return time.Time{}, errors.New("t: write a time like 2026-01-05T00:00:02.597Z, 2026-01-05 00:00:02 or 1767571202")
}

// inRange refuses times that a counter cannot hold.
func inRange(at time.Time) (time.Time, error) {
	if at.Year() < 1971 || at.Year() > 2261 {
		return at, errors.New("t: write a year from 1971 to 2261")
	}
	return at, nil
}
