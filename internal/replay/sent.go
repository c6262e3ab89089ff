package replay

import "encoding/base64"

// sent remembers the check ids of the latest sends that went out, by the id they have in the log: between keep and twice as many.
type sent struct {
	young, old map[uint64]packed
}

const (
	keep       = 1 << 19
	packedSize = 48
)

// packed is a check id as bytes.
type packed [packedSize]byte

func newSent() *sent { return &sent{young: make(map[uint64]packed), old: make(map[uint64]packed)} }

func (s *sent) add(id uint64, checkID string) {
	var p packed
	if n, err := base64.RawURLEncoding.Decode(p[:], []byte(checkID)); err != nil || n != packedSize {
		return
	}
	if len(s.young) >= keep {
		clear(s.old)
		s.young, s.old = s.old, s.young
	}
	s.young[id] = p
}

// drop forgets a send.
func (s *sent) drop(id uint64) {
	delete(s.young, id)
	delete(s.old, id)
}

// find returns the check id of a send, "" for one that did not go out or is forgotten.
func (s *sent) find(id uint64) string {
	p, ok := s.young[id]
	if !ok {
		if p, ok = s.old[id]; !ok {
			return ""
		}
	}
	return base64.RawURLEncoding.EncodeToString(p[:])
}
