package lists

import "fmt"

// Change is one change of a Store, as its journal has it.
type Change struct {
	Remove bool  // else Entry takes the place of one for the same list and target
	Entry  Entry // of a removal, whoever made it, and when and why
}

// Field names what a change is about: of two changes with one Field the later counts.
func (c Change) Field() string { return c.Entry.List.String() + " " + c.Entry.Target.ID() }

// MarshalText writes a change as a line of the journal, without its end. It holds no number in clear.
func (c Change) MarshalText() ([]byte, error) {
	op := opAdd
	if c.Remove {
		op = opRemove
	}
	b, err := appendLine(nil, op, c.Entry)
	if err != nil {
		return nil, fmt.Errorf("lists: %s: %w", c.Entry.Target, err)
	}
	return b[:len(b)-1], nil
}

// ParseChange reads what MarshalText wrote.
func ParseChange(text []byte) (Change, error) {
	c, err := parseLine(text)
	if err != nil {
		return Change{}, fmt.Errorf("lists: %w", err)
	}
	return Change{c.remove, c.entry}, nil
}

// OnChange sets who is told of what Add and Remove change, before they return, in the order of the journal. It is told nothing of what
// Apply changes, and must not change the store. Set it before the first change.
func (s *Store) OnChange(f func([]Change)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = f
}

func (s *Store) tellChange(changes []Change) {
	if s.onChange != nil && len(changes) > 0 {
		s.onChange(changes)
	}
}

// Apply makes changes that another store with the same secrets told, those that make a difference, with one sync. It returns
// how many those were.
func (s *Store) Apply(changes []Change) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	var text []byte
	var todo []Change
	for _, c := range changes {
		if id := c.Entry.Target.key; id != 0 && !knows(s.edit.set.sealers, id) {
			return 0, fmt.Errorf("lists: a change was sealed with another secret (%08x): give all sidecars the same secrets", uint32(id))
		}
		at, there := s.edit.set.find(c.Entry.List, c.Entry.Target)
		if c.Remove && !there || !c.Remove && there && s.edit.set.entry(at).same(c.Entry) {
			continue
		}
		line, err := c.MarshalText()
		if err != nil {
			return 0, err
		}
		text, todo = append(append(text, line...), '\n'), append(todo, c)
	}
	if len(todo) == 0 {
		return 0, nil
	}
	if err := s.write(text); err != nil {
		return 0, err
	}
	s.lines += len(todo)
	if len(todo) > s.edit.set.live {
		s.rebuild()
	} else {
		s.edit.fork()
	}
	newest := todo[0].Entry.Created
	for _, c := range todo {
		if c.Entry.Created.After(newest) {
			newest = c.Entry.Created
		}
		if c.Remove {
			s.edit.drop(c.Entry.List, c.Entry.Target)
		} else {
			s.edit.put(c.Entry)
		}
	}
	return len(todo), s.finish(newest)
}

func (e Entry) same(o Entry) bool {
	return e.List == o.List && e.Target == o.Target && e.Reason == o.Reason && e.Author == o.Author && e.Created.Equal(o.Created) && e.Expires.Equal(o.Expires)
}
