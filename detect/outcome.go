package detect

// Outcome reports what became of a send. It returns false when the send is not known or no longer remembered. A verification
// counts once a session, however late.
func (e *Engine) Outcome(at int64, id uint64, what OutcomeKind) bool {
	now := e.tick(at)
	e.judgeDue(now)
	send, ok := e.ids.get(e.hash(aboutSend, id) | 1)
	if !ok {
		return false
	}
	l := e.sessions.lock(send.session)
	row := e.sessions.row(send.session)
	if row.seq != send.session || row.number == 0 { // overwritten, or forgotten
		l.Unlock()
		return false
	}
	number, country := row.number, row.country
	k := e.keysOf(number, row.net())
	l.Unlock()

	switch what {
	case Verified:
		h := e.hash(aboutNumber, number)
		e.numbers.fetch(h)
		e.known.fetch(h)
		e.fetch(&k, true)
		e.verified(number, send, now)
	case Failed:
		h := e.hash(aboutNumber, number)
		l := e.numbers.lock(h)
		if n, k := e.numbers.look(h); n != nil {
			n.fade(now)
			e.wrongCode(n, k, h, number, country, now)
		}
		l.Unlock()
	case NotSent:
		e.cancel(send.session)
	}
	return true
}

func (e *Engine) verified(number uint64, send sendID, now tick) {
	h := e.hash(aboutNumber, number)
	l := e.numbers.lock(h)
	if n, k, _ := e.numbers.get(h, now); n != nil {
		n.fade(now)
		n.verified = min(n.verified+1, 250)
		n.victim = max(0, n.victim-victimRelief)
		n.failed = 0
		n.own(send.origin)
		touch(k, now, n.worth())
	}
	l.Unlock()
	e.known.add(h, now)

	l = e.sessions.lock(send.session)
	defer l.Unlock()
	s := e.sessions.row(send.session)
	if s.seq != send.session || s.state&sessionDone != 0 {
		return
	}
	s.state |= sessionDone
	e.judge(s, true, now)
}

// cancel takes a session back that never happened.
func (e *Engine) cancel(seq uint32) {
	l := e.sessions.lock(seq)
	defer l.Unlock()
	s := e.sessions.row(seq)
	if s.seq != seq || s.state&(sessionDone|sessionFailed) != 0 {
		return
	}
	s.state |= sessionDone
	e.unhit(s)
}

// unhit takes the composition evidence of a session back.
func (e *Engine) unhit(s *session) {
	if s.state&sessionRanged == 0 {
		return
	}
	for i, h := range e.keysOf(s.number, network{}).ranges {
		l := e.ranges.lock(h)
		if x := e.ranges.find(h); x != nil {
			add(&x.compose, -float64(s.hit[i])/hitScale)
			x.sessions -= min(x.sessions, 1)
		}
		l.Unlock()
	}
}

// Denied takes back what Observe remembered: the caller's own limits stopped the send. The attempt itself stays seen: its
// rhythm, and the address block it came from.
func (e *Engine) Denied(s *Send, r *Result) {
	u := &r.undo
	h := e.hash(aboutNumber, s.Number)
	if u.victim != 0 || u.began {
		l := e.numbers.lock(h)
		if n := e.numbers.find(h); n != nil {
			n.victim = max(0, n.victim-u.victim)
			if u.began && (n.session == u.session || n.session == 0) {
				n.start, n.session, n.ranged = never, 0, u.previously
			}
		}
		l.Unlock()
	}
	if u.counted {
		k := e.hash(aboutAddress, networkOf(s.Client).address())
		l := e.addresses.lock(k)
		if c := e.addresses.find(k); c != nil {
			c.open = max(0, c.open-1)
		}
		l.Unlock()
		a := e.hash(aboutAccount, s.Account)
		l = e.accounts.lock(a)
		if c := e.accounts.find(a); c != nil {
			c.minutes, c.days = max(0, c.minutes-1), max(0, c.days-1)
		}
		l.Unlock()
	}
	switch {
	case u.session != 0:
		e.cancel(u.session)
	case u.began:
		e.unhit(&u.row)
	}
	*u = undo{}
}

// Admitted says that the send went out although the advice was to stop it, so that its outcome is waited for.
func (e *Engine) Admitted(s *Send, r *Result) {
	u := &r.undo
	if !r.Advice.Stops() || !u.began || u.session != 0 {
		return
	}
	h := e.hash(aboutNumber, s.Number)
	l := e.numbers.lock(h)
	defer l.Unlock()
	n := e.numbers.find(h)
	if n == nil {
		return
	}
	u.row.state &^= sessionStopped
	u.session = e.sessions.add(u.row)
	n.session = u.session
	if s.ID != 0 {
		e.ids.put(e.hash(aboutSend, s.ID)|1, n.session, fingerprint(e.keysOf(s.Number, networkOf(s.Client)).addrBlock))
	}
}
