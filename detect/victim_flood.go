package detect

// Victim flood: many strangers ask for one number. Each send from a new address block weighs 1.6, a later one .6, a hasty one .3,
// or 1 if it comes from another address than the last: people who press "send again" do not change theirs. A verification takes
// 4 off. The score fades over twelve hours. A block where the owner verified passes until the score is twice the limit, and is
// challenged then: the attacker may share the owner's carrier.
const (
	victimLimit  = 9.
	victimNew    = 1.6
	victimSame   = .6
	victimHasty  = .3
	victimMoved  = 1.
	victimRelief = 4.
	hasty        = 150 * second
	victimHold   = hour
	heldOn       = 30 * minute // a hold lasts at least this long after the last attempt
)

func (o *observation) victim(n *numberCell, k *keep, h uint64, origin uint16, gap tick, moved bool) bool {
	first, seen, owner := n.visit(origin)
	var weight float32
	switch {
	case first:
	case !seen:
		weight = victimNew
	case gap < hasty && moved:
		weight = victimMoved
	case gap < hasty:
		weight = victimHasty
	default:
		weight = victimSame
	}
	n.victim += weight
	if seen {
		o.res.undo.victim = weight
	}
	if n.victim < victimLimit || owner && n.victim < 2*victimLimit {
		return false
	}
	sig := o.e.numberSignal(VictimFlood, o.s.Number, o.s.Country, n, float64(n.victim), victimLimit)
	if owner {
		n.victim = min(n.victim, 2*victimLimit+victimRelief)
		o.advise(Challenge, sig, o.now+minute, false)
		return false
	}
	if !o.s.Silent {
		o.e.hold(o.p, n, k, h, o.now, o.now+victimHold, sig)
		n.victim = 4
	}
	o.advise(Deny, sig, n.until, false)
	return o.res.Advice == Deny
}

// hold stops a number for a time.
func (e *Engine) hold(p *Policy, n *numberCell, k *keep, h uint64, now, until tick, sig Signal) {
	if p.idle[sig.Kind] {
		return
	}
	fresh := n.until <= now || n.kind != sig.Kind
	n.until, n.kind = until, sig.Kind
	if k != nil {
		pin(k, until)
	}
	if !fresh {
		e.blocks.extend(blockPlace{n.block, h}, until, e.nanos(until))
		return
	}
	n.level = min(n.level+1, 200)
	e.blocks.end(blockPlace{n.block, h})
	n.block = e.blocks.add(Block{Kind: sig.Kind, Subject: sig.Subject, Shadow: p.Kinds[sig.Kind].Mode == Shadow, Since: e.nanos(now),
		Until: e.nanos(until), Level: int(n.level), Signal: sig}, h, until, now)
}

// held says whether a hold on the number stops the send, and keeps it up while attempts go on. The owner's address blocks pass
// a victim hold, not a brute-force hold: the attacker may sit behind the same carrier.
func (o *observation) held(n *numberCell, k *keep, h uint64, origin uint16) bool {
	if n.until <= o.now || (n.kind != OTPBruteforce && n.owns(origin)) {
		return false
	}
	if n.failed < 4 {
		n.until = max(n.until, o.now+heldOn)
		pin(k, n.until)
	}
	o.met = blockPlace{n.block, h}
	o.e.blocks.extend(o.met, n.until, o.e.nanos(n.until))
	statistic, limit := float64(n.victim), victimLimit
	if n.kind == OTPBruteforce {
		statistic, limit = float64(n.failed), bruteLimit
	}
	n.visit(origin)
	o.advise(Deny, o.e.numberSignal(n.kind, o.s.Number, o.s.Country, n, statistic, limit), n.until, true)
	return o.res.Advice == Deny
}

func (e *Engine) numberSignal(kind Kind, number uint64, c Country, n *numberCell, statistic, limit float64) Signal {
	blocks := 0
	for _, x := range n.origins {
		if x != 0 {
			blocks++
		}
	}
	observed, expected := float64(blocks), 2.
	if kind == OTPBruteforce {
		observed, expected = statistic, .5
	}
	return Signal{Kind: kind, Subject: Subject{Scope: ScopeNumber, Digits: number, Country: c}, Statistic: statistic,
		Threshold: limit, Observed: observed, Expected: expected, Verified: int(n.verified), Confirmed: true}
}
