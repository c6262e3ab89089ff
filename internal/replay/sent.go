package replay

// sent remembers the latest sends that went out, by the id they have in the log: between keep and twice as many.
type sent struct {
	young, old map[uint64]went
}

// went is a send that went out, or that a challenge may have let out.
type went struct {
	checkID, account string
	challenged       bool
}

// keep sends of about 200 bytes.
const keep = 1 << 18

func newSent() *sent { return &sent{young: make(map[uint64]went), old: make(map[uint64]went)} }

func (s *sent) add(id uint64, w went) {
	if len(s.young) >= keep {
		clear(s.old)
		s.young, s.old = s.old, s.young
	}
	s.young[id] = w
}

// drop forgets a send.
func (s *sent) drop(id uint64) {
	delete(s.young, id)
	delete(s.old, id)
}

// find returns false for a send that did not go out or is forgotten.
func (s *sent) find(id uint64) (w went, ok bool) {
	if w, ok = s.young[id]; !ok {
		w, ok = s.old[id]
	}
	return w, ok
}
