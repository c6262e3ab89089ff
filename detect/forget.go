package detect

// Forget drops what is known of one number: its cell, its sessions, and the blocks and alerts that name it. What it was evidence of,
// for a range or an address, stays: that names nobody. So do the bits by which a number that verified is known, which are set for
// others as well and are gone after 30 days. It returns how many places held the number.
func (e *Engine) Forget(number uint64) (dropped int) {
	h := e.hash(aboutNumber, number)
	l := e.numbers.lock(h)
	if n := e.numbers.find(h); n != nil && *n != (numberCell{}) {
		*n = numberCell{}
		dropped++
	}
	l.Unlock()
	return dropped + e.sessions.forget(number) + e.blocks.forget(number)
}

// forget empties the rows of a number. They count as sessions that never happened.
func (r *sessions) forget(number uint64) (dropped int) {
	for i := range r.rows {
		l := &r.locks[uint64(i)%stripes]
		l.Lock()
		if s := &r.rows[i]; s.number == number {
			*s = session{seq: s.seq, start: s.start, state: sessionDone} // who judges sessions in their order passes over it
			dropped++
		}
		l.Unlock()
	}
	return dropped
}

func (l *blocklist) forget(number uint64) (dropped int) {
	names := func(s *Subject) bool { return s.Scope == ScopeNumber && s.Digits == number }
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		if r := &l.rows[i]; names(&r.Subject) {
			*r = blockRow{}
			dropped++
		}
	}
	for i := range l.alerts {
		if a := &l.alerts[i]; names(&a.Signal.Subject) {
			a.Signal.Subject.Digits = 0
			dropped++
		}
	}
	return dropped
}
