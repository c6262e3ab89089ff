package detect

// observation is one send on its way through the detectors.
type observation struct {
	e     *Engine
	p     *Policy
	s     *Send
	r     *Result
	now   tick
	level Level
	net   network
	keys  keys
	class class
	// The country's counters as of this send.
	sessions uint32
	verified float64
	pace     float64
	telling  uint8 // see country.telling
}

// undo is what Denied needs to take a send back.
type undo struct {
	session    uint32 // its sequence number, 0 when it was not put into the ring
	began      bool   // the send began a session
	counted    bool   // the allowance of the address and the pace of the account were charged
	victim     float32
	previously tick // when the number had been evidence about its ranges before
	row        session
}

// Observe judges a send and remembers it, on the understanding that the advice is followed.
func (e *Engine) Observe(s *Send) (r Result) {
	p := e.policy.Load()
	level := p.levelOf(s.Account)
	if level == LevelOff {
		return r
	}
	now := e.tick(s.At)
	e.judgeDue(now)
	if s.Purpose != OTP || s.Number == 0 {
		return r
	}
	o := observation{e: e, p: p, s: s, r: &r, now: now, level: level, net: networkOf(s.Client)}
	o.keys = e.keysOf(s.Number, o.net)
	h := e.hash(aboutNumber, s.Number)
	l := e.numbers.lock(h)
	o.number(h)
	l.Unlock()
	return r
}

// number runs the detectors in order. The number's stripe is locked.
func (o *observation) number(h uint64) {
	e, now := o.e, o.now
	n, k, fresh := e.numbers.get(h, now)
	if n == nil {
		// Every number of the bucket is held. Judge the send by what it shares with others.
		n, k, fresh = &numberCell{}, new(keep), true
	}
	if fresh {
		n.scored = now
		if e.known.has(h) {
			n.verified = 1
		}
	}
	n.fade(now)
	origin := fingerprint(o.keys.addrBlock)
	gap, moved := n.rhythm(now, fingerprint(o.keys.address))
	if o.held(n, k, h, origin) || o.retries(n) {
		return
	}
	if o.victim(n, k, h, origin, gap, moved) {
		return
	}
	touch(k, now, n.worth())

	known := n.verified > 0
	familiar := o.familiar()
	o.fanout(known)
	begins := n.start == never || now.since(n.start) > sessionGap
	repeat := n.ranged != never && now.since(n.ranged) < day
	o.country(begins)
	row := session{number: o.s.Number, network: o.net.bits, start: now, country: o.s.Country}
	inhabited := uint8(7)
	if !known {
		inhabited = o.ranges(begins && !repeat, familiar, &row)
	}
	o.class = classOf(known, familiar || known && n.owns(origin) || !o.net.set, inhabited>>o.telling&1 != 0)
	row.class = o.class
	row.more = inhabited << 1
	o.addressBlocks(known)
	if o.r.Advice.Stops() && !broad(o.r.Scope) {
		row.more |= sessionNarrow
	}
	stopped := o.r.Advice.Stops()
	if o.sprayed(n) {
		row.more |= sessionSprayed
	}
	o.strangers()
	if !stopped && o.r.Advice.Stops() {
		row.more |= sessionStrange
	}
	if begins {
		o.begin(n, row, known, repeat)
	}
	if o.s.ID != 0 && n.session != 0 {
		e.ids.put(e.hash(aboutSend, o.s.ID)|1, n.session, origin)
	}
}

func classOf(known, familiar, inhabited bool) class {
	switch {
	case known && familiar:
		return knownHome
	case known:
		return knownStrange
	case familiar && inhabited:
		return newHome
	case familiar:
		return newElsewhere
	case inhabited:
		return newStrange
	}
	return newNowhere
}

// sessionGap is how long sends to one number belong together.
const sessionGap = 10 * minute

// country counts the session and reads the counters.
func (o *observation) country(begins bool) {
	c := &o.e.countries[o.s.Country%countries]
	c.mu.Lock()
	if begins {
		c.count(o.now)
	}
	o.sessions, o.verified, o.pace, o.telling = c.sessions, c.verified, c.pace, c.telling()
	c.mu.Unlock()
}

// begin puts a new session into the ring, unless it was stopped for good.
func (o *observation) begin(n *numberCell, row session, known, repeat bool) {
	e := o.e
	c := &e.countries[o.s.Country%countries]
	c.mu.Lock()
	expected := c.expectation()
	c.mu.Unlock()
	fail, success := evidenceOf(expected)
	row.fail, row.success = float32(fail), float32(success)
	if known {
		row.state |= sessionKnown
	}
	o.r.undo.previously = n.ranged
	if !repeat {
		row.state |= sessionRanged
		n.ranged = o.now
	}
	if o.net.set {
		row.state |= sessionNet
	}
	if o.net.is4 {
		row.state |= sessionV4
	}
	if o.s.Lookup {
		row.state |= sessionLookup
	}
	if o.r.Advice.Stops() {
		row.state |= sessionStopped
	}
	n.start, n.session, n.wrong = o.now, 0, 0
	o.r.undo.began = true
	o.r.undo.row = row
	if o.r.Advice < Delay || o.r.Advice == Challenge {
		n.session = e.sessions.add(row)
		o.r.undo.session = n.session
	}
}
