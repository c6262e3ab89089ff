package replay

// sent remembers the check ids of the latest sends that went out, by the id they have in the log: between keep and twice as many.
type sent struct {
	young, old map[uint64]string
}

// keep ids of about 150 bytes.
const keep = 1 << 19

func newSent() *sent { return &sent{young: make(map[uint64]string), old: make(map[uint64]string)} }

func (s *sent) add(id uint64, checkID string) {
	if len(s.young) >= keep {
		clear(s.old)
		s.young, s.old = s.old, s.young
	}
	s.young[id] = checkID
}

// drop forgets a send.
func (s *sent) drop(id uint64) {
	delete(s.young, id)
	delete(s.old, id)
}

// find returns the check id of a send, "" for one that did not go out or is forgotten.
func (s *sent) find(id uint64) string {
	if checkID, ok := s.young[id]; ok {
		return checkID
	}
	return s.old[id]
}
