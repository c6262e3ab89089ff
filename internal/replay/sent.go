package replay

// sent remembers the latest sends that went out, by the id they have in the log: between keep and twice as many. Texts lie in a few large
// blocks of bytes, so that the garbage collector has nothing to look at.
type sent struct{ young, old shelf }

type shelf struct {
	at     map[uint64]spot
	blocks [][]byte // of blockSize, kept when the shelf is cleared
	used   int      // blocks
}

// spot is where the texts of a send are, and how long they are.
type spot struct {
	block, start uint32
	id, account  uint16
	challenged   bool
}

// blockSize has room for the longest check id and account, many times.
const blockSize = 1 << 20

// went is a send that went out, or that a challenge may have let out.
type went struct {
	checkID, account string
	challenged       bool
}

// keep sends of about 200 bytes.
const keep = 1 << 18

func newSent() *sent {
	return &sent{shelf{at: make(map[uint64]spot)}, shelf{at: make(map[uint64]spot)}}
}

func (s *sent) add(id uint64, w went) {
	if len(s.young.at) >= keep {
		clear(s.old.at)
		s.old.used = 0
		s.young, s.old = s.old, s.young
	}
	y := &s.young
	text := y.room(len(w.checkID) + len(w.account))
	y.at[id] = spot{uint32(y.used - 1), uint32(len(*text)), uint16(len(w.checkID)), uint16(len(w.account)), w.challenged}
	*text = append(append(*text, w.checkID...), w.account...)
}

// room is a block with so many bytes left.
func (s *shelf) room(n int) *[]byte {
	if s.used == 0 || len(s.blocks[s.used-1])+n > blockSize {
		if s.used == len(s.blocks) {
			s.blocks = append(s.blocks, make([]byte, 0, blockSize))
		}
		s.blocks[s.used] = s.blocks[s.used][:0]
		s.used++
	}
	return &s.blocks[s.used-1]
}

// drop forgets a send.
func (s *sent) drop(id uint64) {
	delete(s.young.at, id)
	delete(s.old.at, id)
}

// find returns false for a send that did not go out or is forgotten.
func (s *sent) find(id uint64) (w went, ok bool) {
	from := &s.young
	p, ok := from.at[id]
	if !ok {
		from = &s.old
		if p, ok = from.at[id]; !ok {
			return w, false
		}
	}
	text := from.blocks[p.block][p.start:][:int(p.id)+int(p.account)]
	return went{string(text[:p.id]), string(text[p.id:]), p.challenged}, true
}
