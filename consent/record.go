package consent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sendgate/sendgate/internal/phone"
)

// Event is what happened between a person and a sender.
type Event string

// The events. Asked opens a double opt-in, Confirmed ends it.
const (
	Asked       Event = "asked"
	Given       Event = "given"
	Confirmed   Event = "confirmed"
	Withdrawn   Event = "withdrawn"
	Resumed     Event = "resumed" // START after STOP
	Reconfirmed Event = "reconfirmed"
	Recycled    Event = "recycled" // the number has another owner
)

// Record is one event, as evidence. It holds no number and no address.
type Record struct {
	At      time.Time `json:"at"`
	Event   Event     `json:"event"`
	Account string    `json:"account,omitempty"`
	Sender  string    `json:"sender,omitempty"`
	// Purposes and Channels are what was agreed to: each purpose on each channel.
	Purposes []string `json:"purposes,omitempty"`
	Channels []string `json:"channels,omitempty"`
	// Source is where it happened: "keyword", "button", "hand", "import", "api", or the operator's own word, such as "web-form/checkout".
	Source string `json:"source"`
	// Text is what the person saw or wrote. On disk it is its TextID.
	Text   string `json:"text_shown,omitempty"`
	TextID string `json:"text_sha256,omitempty"`
	// Client is the sealed address of the person's device.
	Client string `json:"client,omitempty"`
	// ConfirmBy is until when a double opt-in can be confirmed.
	ConfirmBy time.Time `json:"confirm_by,omitzero"`
	// Reference is the operator's own id of the event, such as that of a message.
	Reference string `json:"reference,omitempty"`
	Author    string `json:"author,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// The longest texts, in bytes.
const (
	maxShown = 8192
	maxNote  = 256
)

// RecordError says what is wrong with a record that somebody gave.
type RecordError struct{ err error }

func (e *RecordError) Error() string { return e.err.Error() }

// Field is which one is wrong, and what to write instead: "text", "what the person saw ...".
func (e *RecordError) Field() (name, problem string) {
	name, problem, _ = strings.Cut(strings.TrimPrefix(e.Error(), "consent: "), ": ")
	return name, problem
}

func wrong(text string) error { return &RecordError{errors.New(text)} }

// check tells what is wrong with a record, as a *RecordError.
func (r *Record) check(n phone.Number) error {
	if err := r.problem(n); err != nil {
		return &RecordError{err}
	}
	return nil
}

// problem also looks for the person's own number in what is stored in clear.
func (r *Record) problem(n phone.Number) error {
	if err := (Scope{r.Account, r.Sender}).check(); err != nil {
		return err
	}
	if r.Source == "" {
		return errors.New("consent: source: write where the person said so, such as web-form")
	}
	if r.At.IsZero() || r.At.Year() < 1990 || r.At.Year() > 2105 {
		return errors.New("consent: at: write when it happened")
	}
	for _, f := range []struct {
		name, text string
		limit      int
	}{{"source", r.Source, maxNote}, {"text", r.Text, maxShown}, {"reference", r.Reference, maxNote}, {"author", r.Author, maxNote}, {"reason", r.Reason, maxNote}} {
		switch {
		case len(f.text) > f.limit:
			return fmt.Errorf("consent: %s: %d bytes: write %d at most", f.name, len(f.text), f.limit)
		case !utf8.ValidString(f.text):
			return fmt.Errorf("consent: %s: not valid UTF-8", f.name)
		case holds(f.text, n):
			return fmt.Errorf("consent: %s: holds the person's number: leave it out, this text is stored in clear", f.name)
		}
	}
	return nil
}

// holds says that a text has the last 8 digits of a number, in any grouping.
func holds(text string, n phone.Number) bool {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
	whole := strings.TrimPrefix(n.E164(), "+")
	return len(whole) > 0 && strings.Contains(digits, whole[max(0, len(whole)-8):])
}

// proof are the changes that store a record of a person.
func (l *Ledger) proof(p person, r Record) ([]Change, error) {
	var changes []Change
	if r.Text != "" {
		sum := sha256.Sum256([]byte(r.Text))
		r.TextID = hex.EncodeToString(sum[:])
		changes = append(changes, Change{KindText, sum[:], []byte(r.Text)})
		r.Text = ""
	}
	r.At, r.ConfirmBy = r.At.UTC(), r.ConfirmBy.UTC()
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("consent: record: %w", err)
	}
	if r.Reference != "" && (r.Source == SourceKeyword || r.Source == SourceButton) {
		changes = append(changes, heardOnce(p, r.Reference, r.At))
	}
	key := binary.BigEndian.AppendUint64(p.append(nil), uint64(r.At.UnixNano()))
	key = binary.BigEndian.AppendUint32(key, l.events.Add(1))
	return append(changes, Change{KindProof, key, value}), nil
}

// History is everything that happened with a number, the oldest first, with the texts that were shown.
func (l *Ledger) History(ctx context.Context, n phone.Number) ([]Record, error) {
	var out []Record
	for _, s := range l.sealers {
		records, err := l.history(ctx, person{s.id, s.number(n.Digits())})
		if err != nil {
			return nil, err
		}
		out = append(records, out...) // older secrets, older records
	}
	for i := range out {
		if out[i].TextID == "" {
			continue
		}
		id, err := hex.DecodeString(out[i].TextID)
		if err != nil {
			return nil, errors.New("consent: a record names no text")
		}
		if err := l.store.Scan(ctx, KindText, id, func(_, v []byte) error { out[i].Text = string(v); return nil }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// history reads a person's records without the texts.
func (l *Ledger) history(ctx context.Context, p person) (out []Record, err error) {
	err = l.store.Scan(ctx, KindProof, p.append(nil), func(_, value []byte) error {
		var r Record
		if err := json.Unmarshal(value, &r); err != nil {
			return errors.New("consent: a proof is not one that sendgate wrote")
		}
		out = append(out, r)
		return nil
	})
	return out, err
}
