package consent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// bulkChanges is how many rows of an import are one transaction, unless Options.Bulk says so.
const bulkChanges = 16384

// maxLineErrors is how many lines an ImportError names.
const maxLineErrors = 100

// Imported is what an import did, or has done by now. Read is how many rows were read, Added and Known what became of those that
// are done.
type Imported struct{ Read, Added, Known int }

// ImportError says which lines of a file are wrong. Nothing of the file was stored.
type ImportError struct {
	Lines []LineError // at most 100
	More  int         // how many more there are
}

// LineError is one line that is wrong. It has nothing of its content.
type LineError struct {
	Line int
	What string
}

func (e *ImportError) Error() string {
	var b strings.Builder
	for _, l := range e.Lines {
		fmt.Fprintf(&b, "consent: import: line %d: %s\n", l.Line, l.What)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "consent: import: and %d more lines\n", e.More)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ImportOptions of Import.
type ImportOptions struct {
	// Told is called now and then. Default none.
	Told func(Imported)
	// Accepts says why an account's data may not be here. Default: it may.
	Accepts func(account string) error
}

// row is one line of an import, as small as can be: there are millions.
type row struct {
	person person
	scope  scopeID
	since  int64 // Unix nanoseconds
}

// Import reads opted-out numbers from CSV. The first line names the columns: "number" with numbers in E.164, or "subject" as Export
// writes it; beside it may stand "account", "sender", "since" (RFC 3339; default now) and others, which are ignored.
//
// All of a file is stored or nothing. A line that is wrong is an [*ImportError]. What a crash cuts off is taken back when the store
// is opened again. It returns when all is on disk; what was out before stays as it is.
func (l *Ledger) Import(ctx context.Context, now time.Time, from io.Reader, o ImportOptions) (Imported, error) {
	told := o.Told
	if told == nil {
		told = func(Imported) {}
	}
	rows, err := l.readRows(ctx, now, from, told, o.Accepts)
	if err != nil {
		return Imported{}, err
	}
	// In the order of the store's keys each page is written once or twice, not once for each row.
	order := func(a, b row) int {
		return cmp.Or(cmp.Compare(a.person.key, b.person.key), bytes.Compare(a.person.seal[:], b.person.seal[:]), cmp.Compare(a.scope, b.scope))
	}
	slices.SortStableFunc(rows, order)
	done := Imported{Read: len(rows)}
	rows = slices.CompactFunc(rows, func(a, b row) bool { return order(a, b) == 0 })
	done.Known = done.Read - len(rows)
	id := binary.BigEndian.AppendUint32(nil, rand.Uint32())
	undo := func(err error) (Imported, error) {
		own := func(key []byte, _ time.Time) bool { return bytes.Equal(key, id) }
		return Imported{}, errors.Join(err, l.undoImports(context.WithoutCancel(ctx), own))
	}
	if err := l.store.Apply(ctx, Change{KindImport, id, grant(now)}); err != nil {
		return Imported{}, err
	}
	for chunk := range slices.Chunk(rows, l.atOnce) {
		if err := l.importRows(ctx, chunk, id, &done); err != nil {
			return undo(err) // whoever gave up does not want half of it either
		}
		told(done)
	}
	if err := l.store.Apply(context.WithoutCancel(ctx), Change{Kind: KindImport, Key: id}); err != nil {
		return undo(err)
	}
	return done, nil
}

func (l *Ledger) importRows(ctx context.Context, rows []row, id []byte, done *Imported) error {
	l.bulk.Lock()
	defer l.bulk.Unlock()
	changes, slots := make([]Change, 0, len(rows)), make([]slot, 0, len(rows))
	for _, r := range rows {
		if l.outs.has(&r.person.seal, r.scope) {
			done.Known++
			continue
		}
		since := time.Unix(0, r.since)
		changes = append(changes, Change{KindOptOut, l.scopes.place(r.scope).append(r.person.append(nil)), append(optOut(since, flagImport), id...)})
		slots = append(slots, slot{r.person.seal, r.scope, seconds(r.since)})
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

// undoImports takes back what imports stored that are not done and that gone is true of. Opt-outs that a person has confirmed since, by STOP, have lost the
// import's mark and stay.
func (l *Ledger) undoImports(ctx context.Context, gone func(id []byte, began time.Time) bool) error {
	l.bulk.Lock()
	defer l.bulk.Unlock()
	var undone []Change
	torn := map[string]bool{}
	err := l.store.Scan(ctx, KindImport, nil, func(key, value []byte) error {
		if gone(key, sinceOf(value)) {
			torn[string(key)] = true
			undone = append(undone, Change{Kind: KindImport, Key: bytes.Clone(key)})
		}
		return nil
	})
	if err != nil || len(torn) == 0 {
		return err
	}
	var old []Change
	err = l.store.Scan(ctx, KindOptOut, nil, func(key, value []byte) error {
		if len(value) == 13 && torn[string(value[9:])] {
			old = append(old, Change{Kind: KindOptOut, Key: bytes.Clone(key)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(old, l.atOnce) {
		if err := l.dropHeld(ctx, chunk, Swept{}); err != nil {
			return err
		}
	}
	return l.store.Apply(ctx, undone...)
}

func (l *Ledger) readRows(ctx context.Context, now time.Time, from io.Reader, told func(Imported), accepts func(string) error) ([]row, error) {
	in := csv.NewReader(from)
	in.ReuseRecord, in.TrimLeadingSpace = true, true
	head, err := in.Read()
	if err != nil {
		return nil, &ImportError{Lines: []LineError{{1, "no columns are named: write a first line such as number,account"}}}
	}
	column := map[string]int{}
	for i, name := range head {
		column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	_, numbers := column["number"]
	if _, subjects := column["subject"]; numbers == subjects {
		return nil, &ImportError{Lines: []LineError{{1, "name one column number, or one subject"}}}
	}
	var rows []row
	var bad ImportError
	note := func(line int, what string) {
		if len(bad.Lines) == maxLineErrors {
			bad.More++
			return
		}
		bad.Lines = append(bad.Lines, LineError{line, what})
	}
	for n := 1; ; n++ {
		fields, err := in.Read()
		var broken *csv.ParseError
		switch {
		case err == io.EOF && len(bad.Lines) > 0:
			return nil, &bad
		case err == io.EOF:
			return rows, nil
		case errors.As(err, &broken): // what csv says has no content, only places
			note(broken.Line, broken.Err.Error())
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			return nil, &bad // where the next line begins is anybody's guess
		case err != nil:
			return nil, fmt.Errorf("consent: import: %w", err)
		}
		line, _ := in.FieldPos(0)
		r, err := l.readRow(now, numbers, func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(fields[i])
			}
			return ""
		})
		if err == nil && accepts != nil {
			err = accepts(l.scopes.place(r.scope).Account)
		}
		if err != nil {
			note(line, strings.TrimPrefix(err.Error(), "consent: "))
			continue
		}
		rows = append(rows, r)
		if n%bulkChanges == 0 {
			told(Imported{Read: n})
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
}

func (l *Ledger) readRow(now time.Time, numbers bool, field func(name string) string) (row, error) {
	r := row{since: now.UnixNano()}
	if numbers {
		n, err := phone.Parse(field("number"), "")
		if err != nil {
			return r, err
		}
		r.person = l.person(n)
	} else {
		var err error
		if r.person, err = parsePerson(field("subject")); err != nil {
			return r, err
		}
		if !l.knows(r.person.key) {
			return r, errors.New("subject: sealed with another secret: export it where that secret is, with numbers")
		}
	}
	if text := field("since"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil || since.Year() < 1990 || since.After(now) {
			return r, errors.New("since: write a time that is past, such as 2026-11-23T12:00:00Z")
		}
		r.since = since.UnixNano()
	}
	where := Scope{field("account"), field("sender")}
	if err := where.check(); err != nil {
		return r, err
	}
	// A field is a part of its line: what is kept of it must not keep the line.
	r.scope = l.scopes.id(place{Scope: Scope{strings.Clone(where.Account), strings.Clone(where.Sender)}})
	return r, nil
}
