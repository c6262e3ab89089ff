package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/sendgate/sendgate/consent"
)

// Book is the state of all templates. It is safe for concurrent use.
type Book struct {
	store  consent.Store
	pacing Pacing

	mu     sync.Mutex
	states map[ID]State
}

// Open reads the states that a store has.
func Open(ctx context.Context, store consent.Store, p Pacing) (*Book, error) {
	if p.First < 0 || p.Wait < 0 {
		return nil, errors.New("template: pacing: write how many sends pass first, and how long to wait then")
	}
	if p.Wait == 0 {
		p.Wait = 30 * time.Minute
	}
	b := &Book{store: store, pacing: p, states: make(map[ID]State)}
	err := store.Scan(ctx, consent.KindTemplate, nil, func(key, value []byte) error {
		part := strings.Split(string(key), "\x00")
		var s State
		if err := json.Unmarshal(value, &s); err != nil || len(part) != 3 {
			return errors.New("template: a state is not one that sendgate wrote")
		}
		b.states[ID{part[0], part[1], part[2]}] = s
		return nil
	})
	return b, err
}

// Apply takes updates in. It returns when they are on disk.
func (b *Book) Apply(ctx context.Context, events ...Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(map[ID]State)
	for i := range events {
		e := &events[i]
		s, ok := next[e.ID]
		if !ok {
			s = b.states[e.ID]
		}
		next[e.ID] = s.after(e)
	}
	return b.save(ctx, next)
}

// Release ends what pacing holds, by hand. False says that it held nothing.
func (b *Book) Release(ctx context.Context, at time.Time, id ID) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.states[id]
	if !ok || s.Status != Paced && s.Held.IsZero() {
		return false, nil
	}
	if s.Status == Paced {
		s.Status, s.Updated = Approved, at
	}
	if !s.Held.IsZero() {
		s.Held = at.Add(-b.pacing.Wait)
	}
	return true, b.save(ctx, map[ID]State{id: s})
}

// save stores states and makes them those in force. The lock is held.
func (b *Book) save(ctx context.Context, next map[ID]State) error {
	var changes []consent.Change
	for id, s := range next {
		for _, text := range []string{id.Account, id.Name, id.Language} {
			if strings.ContainsRune(text, 0) || len(text) > 300 {
				return errors.New("template: name: write account, name and language of 300 bytes at most, without a zero byte")
			}
		}
		value, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("template: state: %w", err)
		}
		changes = append(changes, consent.Change{Kind: consent.KindTemplate, Key: []byte(id.Account + "\x00" + id.Name + "\x00" + id.Language), Value: value})
	}
	if err := b.store.Apply(ctx, changes...); err != nil {
		return err
	}
	maps.Copy(b.states, next)
	return nil
}

// Judge says whether a send with a template can pass.
func (b *Book) Judge(now time.Time, id ID) Ruling {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.states[id]
	return s.judge(now, b.pacing)
}

// Sent counts a send that passed, for pacing. The count of one process is lost with it, so that pacing begins again: the strict side.
func (b *Book) Sent(at time.Time, id ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.states[id]
	if !ok || !s.paced(b.pacing) {
		return
	}
	if s.Sent++; s.Sent == b.pacing.First {
		s.Held = at
	}
	b.states[id] = s
}

// State is what is known of a template.
func (b *Book) State(id ID) (State, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.states[id]
	return s, ok
}
