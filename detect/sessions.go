package detect

import "sync"

// sessions is a ring of the latest sessions in the order they began. A reader follows a minute behind and counts what was not
// verified. A session that is overwritten before its time is lost evidence, and counted.
type sessions struct {
	rows  []session
	locks []lock // by row

	mu   sync.Mutex // guards next and due
	next uint32     // sequence number of the next session; 0 is never used
	due  uint32     // the oldest that is not judged yet
	lost uint64
}

func (r *sessions) row(seq uint32) *session { return &r.rows[uint64(seq)%uint64(len(r.rows))] }

func (r *sessions) lock(seq uint32) *lock {
	l := &r.locks[uint64(seq)%uint64(len(r.rows))%stripes]
	l.Lock()
	return l
}

// add starts a session and returns its sequence number.
func (r *sessions) add(s session) uint32 {
	r.mu.Lock()
	seq := r.next
	if r.next++; r.next == 0 {
		r.next = 1
	}
	if seq-r.due >= uint32(len(r.rows)) {
		r.due++
		r.lost++
	}
	r.mu.Unlock()
	s.seq = seq
	l := r.lock(seq)
	*r.row(seq) = s
	l.Unlock()
	return seq
}

// idCell remembers four sends: whose session it was and from which address block it came.
type idCell struct{ sends [4]sendID }

type sendID struct {
	id      uint64 // hashed, 0 is free
	session uint32
	origin  uint16
	_       uint16
}

// ids finds the session of a send: four to a line, the oldest session makes room.
type ids struct {
	lines []idCell
	locks []lock
}

func (t *ids) at(h uint64) uint64 { return (h >> 16) % uint64(len(t.lines)) }

func (t *ids) line(h uint64) (*idCell, *lock) {
	i := t.at(h)
	l := &t.locks[i%stripes]
	l.Lock()
	return &t.lines[i], l
}

func (t *ids) put(h uint64, seq uint32, origin uint16) {
	c, l := t.line(h)
	oldest := 0
	for i := range c.sends {
		if c.sends[i].id == 0 || c.sends[i].id == h {
			oldest = i
			break
		}
		if int32(c.sends[i].session-c.sends[oldest].session) < 0 {
			oldest = i
		}
	}
	c.sends[oldest] = sendID{id: h, session: seq, origin: origin}
	l.Unlock()
}

func (t *ids) get(h uint64) (s sendID, ok bool) {
	c, l := t.line(h)
	for i := range c.sends {
		if c.sends[i].id == h {
			s, ok = c.sends[i], true
		}
	}
	l.Unlock()
	return s, ok
}
