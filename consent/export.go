package consent

import (
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
