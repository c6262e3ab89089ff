package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A saved book is one JSON object. It says how often, by rule, hour, country and account, and nothing about anybody.
type savedBook struct {
	Sendgate  string     `json:"sendgate"`
	Version   int        `json:"version"`
	Forgotten int64      `json:"forgotten,omitempty"`
	Rows      []savedRow `json:"rows"`
}

type savedRow struct {
	Name      string            `json:"name"`
	First     int64             `json:"first"` // hours since 1970
	Total     Tally             `json:"total"`
	Hours     []hour            `json:"hours"`
	Countries map[string]*Tally `json:"countries,omitempty"`
	Accounts  map[string]*Tally `json:"accounts,omitempty"`
}

const (
	savedAs      = "shadow report"
	savedVersion = 1
	maxFile      = 64 << 20
)

// ErrFile is wrapped by every error of Load that is about the content.
var ErrFile = errors.New("not a shadow report that sendgate wrote")

// Save writes the book. Rows that never counted are left out.
func (b *Book) Save(w io.Writer) error {
	b.mu.Lock()
	rows := make([]*Row, 0, len(b.rows))
	for _, r := range b.rows {
		rows = append(rows, r)
	}
	out := savedBook{Sendgate: savedAs, Version: savedVersion, Forgotten: b.forgotten, Rows: []savedRow{}}
	b.mu.Unlock()
	for _, r := range rows {
		if r.empty() {
			continue
		}
		out.Rows = append(out.Rows, r.saved())
	}
	return json.NewEncoder(w).Encode(&out)
}

func (r *Row) saved() savedRow {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := savedRow{Name: r.name, First: r.first, Total: r.total, Hours: append([]hour(nil), r.hours...)}
	clone := func(all map[string]*Tally) map[string]*Tally {
		out := make(map[string]*Tally, len(all))
		for name, t := range all {
			copied := *t
			out[name] = &copied
		}
		return out
	}
	s.Countries, s.Accounts = clone(r.countries), clone(r.accounts)
	return s
}

// Load reads a book that Save wrote.
func Load(in io.Reader) (*Book, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxFile))
	if err != nil {
		return nil, err
	}
	var saved savedBook
	if json.Unmarshal(text, &saved) != nil || saved.Sendgate != savedAs {
		return nil, ErrFile
	}
	if saved.Version != savedVersion {
		return nil, fmt.Errorf("%w: it is of version %d, this program reads %d", ErrFile, saved.Version, savedVersion)
	}
	b := New()
	b.forgotten = saved.Forgotten
	for i := range saved.Rows {
		s := &saved.Rows[i]
		if !s.fits() {
			return nil, fmt.Errorf("%w: row %d makes no sense", ErrFile, i+1)
		}
		if r := b.Row(s.Name); r != nil {
			r.first, r.total, r.hours, r.countries, r.accounts = s.First, s.Total, s.Hours, s.Countries, s.Accounts
		}
	}
	return b, nil
}

// fits says that a row keeps the bounds and the order that the code relies on.
func (s *savedRow) fits() bool {
	if s.Name == "" || s.First <= 0 || len(s.Hours) > KeptHours || len(s.Countries) > MaxGroups+1 || len(s.Accounts) > MaxGroups+1 {
		return false
	}
	for i := 1; i < len(s.Hours); i++ {
		if s.Hours[i].Start <= s.Hours[i-1].Start {
			return false
		}
	}
	for _, all := range []map[string]*Tally{s.Countries, s.Accounts} {
		for _, t := range all {
			if t == nil {
				return false
			}
		}
	}
	return true
}
