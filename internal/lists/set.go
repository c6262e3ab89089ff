package lists

import (
	"fmt"
	"iter"
	"maps"
	"math"

	"github.com/gaissmai/bart"
)

// Set is an immutable set of entries. It is safe for concurrent use; the zero Set is empty.
type Set struct {
	lists   [listCount]index
	records []record // some are dead: replaced or removed
	texts   []string // reasons and authors, each once
	live    int
	sealers []*sealer // of a Store, newest first; nil means that exact numbers are plain
	ends    ends      // of the sealed numbers
}

// index finds the records of one list.
type index struct {
	numbers   exact
	digits    exact           // ranges and prefixes
	fixed     [16]uint16      // which of them there are: a bit for each count of digits that they fix; by the length of a range, 0 for prefixes
	singles   exact           // single addresses
	clients   exact           // the networks of IPv6 of 64 bits: one client has such a one
	cidrs     *trie           // the other networks
	longer    bool            // some of those are of IPv6 and longer than 64 bits
	countries map[[2]byte]ref // copied when it changes; there are some 250
	accounts  map[string]ref  // copied when it changes
}

// trie is the library's longest-prefix table, for networks: they come in too many lengths to look for each.
type trie = bart.Fast[ref]

// ref points to a record: 31 bits of its index, and whether it expires. A lookup that finds an entry for good does not
// touch the record, which saves it a cache miss.
type ref uint32

const mayExpire ref = 1 << 31

func (r ref) at() uint32 { return uint32(r &^ mayExpire) }

// NewSet builds a set, for instance from a policy. Two entries for one target in one list are an error.
// Exact numbers are kept in memory as digits: no secret is needed, and nothing is stored.
func NewSet(entries ...Entry) (*Set, error) {
	w := newEdit(nil)
	for _, e := range entries {
		if err := e.check(); err != nil {
			return nil, err
		}
		if e.Target.sealed {
			return nil, fmt.Errorf("%s list: %s is sealed with the secret of a store: write the number", e.List, e.Target)
		}
		if _, ok := w.set.find(e.List, e.Target); ok {
			return nil, fmt.Errorf("%s list: %s is there twice: keep one of the two", e.List, e.Target)
		}
		w.put(e)
	}
	return w.set, nil
}

// Len is the number of entries, the expired ones included.
func (s *Set) Len() int { return s.live }

// All yields the entries of all lists, the expired ones included, in the order in which they were added.
func (s *Set) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range s.records {
			at, ok := s.find(s.records[i].list, s.target(&s.records[i]))
			if ok && at.at() == uint32(i) && !yield(s.entry(at)) {
				return
			}
		}
	}
}

// Find returns the entry for exactly this target, expired or not. A plain number finds its sealed entry.
func (s *Set) Find(list List, target Target) (Entry, bool) {
	if list >= listCount || s.live == 0 {
		return Entry{}, false
	}
	for _, t := range s.spellings(target) {
		if at, ok := s.find(list, t); ok {
			return s.entry(at), true
		}
	}
	return Entry{}, false
}

// spellings are the targets under which a target can be stored: a plain number in a store has a seal for each secret.
func (s *Set) spellings(t Target) []Target {
	if t.kind != KindNumber || t.sealed || s.sealers == nil {
		return []Target{t}
	}
	var out []Target
	for _, k := range s.sealers {
		out = append(out, k.sealTarget(t))
	}
	return out
}

func (s *Set) find(list List, t Target) (ref, bool) {
	x := &s.lists[list]
	switch t.kind {
	case KindNumber:
		return x.numbers.find(&t.raw)
	case KindRange, KindPrefix:
		k := digitTarget(t)
		return x.digits.find(&k)
	case KindCountry:
		at, ok := x.countries[[2]byte(t.raw[:2])]
		return at, ok
	case KindAccount:
		at, ok := x.accounts[t.account]
		return at, ok
	case KindAddress:
		if whole := x.whole(t); whole != nil {
			return whole.find(&t.raw)
		}
		return x.cidrs.Get(t.prefix())
	}
	return 0, false
}

// whole is where an address is found by all its bits, nil for a network that is found by its prefix.
func (x *index) whole(t Target) *exact {
	switch {
	case t.bits == 128 || t.v4 && t.bits == 32:
		return &x.singles
	case t.bits == 64:
		return &x.clients
	}
	return nil
}

