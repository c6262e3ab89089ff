package detect

// mature is how long a session has to verify before it counts as failed. Nine in ten honest ones that verify at all do so within a
// minute (public dashboard of one operator: 68 % in 30 s, 91 % in 60 s); the rest is taken back when it comes.
const mature = 60 * second

// judgeDue counts sessions that are a minute old and not verified. One caller at a time does it for all, a few sessions a
// call, so no call pays for a long silence.
func (e *Engine) judgeDue(now tick) {
	r := &e.sessions
	for range 64 {
		if !r.mu.TryLock() {
			return
		}
		if r.due == r.next {
			r.mu.Unlock()
			return
		}
		seq := r.due
		l := r.lock(seq)
		row := r.row(seq)
		if row.seq != seq || row.start+mature > now {
			l.Unlock()
			r.mu.Unlock()
			return
		}
		if r.due++; r.due == 0 {
			r.due = 1
		}
		r.mu.Unlock()
		if row.state&(sessionDone|sessionFailed) == 0 && row.more&sessionSilent == 0 {
			e.judge(row, false, now)
			row.state |= sessionFailed
		}
		l.Unlock()
	}
}

// ending is how a session ended, as its keys are told.
type ending struct {
	s        *session
	now      tick
	ok       bool
	healthy  bool    // known numbers verify as they should
	evidence float64 // log-likelihood for an attack
	refund   float64 // what its failure had added
}

// judge adds the end of a session to all it is evidence about. The session's row is locked.
func (e *Engine) judge(s *session, ok bool, now tick) {
	k := e.keysOf(s.number, s.net())
	ranged := s.state&sessionRanged != 0 && s.state&sessionKnown == 0
	e.fetch(&k, ranged)
	c := &e.countries[s.country%countries]
	c.mu.Lock()
	if s.class != knownStrange && s.hourly {
		c.control(s.state&sessionKnown != 0, ok, now)
	}
	fail, _ := evidenceOf(c.expectation())
	end := ending{s: s, now: now, ok: ok, healthy: c.healthy(), evidence: float64(s.success)}
	c.mu.Unlock()
	if s.state&sessionFailed != 0 {
		end.refund = float64(s.fail)
	}
	if !ok {
		// When expectations fell since the session began (an outage), its failure says less.
		end.evidence = min(float64(s.fail), fail)
		s.fail = float32(end.evidence)
	}
	e.fetchCells(&k, ranged)
	if ranged {
		e.judgeRanges(&end, &k)
	}
	// Residential proxies share blocks with people: what a range explains is not held against the address.
	if s.state&sessionNet != 0 && (ok || s.more&sessionByRange == 0) {
		e.judgeAddresses(&end, &k)
	}

	c.mu.Lock()
	if s.class >= knownStrange && s.more&sessionNarrow == 0 && s.state&sessionRanged != 0 {
		e.judgeStrangers(c, s, ok, now)
	}
	if ok {
		c.verified++
		if s.state&(sessionKnown|sessionRanged) == sessionRanged {
			c.uncover(s.more >> 1)
		}
	}
	if s.state&sessionStopped == 0 && s.class.familiar() || ok {
		c.learn(ok, ok && s.state&sessionFailed != 0)
	}
	c.mu.Unlock()
	if s.state&sessionFailed == 0 {
		if !ok && s.more&sessionSprayed != 0 {
			e.guess(s.country, guessHit, now)
		} else {
			e.guess(s.country, -guessMiss, now)
		}
	}
	if ok && k.origin != 0 {
		l := e.origins.lock(k.origin)
		if x, kp, _ := e.origins.get(k.origin, now); x != nil {
			x.verified(s.country)
			touch(kp, now, day)
		}
		l.Unlock()
	}
}

// net is the network a session came from.
func (s *session) net() network {
	return network{bits: s.network, is4: s.state&sessionV4 != 0, set: s.state&sessionNet != 0}
}

