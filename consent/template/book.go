package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sendgate/sendgate/consent"
)

// Book is the state of all templates. It is safe for concurrent use.
type Book struct {
	store    consent.Store
	changing sync.Mutex // held by who changes states, before mu

	mu     sync.Mutex
	pacing Pacing
	states map[ID]State
	byName map[name][]ID // those of every business that has one
}

// name is what a send knows of a template where its account has one business only.
type name struct{ account, name, language string }

// Open reads the states that a store has.
func Open(ctx context.Context, store consent.Store, p Pacing) (*Book, error) {
	return OpenCopy(ctx, store, store, p)
}

// OpenCopy is Open for a store that others change as well, of which from has the states as of some time. Who gives one tells the book of
// changes by others: see Absorb.
func OpenCopy(ctx context.Context, store, from consent.Store, p Pacing) (*Book, error) {
	b := &Book{store: store, states: make(map[ID]State), byName: make(map[name][]ID)}
	if err := b.SetPacing(p); err != nil {
		return nil, err
	}
	err := from.Scan(ctx, consent.KindTemplate, nil, func(key, value []byte) error {
		id, s, err := read(key, value)
		if err == nil {
			b.put(id, s)
		}
		return err
	})
	return b, err
}

// SetPacing says how new marketing templates are held back from now on.
func (b *Book) SetPacing(p Pacing) error {
	if p.First < 0 || p.Wait < 0 {
		return errors.New("template: pacing: write how many sends pass first, and how long to wait then")
	}
	if p.Wait == 0 {
		p.Wait = 30 * time.Minute
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pacing = p
	return nil
}

// Apply takes updates in. It returns when they are on disk.
func (b *Book) Apply(ctx context.Context, events ...Event) error {
	var ids []ID
	for i := range events {
		ids = append(ids, events[i].ID)
	}
	return b.change(ctx, ids, func(next map[ID]State) bool {
		for i := range events {
			e := &events[i]
			next[e.ID] = next[e.ID].after(e)
		}
		return true
	})
}

// Release ends what pacing holds, by hand. False says that it held nothing.
func (b *Book) Release(ctx context.Context, at time.Time, id ID) (held bool, err error) {
	wait := b.wait()
	err = b.change(ctx, []ID{id}, func(next map[ID]State) bool {
		s := next[id]
		if held = s.Status == Paced || !s.Held.IsZero(); !held {
			return false
		}
		if s.Status == Paced {
			s.Status, s.Updated = Approved, at
		}
		if !s.Held.IsZero() {
			s.Held = at.Add(-wait)
		}
		next[id] = s
		return true
	})
	return held, err
}

func (b *Book) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pacing.Wait
}

// change has states changed by f, stores them, and makes them those in force, unless f returns false. Checks go on meanwhile; other
// changes wait, those of other processes as well.
func (b *Book) change(ctx context.Context, ids []ID, f func(next map[ID]State) bool) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	if s, ok := b.store.(consent.Shared); ok {
		release, err := s.Hold(ctx, []byte("templates"))
		if err != nil {
			return err
		}
		defer release()
	}
	next := make(map[ID]State)
	for _, id := range ids {
		s, err := b.newest(ctx, id)
		if err != nil {
			return err
		}
		next[id] = s
	}
	if !f(next) {
		return nil
	}
	return b.save(ctx, next)
}

// newest is the state of a template, which others may have changed a moment ago.
func (b *Book) newest(ctx context.Context, id ID) (State, error) {
	own, _ := b.State(id)
	if _, ok := b.store.(consent.Shared); !ok {
		return own, nil
	}
	s, name := own, keyOf(id)
	err := b.store.Scan(ctx, consent.KindTemplate, name, func(key, value []byte) error {
		if string(key) != string(name) {
			return nil
		}
		_, there, err := read(key, value)
		s = there.counted(own)
		return err
	})
	return s, err
}

// Absorb takes over the states that another book has put into the store that both have. What was counted here stays counted.
func (b *Book) Absorb(changes ...consent.Change) error {
	for _, c := range changes {
		if c.Kind != consent.KindTemplate || c.Value == nil {
			continue
		}
		id, s, err := read(c.Key, c.Value)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.put(id, s.counted(b.states[id]))
		b.mu.Unlock()
	}
	return nil
}

