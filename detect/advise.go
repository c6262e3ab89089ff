package detect

// advise adds what one detector found to the result, bent by policy: level, mode, cap, allow list, solved challenge.
func (o *observation) advise(a Advice, sig Signal, until tick, blocked bool) {
	d := o.p.detector(sig.Kind, o.s.Account)
	if d.Mode == Disabled {
		return
	}
	if d.AtMost != Allow {
		a = min(a, d.AtMost)
	}
	if a == Deny && o.capped && sig.Subject.Scope != ScopeNumber {
		a = Challenge
	}
	if a == Challenge {
		switch {
		case o.s.ChallengePassed:
			return
		case o.level == LevelBasic && (broad(sig.Subject.Scope) || !sig.Confirmed):
			a = Flag
		}
	}
	sig.Advice, sig.Shadow = a, d.Mode == Shadow
	if sig.Shadow || o.level == LevelObserve || o.s.Exempt || o.s.Silent && !blocked {
		a = min(a, Flag)
	}
	r := &o.res
	at := r.Count
	if a > r.Advice {
		r.Advice, r.Kind, r.Scope, r.Blocked = a, sig.Kind, sig.Subject.Scope, blocked
		if o.decided = (blockPlace{}); blocked {
			o.decided = o.met
		}
		r.RetryAfter = 0
		if until > o.now && a.Stops() {
			r.RetryAfter = int64(until-o.now) * nanosOfTick
		}
		at = 0
	}
	if at == 0 {
		r.Count = min(r.Count+1, MaxSignals)
		copy(r.Signals[1:r.Count], r.Signals[:r.Count-1])
		r.Signals[0] = sig
	} else if at < MaxSignals {
		r.Signals[at] = sig
		r.Count++
	}
}

// uneasy says that at LevelMax half the evidence that would block is enough to challenge.
func (o *observation) uneasy(c *evidence, limit float64) bool {
	return o.level == LevelMax && c.until == never && float64(c.outcome) >= limit/2
}

// broad scopes hold many people who have nothing to do with each other.
func broad(s Scope) bool {
	return s == ScopeRange5 || s == ScopeOperator || s == ScopeNewcomers || s == ScopeAddrBlock
}

// subject names a scope of a session.
func subject(scope Scope, number uint64, c Country, n network) Subject {
	switch {
	case scope == ScopeNumber:
		return Subject{Scope: scope, Country: c, Digits: number}
	case scope.Masked() > 0:
		return Subject{Scope: scope, Country: c, Digits: number / pow10[scope.Masked()]}
	case scope == ScopeAddress || scope == ScopeAddrBlock:
		return n.subject(scope)
	}
	return Subject{Scope: scope, Country: c}
}

// signal explains the state of a shared key.
func (e *Engine) signal(kind Kind, s Subject, c *evidence, statistic, limit, expected float64) Signal {
	return Signal{
		Kind: kind, Subject: s, Statistic: statistic, Threshold: limit,
		Observed: float64(c.sessions), Expected: expected, Confirmed: c.confirmed && c.until != never,
		Sessions: int(c.sessions), Verified: int(c.verified), FirstSeen: e.nanos(c.first),
	}
}
