package consent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// bulkChanges is how many rows of an import are one transaction.
const bulkChanges = 16384

// Imported is what an import did.
type Imported struct{ Rows, Added, Known int }

// row is one line of an import.
type row struct {
	person person
	scope  Scope
	since  time.Time
}

// Import reads opted-out numbers from CSV. The first line names the columns: "number" with numbers in E.164, or "subject" as Export
// writes it; beside it may stand "account", "sender", "since" (RFC 3339; default now) and others, which are ignored. Nothing is
// stored if a line is wrong: the error has its number, never its content. It returns when all is on disk; what was out before
// stays as it is.
func (l *Ledger) Import(ctx context.Context, now time.Time, from io.Reader) (Imported, error) {
	rows, err := l.readRows(now, from)
	if err != nil {
		return Imported{}, err
	}
	// In the order of the store's keys each page is written once or twice, not once for each row.
	slices.SortFunc(rows, func(a, b row) int { return bytes.Compare(a.person.seal[:], b.person.seal[:]) })
	done := Imported{Rows: len(rows)}
	for chunk := range slices.Chunk(rows, bulkChanges) {
		if err := l.importRows(ctx, chunk, &done); err != nil {
			return done, err
		}
	}
	return done, nil
}

func (l *Ledger) importRows(ctx context.Context, rows []row, done *Imported) error {
	l.bulk.Lock()
	defer l.bulk.Unlock()
	changes, slots := make([]Change, 0, len(rows)), make([]slot, 0, len(rows))
	for _, r := range rows {
		where := place{Scope: r.scope}
		id := l.scopes.id(where)
		if l.has(&l.outs, r.person, id) {
			done.Known++
			continue
		}
		changes = append(changes, Change{KindOptOut, where.append(r.person.append(nil)), optOut(r.since, flagImport)})
		slots = append(slots, slot{r.person.seal, id, seconds(r.since.UnixNano())})
	}
	if err := l.store.Apply(ctx, changes...); err != nil {
		return err
	}
	for _, s := range slots {
		l.outs.put(s)
	}
	done.Added += len(slots)
	return nil
}

func (l *Ledger) readRows(now time.Time, from io.Reader) ([]row, error) {
	in := csv.NewReader(from)
	in.ReuseRecord, in.TrimLeadingSpace = true, true
	head, err := in.Read()
	if err != nil {
		return nil, errors.New("consent: import: no first line: name the columns, number among them")
	}
	column := map[string]int{}
	for i, name := range head {
		column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	_, numbers := column["number"]
	if _, subjects := column["subject"]; numbers == subjects {
		return nil, errors.New("consent: import: the first line names the columns: give one named number or one named subject")
	}
	var rows []row
	for {
		fields, err := in.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil { // what csv says has no content, only places
			return nil, fmt.Errorf("consent: import: %w", err)
		}
		line, _ := in.FieldPos(0)
		field := func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(fields[i])
			}
			return ""
		}
		r := row{scope: Scope{field("account"), field("sender")}, since: now}
		if numbers {
			var n phone.Number
			if n, err = phone.Parse(field("number"), ""); err == nil {
				r.person = l.person(n)
			}
		} else if r.person, err = parsePerson(field("subject")); err == nil && !l.knows(r.person.key) {
			err = errors.New("subject: sealed with another secret: export it where that secret is, with numbers")
		}
		if text := field("since"); err == nil && text != "" {
			if r.since, err = time.Parse(time.RFC3339, text); err != nil || r.since.Year() < 1990 || r.since.After(now) {
				err = errors.New("since: write a time that is past, such as 2026-11-23T12:00:00Z")
			}
		}
		if err == nil {
			err = r.scope.check()
		}
		if err != nil {
			return nil, fmt.Errorf("consent: import: line %d: %w", line, err)
		}
		rows = append(rows, r)
	}
}

// Export writes everybody who is out as CSV: subject, account, sender, since. A subject tells nobody a number; whoever has
// numbers finds theirs with Subject, or uses ExportOf.
func (l *Ledger) Export(ctx context.Context, to io.Writer) error {
	out := csv.NewWriter(to)
	if err := out.Write([]string{"subject", "account", "sender", "since"}); err != nil {
		return err
	}
	err := l.store.Scan(ctx, KindOptOut, nil, func(key, value []byte) error {
		p, rest, err := readPerson(key)
		if err != nil {
			return err
		}
		where, err := readPlace(rest)
		if err != nil {
			return err
		}
		return out.Write([]string{p.String(), where.Account, where.Sender, sinceOf(value).Format(time.RFC3339)})
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

// ExportOf reads the operator's own numbers from CSV, as Import does, and writes those that are out of the scope in their line.
func (l *Ledger) ExportOf(from io.Reader, to io.Writer) error {
	in := csv.NewReader(from)
	head, err := in.Read()
	if err != nil || !slices.Contains(head, "number") {
		return errors.New("consent: export: the first line names the columns: give one named number")
	}
	out := csv.NewWriter(to)
	if err := out.Write([]string{"number", "account", "sender", "since"}); err != nil {
		return err
	}
	at := func(fields []string, name string) string {
		if i := slices.Index(head, name); i >= 0 {
			return strings.TrimSpace(fields[i])
		}
		return ""
	}
	for {
		fields, err := in.Read()
		if err == io.EOF {
			out.Flush()
			return out.Error()
		}
		if err != nil {
			return fmt.Errorf("consent: export: %w", err)
		}
		line, _ := in.FieldPos(0)
		n, err := phone.Parse(at(fields, "number"), "")
		if err != nil {
			return fmt.Errorf("consent: export: line %d: %w", line, err)
		}
		of := Scope{at(fields, "account"), at(fields, "sender")}
		if since, is := l.OptedOut(n, of); is {
			if err := out.Write([]string{n.E164(), of.Account, of.Sender, since.Format(time.RFC3339)}); err != nil {
				return err
			}
		}
	}
}

func sinceOf(value []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(value))).UTC()
}
