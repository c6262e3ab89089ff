package detect

import "unsafe"

// observation is one send on its way through the detectors.
type observation struct {
	e     *Engine
	p     *Policy
	s     *Send
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
	capped   bool  // see cap.go
	expected bool  // the volume was announced
	// honest is an estimate of how likely the deciding block stops an honest send.
	honest float64
	// met is the block that was looked at last, decided the one that the advice is from.
	met, decided blockPlace
	res          Result
	none         numberCell // stands in where the table has no room
	noKeep       keep
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
func (e *Engine) Observe(s *Send) Result {
	p := s.Policy
	if p == nil {
		p = e.policy.Load()
	}
	level := p.levelOf(s.Account)
	if level == LevelOff {
		return Result{}
	}
	now := e.tick(s.At)
	if s.Purpose != OTP || s.Number == 0 {
		e.judgeDue(now)
		return Result{}
	}
	o := observation{e: e, p: p, s: s, now: now, level: level, net: networkOf(s.Client)}
	o.keys = e.keysOf(s.Number, o.net)
	h := e.hash(aboutNumber, s.Number)
	e.numbers.fetch(h)
	e.known.fetch(h)
	e.fetch(&o.keys, true)
	if s.ID != 0 {
		prefetch(unsafe.Pointer(&e.ids.lines[e.ids.at(e.hash(aboutSend, s.ID)|1)]))
	}
	e.judgeDue(now)
	l := e.numbers.lock(h)
	o.number(h)
	l.Unlock()
	if o.decided.place != 0 && o.res.Advice.Stops() {
		e.blocks.stopped(o.decided)
	}
	o.count()
	return o.res
}

// fetch asks for the lines in front of the buckets that a session is evidence in.
func (e *Engine) fetch(k *keys, ranges bool) {
	if ranges {
		for _, h := range k.ranges {
			e.ranges.fetch(h)
		}
	}
	e.addresses.fetch(k.address)
	e.addresses.fetch(k.addrBlock)
	e.origins.fetch(k.origin)
}

// fetchCells asks for the cells themselves.
func (e *Engine) fetchCells(k *keys, ranges bool) {
	if ranges {
		for _, h := range k.ranges {
			e.ranges.fetchCell(h)
		}
	}
	e.addresses.fetchCell(k.address)
	e.addresses.fetchCell(k.addrBlock)
	e.origins.fetchCell(k.origin)
}

// number runs the detectors in order. The number's stripe is locked.
func (o *observation) number(h uint64) {
	e, now := o.e, o.now
	n, k, fresh := e.numbers.get(h, now)
	if n == nil {
		// Every number of the bucket is held. Judge the send by what it shares with others.
		n, k, fresh = &o.none, &o.noKeep, true
	}
	if fresh {
		n.scored = now
		if e.known.has(h) {
			n.verified = 1
		}
	}
	known := n.verified > 0
	e.fetchCells(&o.keys, !known)
	o.country(n)
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

	familiar := o.network(known)
	begins := n.begins(now)
	repeat := n.ranged != never && now.since(n.ranged) < day
	row := session{number: o.s.Number, network: o.net.bits, start: now, country: o.s.Country}
	inhabited := uint8(7)
	if !known {
		inhabited = o.ranges(begins && !repeat, familiar, &row)
	}
	o.class = classOf(known, familiar || known && n.owns(origin) || !o.net.set, inhabited>>o.telling&1 != 0)
	row.class = o.class
	row.more = inhabited << 1
	if o.res.Advice.Stops() && !broad(o.res.Scope) {
		row.more |= sessionNarrow
		if o.res.Scope.Masked() > 0 {
			row.more |= sessionByRange
		}
	}
	stopped := o.res.Advice.Stops()
	if o.sprayed(n) {
		row.more |= sessionSprayed
	}
	o.strangers()
	if !stopped && o.res.Advice.Stops() {
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

// begins says whether a send begins a session.
func (n *numberCell) begins(now tick) bool {
	return n.start == never || now.since(n.start) > sessionGap
}

// country counts the send and reads the counters.
func (o *observation) country(n *numberCell) {
	c := &o.e.countries[o.s.Country%countries]
	c.mu.Lock()
	if n.begins(o.now) {
		c.count(o.now)
	}
	o.sessions, o.verified, o.pace, o.telling = c.sessions, c.verified, c.pace, c.telling()
	o.capped = c.cap.see(o.now)
	c.mu.Unlock()
	o.expected = o.p.announced(o.s.Country, o.s.At, o.pace)
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
	u := &o.res.undo
	u.previously = n.ranged
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
	if o.s.Silent {
		row.more |= sessionSilent
	}
	if o.res.Advice.Stops() {
		row.state |= sessionStopped
	}
	thisHour := uint16(o.now/hour) + 1
	row.hourly = n.hour != thisHour
	n.hour = thisHour
	n.start, n.session, n.wrong = o.now, 0, 0
	u.began, u.row = true, row
	if o.res.Advice < Delay || o.res.Advice == Challenge {
		n.session = e.sessions.add(row)
		u.session = n.session
	}
}