func (e *Engine) judgeRanges(end *ending, k *keys) {
	for i, h := range k.ranges {
		scope := ScopeRange2 + Scope(i)
		if scope >= ScopeRange5 && end.s.more&(sessionNarrow|sessionStrange) != 0 && !end.ok {
			return
		}
		l := e.ranges.lock(h)
		if x, kp, fresh := e.ranges.get(h, end.now); x != nil {
			if fresh {
				x.first = end.s.start
			}
			limit := threshold + rangeExtra[i]
			if x.weigh(end, float64(end.s.hit[i])/hitScale) {
				if x.outcome < released {
					e.lift(&x.evidence, h)
				}
			} else if !end.ok {
				suspected, confirmed := x.composed()
				narrow := i < composedMasks
				e.suspect(end, &x.evidence, kp, h, x.rangeKind(scope), scope, limit, narrow && suspected, narrow && confirmed)
			}
			touch(kp, end.now, x.worth())
		}
		l.Unlock()
	}
}

func (e *Engine) judgeAddresses(end *ending, k *keys) {
	for i, h := range [...]uint64{k.address, k.addrBlock} {
		scope := ScopeAddress + Scope(i)
		l := e.addresses.lock(h)
		if x, kp, fresh := e.addresses.get(h, end.now); x != nil {
			if fresh {
				x.first = end.s.start
			}
			if end.s.state&sessionFailed == 0 {
				x.sessions++
				if end.s.state&sessionLookup != 0 && x.lookups < 1<<16-1 {
					x.lookups++
				}
			}
			if end.ok && scope == ScopeAddress {
				x.open = max(0, x.open-1)
				x.earned++
			}
			kind, limit := IPFanout, threshold
			if scope == ScopeAddrBlock && x.verified > 0 {
				limit += addrBlockExtra
			}
			if x.shared() {
				// An outage fails everywhere at once, and the control group needs a moment to see it.
				limit += sharedExtra
			}
			if x.probed() {
				kind = Enumeration
			}
			if !end.ok && x.shared() && (end.s.class >= knownStrange || end.s.more&sessionNarrow != 0) {
				// What strangers do on a carrier's gateway is told from what its people do by the country's classes.
				touch(kp, end.now, x.worth())
				l.Unlock()
				continue
			}
			if x.weigh(end, 0) {
				if x.outcome < released {
					e.lift(&x.evidence, h)
				}
			} else if !end.ok {
				e.suspect(end, &x.evidence, kp, h, kind, scope, limit, false, false)
			}
			touch(kp, end.now, x.worth())
		}
		l.Unlock()
	}
}

// released is the outcome CUSUM below which a block is lifted: people passed the challenge and verified.
const released = 3

// weigh adds the end of a session to one key. It says whether a block might be lifted.
func (x *evidence) weigh(end *ending, hit float64) bool {
	if !end.ok {
		x.compose += float32(end.evidence)
		x.outcome = min(x.outcome+float32(end.evidence), outcomeCap)
		x.failures++
		return false
	}
	x.failures = max(0, x.failures-1)
	if end.refund != 0 {
		x.failures = max(0, x.failures-1)
	}
	add(&x.compose, end.evidence-hit-end.refund)
	add(&x.outcome, end.evidence-end.refund)
	x.verified++
	if x.until != never && x.outcome < released {
		x.compose = 0
		return true
	}
	return false
}

// suspicion is how far below its limit a key is first challenged; at the limit it may be denied.
const suspicion = 4

// suspect blocks a key whose evidence has grown enough, or confirms a block that was only a suspicion.
func (e *Engine) suspect(end *ending, x *evidence, k *keep, h uint64, kind Kind, scope Scope, limit float64, suspected, confirmed bool) {
	if x.until != never && x.confirmed {
		return
	}
	// While known numbers fail too, a key that has verified before gets the benefit of the doubt.
	if !end.healthy && x.verified >= 5 && x.until == never {
		x.compose = min(x.compose, threshold-suspicion-1)
		x.outcome = min(x.outcome, threshold-suspicion-1)
	}
	confirmed = confirmed || float64(x.outcome) >= limit
	suspected = suspected || float64(x.outcome) >= limit-suspicion
	if !confirmed && (x.until != never || !suspected) {
		return
	}
	s := end.s
	sig := e.signal(kind, subject(scope, s.number, s.country, s.net()), x, float64(max(x.outcome, x.compose)), limit, float64(x.sessions))
	sig.Observed = float64(x.verified)
	e.trip(e.policy.Load(), x, k, h, end.now, sig, confirmed)
}
