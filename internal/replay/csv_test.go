package replay

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// readCSV reads a whole file: its events in words, and what is wrong with which line.
func readCSV(text string, columns Columns) (events []string, bad []string, err error) {
	t, err := newTable(newLines(strings.NewReader(text)), columns)
	if err != nil {
		return nil, nil, err
	}
	for {
		var e event
		err := t.next(&e)
		var wrong *LineError
		switch {
		case errors.Is(err, io.EOF):
			return events, bad, nil
		case errors.Is(err, errEmpty):
		case errors.As(err, &wrong):
			bad = append(bad, fmt.Sprintf("%d %v", t.in.n, err))
		case err != nil:
			return events, bad, err
		default:
			events = append(events, fmt.Sprintf("%s %s %s %s %s %s %d", e.at.UTC().Format("15:04:05"), e.kind, e.id, e.number, e.client, e.outcome, e.cost))
		}
	}
}

func TestCSV(t *testing.T) {
	for name, c := range map[string]struct{ text, columns, events, bad string }{
		"own names":  {"t,type,id,msisdn,ip,outcome\n2026-01-05T00:00:02Z,send,a,+6581237910,198.51.100.7,\n2026-01-05T00:00:03Z,outcome,a,,,verified\n", "", "00:00:02 send a +6581237910 198.51.100.7  1|00:00:03 outcome a   verified 1", ""},
		"a mapping":  {"\ufeffcreated;to;from\r\n2026-01-05 00:00:02;+6581237910;198.51.100.7\r\n", "t=created, msisdn=to, ip=from", "00:00:02 send line-2 +6581237910 198.51.100.7  1", ""},
		"quotes":     {"t,msisdn,note\n1767571202,+6581237910,\"a, \"\"b\"\"\nc\"\n1767571203500,+6581237911,x\n", "", "00:00:02 send line-3 +6581237910   1|00:00:03 send line-4 +6581237911   1", ""},
		"bad lines":  {"t,msisdn,cost\nnow,+6581237910,1\n2026-01-05 00:00:02,+6581237910\n2026-01-05 00:00:02,+6581237910,x\n2026-01-05 00:00:02,\"+65\"8,1\n\n2026-01-05 00:00:04,+6581237912,2\n", "", "00:00:04 send line-7 +6581237912   2", "2 t: write|3 2 columns|4 cost: write|5 text follows"},
		"open quote": {"t,msisdn\n2026-01-05 00:00:02,\"+65\n", "", "", "2 a quote is opened"},
	} {
		t.Run(name, func(t *testing.T) {
			columns, err := ParseColumns(c.columns)
			if err != nil {
				t.Fatal(err)
			}
			events, bad, err := readCSV(c.text, columns)
			if got := strings.Join(events, "|"); err != nil || got != c.events {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.events)
			}
			want := strings.Split(c.bad, "|")
			for i, b := range bad {
				if i >= len(want) || !strings.HasPrefix(b, want[i]) || strings.Contains(b, "658123") {
					t.Errorf("bad: %s, want %s", b, c.bad)
				}
			}
			if c.bad != "" && len(bad) != len(want) {
				t.Errorf("bad: %q, want %s", bad, c.bad)
			}
		})
	}
	for text, want := range map[string]string{"": "there is no header", "a,b\n": "no column is called t", "t,b\n": "no column is called msisdn", "t\tmsisdn": ""} {
		if _, _, err := readCSV(text, nil); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, _, err := readCSV("t,to\n", Columns{"msisdn": "nr"}); !errors.Is(err, errNoColumn) {
		t.Errorf("a column that is not there: %v", err)
	}
}

func TestParseColumns_saysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{"msisdn": "write FIELD=COLUMN", "phone=to": `there is no field "phone"`, "t=a,t=b": "written twice", "t=": "write FIELD=COLUMN"} {
		if _, err := ParseColumns(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// No line makes the reader keep more than a line may be long, and the next is read.
func TestLines_areBounded(t *testing.T) {
	long := strings.Repeat("x", 5*maxLine)
	l := newLines(strings.NewReader("a\r\n" + long + "\nb"))
	var got []string
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line = []byte(err.Error())
		}
		got = append(got, fmt.Sprint(l.n, " ", string(line)))
	}
	if want := "1 a|2 longer than 1048576 bytes|3 b"; strings.Join(got, "|") != want || cap(l.long) > 2*maxLine+1<<17 {
		t.Errorf("got %v and kept %d bytes, want %s", got, cap(l.long), want)
	}
	quote := "t,msisdn\n" + "1767571202,\"" + strings.Repeat("x\n", 2*maxLine)
	if _, bad, err := readCSV(quote, nil); err != nil || len(bad) == 0 || !strings.Contains(bad[0], "is a quote not closed") {
		t.Errorf("a quote that nothing closes: %d bad, %v", len(bad), err)
	}
}

// What encoding/csv reads, we read the same.
func FuzzCSV(f *testing.F) {
	f.Add("2026-01-05 00:00:02,+65,\"a\"\"b\"")
	f.Add("\"1767571202\",\"+65\n\",")
	f.Add("a\"b,\",\n,,\n\"\"\"")
	f.Fuzz(func(t *testing.T, body string) {
		text := "t,msisdn,note\n" + body + "\n"
		table, err := newTable(newLines(strings.NewReader(text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs := csv.NewReader(strings.NewReader(text))
		theirs.FieldsPerRecord = -1
		all, err := theirs.ReadAll()
		same := err == nil && !strings.Contains(body, "\r")
		for i := 1; ; {
			var e event
			err := table.next(&e)
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, errEmpty) || !same || i >= len(all) {
				continue
			}
			if len(bytes.TrimSpace([]byte(strings.Join(all[i], "")))) == 0 {
				return // white space is an empty line to us
			}
			var cells []string
			for _, c := range table.cells {
				cells = append(cells, string(c))
			}
			if strings.Join(cells, "\x00") != strings.Join(all[i], "\x00") {
				t.Fatalf("%q: record %d is %q, encoding/csv reads %q", body, i, cells, all[i])
			}
			i++
		}
	})
}

func FuzzParseColumns(f *testing.F) {
	f.Add("t=a,msisdn=b")
	f.Add(" =,")
	f.Fuzz(func(t *testing.T, text string) {
		columns, err := ParseColumns(text)
		if err != nil {
			return
		}
		for field, column := range columns {
			if field == "" || column == "" {
				t.Fatalf("%q: %q comes from %q", text, field, column)
			}
		}
	})
}