// counted is a state with what this process has counted of sends.
func (s State) counted(own State) State {
	s.Sent = max(s.Sent, own.Sent)
	if s.Held.IsZero() || !own.Held.IsZero() && own.Held.Before(s.Held) {
		s.Held = own.Held
	}
	return s
}

func keyOf(id ID) []byte {
	return []byte(strings.Join([]string{id.Account, id.Business, id.Name, id.Language}, "\x00"))
}

func read(key, value []byte) (id ID, s State, err error) {
	part := strings.Split(string(key), "\x00")
	if err := json.Unmarshal(value, &s); err != nil || len(part) != 4 {
		return id, s, errors.New("template: a state is not one that sendgate wrote")
	}
	return ID{part[0], part[1], part[2], part[3]}, s, nil
}

// save stores states and makes them those in force.
func (b *Book) save(ctx context.Context, next map[ID]State) error {
	var changes []consent.Change
	for id, s := range next {
		for _, text := range []string{id.Account, id.Business, id.Name, id.Language} {
			if strings.ContainsRune(text, 0) || len(text) > maxPart {
				return fmt.Errorf("template: name: write account, business, name and language of %d bytes at most, without a zero byte", maxPart)
			}
		}
		value, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("template: state: %w", err)
		}
		changes = append(changes, consent.Change{Kind: consent.KindTemplate, Key: keyOf(id), Value: value})
	}
	if err := b.store.Apply(ctx, changes...); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range next {
		b.put(id, s.counted(b.states[id])) // checks went on meanwhile
	}
	return nil
}

const maxPart = 250 // bytes; four of them are a key of the store

func (b *Book) put(id ID, s State) {
	if _, known := b.states[id]; !known {
		n := name{id.Account, id.Name, id.Language}
		if id.Name == AgentName {
			n.language = id.Business // an agent is asked for in all regions
		}
		b.byName[n] = append(b.byName[n], id)
	}
	b.states[id] = s
}

// named are the templates that an id means: all that have its name where it says no business.
func (b *Book) named(id ID) []ID {
	if id.Business == "" {
		return b.byName[name{id.Account, id.Name, id.Language}]
	}
	return []ID{id}
}

// Admit says whether a send with a template can pass, and counts it where the template is paced. A send that is refused by somebody
// else is given back with Return. Where an id says no business, the strictest of those that have the name answers.
//
// The count of one process is lost with it, so that pacing begins again: the strict side.
func (b *Book) Admit(now time.Time, id ID) Ruling {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := b.named(id)
	var worst Ruling
	for _, id := range ids {
		s := b.states[id]
		if r := s.judge(now, b.pacing); r.Reason != "" && (worst.Reason == "" || worst.RetryAfter > 0 && (r.RetryAfter == 0 || r.RetryAfter > worst.RetryAfter)) {
			worst = r
		}
	}
	if worst.Reason != "" {
		return worst
	}
	for _, id := range ids {
		if s := b.states[id]; s.paced(b.pacing) {
			if s.Sent++; s.Sent == b.pacing.First {
				s.Held = now
			}
			b.states[id] = s
		}
	}
	return Ruling{}
}

// Return takes back what Admit counted of a send that did not go out.
func (b *Book) Return(id ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.named(id) {
		if s := b.states[id]; s.paced(b.pacing) && s.Sent > 0 {
			if s.Sent--; s.Sent < b.pacing.First {
				s.Held = time.Time{}
			}
			b.states[id] = s
		}
	}
}

// Agent says whether an agent of RCS can send: one that is launched with some carrier can, and so can one that nobody told about.
func (b *Book) Agent(account, agent string) Ruling {
	b.mu.Lock()
	defer b.mu.Unlock()
	var worst Ruling
	for _, id := range b.byName[name{account, AgentName, agent}] {
		s := b.states[id]
		if s.Status == Approved {
			return Ruling{}
		}
		worst = Ruling{Reason: "template:agent_" + string(s.Status)}
	}
	return worst
}

// State is what is known of a template.
func (b *Book) State(id ID) (State, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.states[id]
	return s, ok
}

// All are the templates that are known of an account, or of all, by name.
func (b *Book) All(account string) []ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []ID
	for id := range b.states {
		if account == "" || id.Account == account {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b ID) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return out
}
