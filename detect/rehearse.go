package detect

import "fmt"

// Rehearse makes a small engine that knows what this one knows of one send: what it is about and what it shares with others. Showing
// the send to it tells what Observe would say here, and changes nothing here. It stands for that send only and is dropped afterwards;
// it needs no Close. Sessions whose time to verify is over and that nobody has counted yet are not evidence in it.
func (e *Engine) Rehearse(s *Send) *Engine {
	r := &Engine{seed: e.seed, seed2: e.seed2, mem: new(memory), known: bloom{gens: e.known.gens}, countries: make([]country, countries)}
	r.policy.Store(e.policy.Load())
	r.base.Store(e.base.Load())
	r.sessions = sessions{rows: make([]session, 4), locks: make([]lock, 4), next: 1, due: 1}
	r.ids = ids{lines: make([]idCell, 1), locks: make([]lock, 1)}
	c := &e.countries[s.Country%countries]
	c.mu.Lock()
	to := &r.countries[s.Country%countries]
	to.countryState = c.countryState
	c.mu.Unlock()
	for i := range to.strangers {
		to.strangers[i].block = 0
	}

	k := e.keysOf(s.Number, networkOf(s.Client))
	r.numbers = copied(&e.numbers, e.hash(aboutNumber, s.Number))
	r.ranges = copied(&e.ranges, k.ranges[:]...)
	r.addresses = copied(&e.addresses, k.address, k.addrBlock)
	r.origins = copied(&e.origins, k.origin)
	r.accounts = copied(&e.accounts, e.hash(aboutAccount, s.Account))
	// Places in the list of blocks are those of the other engine.
	for i := range ways {
		r.numbers.cells[i].block, r.ranges.cells[i].block, r.addresses.cells[i].block = 0, 0, 0
	}
	return r
}

// copied is a table of one bucket with the cells of a few hashes.
func copied[T any](from *table[T], hashes ...uint64) table[T] {
	to := table[T]{heads: make([]head, 1), cells: make([]T, ways), locks: make([]lock, 1)}
	for i, h := range hashes {
		l := from.lock(h)
		if c, k := from.look(h); c != nil {
			to.heads[0].tag[i], to.heads[0].keep[i], to.cells[i] = uint32(h)|1, *k, *c
		}
		l.Unlock()
	}
	return to
}

// Evidence is what is known of one subject.
type Evidence struct {
	Subject Subject
	// Kind is the detector's, or that of the block in force.
	Kind Kind
	// Statistic trips at Threshold.
	Statistic, Threshold float64
	Sessions, Verified   int
	// BlockedUntil is in unix nanoseconds; 0 where there is no block.
	BlockedUntil int64
	// Confirmed says that the block rests on outcomes.
	Confirmed bool
	// Detail is for people.
	Detail string
}

// Evidence lists what is known of a send's number, and of all that it shares with others, narrow before broad. It changes nothing.
func (e *Engine) Evidence(s *Send) []Evidence {
	r := e.Rehearse(s) // a copy, so that nothing is locked while it is read
	now := r.tick(s.At)
	out := r.numberEvidence(s, now)
	n := networkOf(s.Client)
	k := r.keysOf(s.Number, n)
	for i, h := range k.ranges {
		if c := r.ranges.find(h); c != nil {
			x := r.told(&c.evidence, AITRange, subject(ScopeRange2+Scope(i), s.Number, s.Country, n), threshold+rangeExtra[i], now)
			x.Detail = fmt.Sprintf("by composition %.1f of %.1f", c.compose, threshold)
			out = append(out, x)
		}
	}
	if n.set {
		for i, h := range [...]uint64{k.address, k.addrBlock} {
			c := r.addresses.find(h)
			if c == nil {
				continue
			}
			x := r.told(&c.evidence, IPFanout, n.subject(ScopeAddress+Scope(i)), threshold, now)
			if i == 0 {
				passed := now.since(c.rated)
				x.Detail = fmt.Sprintf("%.1f sessions open, %.1f are free", float64(c.open)*decay(passed, minute),
					freeOpen+earnedOpen*float64(c.earned)*decay(passed, 6*hour))
			}
			out = append(out, x)
		}
	}
	c := &r.countries[s.Country%countries]
	for i := range c.strangers {
		x, of := &c.strangers[i], knownStrange+class(i)
		if x.outcome == 0 && x.until == never {
			continue
		}
		limit, kind := guessLimit, OTPBruteforce
		if of != guessed {
			limit, kind = strangersTrip[i], strangersKind(of)
		}
		out = append(out, r.told(x, kind, strangersSubject(s.Country, of), limit, now))
	}
	return out
}

func (e *Engine) numberEvidence(s *Send, now tick) []Evidence {
	h := e.hash(aboutNumber, s.Number)
	n := e.numbers.find(h)
	if n == nil {
		return nil
	}
	n.fade(now)
	known := "never verified"
	if n.verified > 0 || e.known.has(h) {
		known = "verified before"
	}
	to := Subject{Scope: ScopeNumber, Digits: s.Number, Country: s.Country}
	flood := Evidence{Subject: to, Kind: VictimFlood, Statistic: float64(n.victim), Threshold: victimLimit, Verified: int(n.verified), Detail: known}
	codes := Evidence{Subject: to, Kind: OTPBruteforce, Statistic: float64(n.failed), Threshold: bruteLimit, Verified: int(n.verified),
		Detail: fmt.Sprintf("%.1f wrong codes", n.failed)}
	if n.until > now {
		held := &flood
		if n.kind == OTPBruteforce {
			held = &codes
		}
		held.Kind, held.BlockedUntil, held.Confirmed = n.kind, e.nanos(n.until), true
	}
	if n.failed < .05 {
		return []Evidence{flood}
	}
	return []Evidence{flood, codes}
}

// told is the evidence of a shared key in public words.
func (e *Engine) told(c *evidence, kind Kind, s Subject, limit float64, now tick) Evidence {
	x := Evidence{Subject: s, Kind: kind, Statistic: float64(c.outcome), Threshold: limit, Sessions: int(c.sessions), Verified: int(c.verified)}
	if c.until > now {
		x.Kind, x.BlockedUntil, x.Confirmed = c.kind, e.nanos(c.until), c.confirmed
	}
	return x
}