func (s *Set) entry(at ref) Entry {
	r := &s.records[at.at()]
	return Entry{
		List: r.list, Target: s.target(r), Reason: s.texts[r.reason], Author: s.texts[r.author],
		Created: moment(r.created, math.MinInt64), Expires: moment(r.expires, math.MaxInt64),
	}
}

func (s *Set) target(r *record) Target {
	t := Target{plain: r.target}
	if r.target.kind == KindAccount {
		t.account = s.texts[r.account]
	}
	return t
}

// edit makes a new snapshot out of an old one. The old one must be the newest of its line, because both share the
// spare room behind records and texts.
type edit struct {
	set    *Set
	fresh  bool // nobody reads the set yet: change it in place
	textAt map[string]uint32
}

func newEdit(sealers []*sealer) *edit {
	w := &edit{set: &Set{sealers: sealers}, fresh: true, textAt: map[string]uint32{}}
	for l := range w.set.lists {
		w.set.lists[l] = index{cidrs: new(trie), countries: map[[2]byte]ref{}, accounts: map[string]ref{}}
	}
	return w
}

// fork keeps the present set as it is for its readers and goes on with a copy.
func (w *edit) fork() {
	next := *w.set
	w.set, w.fresh = &next, false
}

// put adds an entry, in the place of one for the same target.
func (w *edit) put(e Entry) {
	w.drop(e.List, e.Target)
	s := w.set
	at := ref(len(s.records))
	if !e.Expires.IsZero() {
		at |= mayExpire
	}
	s.records = append(s.records, record{
		target: e.Target.plain, list: e.List, account: w.text(e.Target.account), reason: w.text(e.Reason), author: w.text(e.Author),
		created: nanos(e.Created, math.MinInt64), expires: nanos(e.Expires, math.MaxInt64),
	})
	s.live++
	x := &s.lists[e.List]
	switch e.Target.kind {
	case KindNumber:
		if e.Target.sealed {
			s.ends.add(e.Target.ends)
		}
		x.numbers.insert(&e.Target.raw, at, w.fresh)
	case KindRange, KindPrefix:
		k := digitTarget(e.Target)
		x.digits.insert(&k, at, w.fresh)
		x.fixed[e.Target.total] |= 1 << e.Target.bits
	case KindCountry:
		if !w.fresh {
			x.countries = maps.Clone(x.countries)
		}
		x.countries[[2]byte(e.Target.raw[:2])] = at
	case KindAccount:
		if !w.fresh {
			x.accounts = maps.Clone(x.accounts)
		}
		x.accounts[e.Target.account] = at
	case KindAddress:
		if whole := x.whole(e.Target); whole != nil {
			whole.insert(&e.Target.raw, at, w.fresh)
			break
		}
		if p := e.Target.prefix(); w.fresh {
			x.cidrs.Insert(p, at)
		} else {
			x.cidrs = x.cidrs.InsertPersist(p, at)
		}
		x.longer = x.longer || e.Target.bits > 64
	}
}

// drop removes the entry for a target, if there is one.
func (w *edit) drop(list List, t Target) {
	s := w.set
	if _, ok := s.find(list, t); !ok {
		return
	}
	s.live--
	x := &s.lists[list]
	switch t.kind {
	case KindNumber:
		x.numbers.remove(&t.raw)
	case KindRange, KindPrefix:
		k := digitTarget(t)
		x.digits.remove(&k) // fixed keeps its bit, until the set is built anew: at worst a look for nothing
	case KindCountry:
		x.countries = maps.Clone(x.countries)
		delete(x.countries, [2]byte(t.raw[:2]))
	case KindAccount:
		x.accounts = maps.Clone(x.accounts)
		delete(x.accounts, t.account)
	case KindAddress:
		if whole := x.whole(t); whole != nil {
			whole.remove(&t.raw)
		} else {
			x.cidrs = x.cidrs.DeletePersist(t.prefix())
		}
	}
}

func (w *edit) text(s string) uint32 {
	at, ok := w.textAt[s]
	if !ok {
		at = uint32(len(w.set.texts))
		w.set.texts = append(w.set.texts, s)
		w.textAt[s] = at
	}
	return at
}
