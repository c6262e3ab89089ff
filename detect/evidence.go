package detect

// mature is how long a session has to verify before it counts as failed.
const mature = 90 * second

// judgeDue counts sessions that are 90 seconds old and not verified. One caller at a time does it for all, a few sessions a
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
		if row.state&sessionDone == 0 {
			e.judge(row, false, now)
			row.state |= sessionFailed
		}
		l.Unlock()
	}
}

// judge adds the end of a session to all it is evidence about. The session's row is locked.
func (e *Engine) judge(s *session, ok bool, now tick) {
	c := &e.countries[s.country%countries]
	known := s.state&sessionKnown != 0
	c.mu.Lock()
	c.control(known, ok, now)
	fail, _ := evidenceOf(c.expectation())
	healthy := c.healthy()
	c.mu.Unlock()

	evidence := float64(s.success)
	refund := 0.
	if s.state&sessionFailed != 0 {
		refund = float64(s.fail)
	}
	if !ok {
		// When expectations fell since the session began (an outage), its failure says less.
		evidence = min(float64(s.fail), fail)
		s.fail = float32(evidence)
	}
	k := e.keysOf(s.number, s.net())
	if s.state&sessionRanged != 0 {
		for i, h := range k.ranges {
			l := e.ranges.lock(h)
			if x, kp, fresh := e.ranges.get(h, now); x != nil {
				if fresh {
					x.first = s.start
				}
				e.weigh(x, kp, h, s, ok, healthy, evidence, refund, float64(s.hit[i])/hitScale, ScopeRange2+Scope(i), now)
			}
			l.Unlock()
		}
	}
	if s.state&sessionNet != 0 {
		for i, h := range [...]uint64{k.address, k.addrBlock} {
			l := e.addresses.lock(h)
			if x, kp, fresh := e.addresses.get(h, now); x != nil {
				if fresh {
					x.first = s.start
				}
				if s.state&sessionFailed == 0 {
					x.sessions++
				}
				e.weigh(x, kp, h, s, ok, healthy, evidence, refund, 0, ScopeAddress+Scope(i), now)
				if ok && i == 0 {
					x.open = max(0, x.open-1)
					x.earned++
				}
			}
			l.Unlock()
		}
	}

	c.mu.Lock()
	if s.class == classNewcomer {
		e.judgeNewcomers(c, s, ok, now)
	}
	if ok {
		c.verified++
	}
	if s.state&sessionStopped == 0 && s.class < classNewcomer || ok {
		c.learn(ok, ok && s.state&sessionFailed != 0)
	}
	c.mu.Unlock()
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

// weigh adds the end of a session to one key, which is locked.
func (e *Engine) weigh(x *cell, k *keep, h uint64, s *session, ok, healthy bool, evidence, refund, hit float64, scope Scope, now tick) {
	defer func() { touch(k, now, x.worth()) }()
	if ok {
		x.failures = max(0, x.failures-1)
		if refund != 0 {
			x.failures = max(0, x.failures-1)
		}
		add(&x.compose, evidence-hit-refund)
		add(&x.outcome, evidence-refund)
		x.verified++
		// People pass the challenge and verify: the block was wrong, or has done its work.
		if x.until != never && x.outcome < 3 && scope != ScopeAddress {
			e.lift(x, h)
			x.compose = 0
		}
		return
	}
	x.compose += float32(evidence)
	x.outcome += float32(evidence)
	x.failures++
	if x.until != never {
		return
	}
	// While known numbers fail too, a key that has verified before gets the benefit of the doubt.
	if !healthy && x.verified >= 5 {
		x.compose = min(x.compose, threshold-2)
		x.outcome = min(x.outcome, threshold-2)
	}
	limit, kind := threshold, IPFanout
	composed := false
	switch {
	case scope == ScopeAddrBlock:
		limit += addrBlockExtra
	case scope.Masked() > 0:
		i := scope.Masked() - 2
		limit += rangeExtra[i]
		composed = i < composedMask && x.compose >= threshold && x.failures >= minFailures
		kind = AITRange
		if scope == ScopeOperator {
			kind = ConversionCollapse
		}
	}
	if float64(x.outcome) < limit && !composed {
		return
	}
	statistic := max(x.outcome, x.compose)
	sig := e.signal(kind, subject(scope, s.number, s.country, s.net()), x, float64(statistic), limit, float64(x.sessions))
	sig.Observed = float64(x.verified)
	e.trip(x, k, h, now, sig)
}
