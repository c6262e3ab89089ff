package report

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Row counts for one rule, candidate or detector. Every method is safe for concurrent use, and does nothing for a nil Row.
type Row struct {
	name string
	id   uint32

	mu                  sync.Mutex
	first               int64 // hour of the first check, since 1970; 0 for none
	total               Tally
	hours               []hour // oldest first
	countries, accounts map[string]*Tally
}

type hour struct {
	Start int64 `json:"start"` // hours since 1970
	Tally
}

// ID is that of its name; 0 for a nil Row.
func (r *Row) ID() uint32 {
	if r == nil {
		return 0
	}
	return r.id
}

// Judged counts a check.
func (r *Row) Judged(c *Check) {
	t := Tally{Judged: 1}
	switch {
	case c.Denied:
		t.Denied, t.Money = 1, c.Money
	case c.Challenged:
		t.Challenged, t.Money = 1, c.Money
	case c.Freed:
		t.Freed, t.FreedMoney = 1, c.Money
	}
	r.count(c, &t)
}

// Ended counts what became of a send that would have been stopped.
func (r *Row) Ended(c *Check, verified bool) {
	t := Tally{Failed: 1}
	if verified {
		t = Tally{Verified: 1, VerifiedMoney: c.Money}
	}
	r.count(c, &t)
}

func (r *Row) count(c *Check, t *Tally) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := c.At.Unix() / 3600
	if r.first == 0 {
		r.first = at
	}
	r.total.add(t)
	if h := r.hour(at); h != nil {
		h.add(t)
	}
	if t.Judged > 0 && t.Stopped()+t.Freed == 0 {
		return // who was let pass is not told apart
	}
	group(&r.countries, cmp.Or(c.Country, "ZZ")).add(t)
	if c.Account != "" {
		group(&r.accounts, c.Account).add(t)
	}
}

// hour finds or makes the hour, nil for one that is forgotten. Outcomes come for hours past.
func (r *Row) hour(at int64) *Tally {
	for i := len(r.hours) - 1; i >= 0; i-- {
		if r.hours[i].Start == at {
			return &r.hours[i].Tally
		}
		if r.hours[i].Start < at {
			r.hours = slices.Insert(r.hours, i+1, hour{Start: at})
			return r.trim(i + 1)
		}
	}
	if len(r.hours) >= KeptHours {
		return nil
	}
	r.hours = slices.Insert(r.hours, 0, hour{Start: at})
	return &r.hours[0].Tally
}

// trim forgets the oldest hour where there are too many.
func (r *Row) trim(at int) *Tally {
	if len(r.hours) > KeptHours {
		r.hours = slices.Delete(r.hours, 0, 1)
		at--
	}
	return &r.hours[at].Tally
}

func group(groups *map[string]*Tally, name string) *Tally {
	if *groups == nil {
		*groups = make(map[string]*Tally)
	}
	t := (*groups)[name]
	if t == nil {
		if len(*groups) >= MaxGroups {
			name = Other
			t = (*groups)[name]
		}
		if t == nil {
			t = new(Tally)
			(*groups)[name] = t
		}
	}
	return t
}

func (r *Row) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first == 0
}

// Entry is a copy of a row.
type Entry struct {
	Name  string
	Since time.Time // the hour of the first check; zero for none
	Total Tally
	Hours []Hour // oldest first
	// Countries and Accounts are of all time, those with most that would have been stopped first.
	Countries, Accounts []Group
}

// Hour is one hour of a row.
type Hour struct {
	Start time.Time
	Tally
}

// Group is one country or account of a row.
type Group struct {
	Name string
	Tally
}

func (r *Row) entry(since time.Time) Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := Entry{Name: r.name, Total: r.total, Countries: groups(r.countries), Accounts: groups(r.accounts)}
	if r.first != 0 {
		e.Since = time.Unix(r.first*3600, 0)
	}
	if !since.IsZero() {
		e.Total = Tally{}
	}
	for i := range r.hours {
		h := &r.hours[i]
		start := time.Unix(h.Start*3600, 0)
		if !since.IsZero() {
			if !start.Add(time.Hour).After(since) {
				continue
			}
			e.Total.add(&h.Tally)
		}
		e.Hours = append(e.Hours, Hour{start, h.Tally})
	}
	return e
}

func groups(all map[string]*Tally) []Group {
	out := make([]Group, 0, len(all))
	for name, t := range all {
		out = append(out, Group{name, *t})
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Stopped(), a.Stopped()), cmp.Compare(b.Freed, a.Freed), cmp.Compare(a.Name, b.Name))
	})
	return out
}
