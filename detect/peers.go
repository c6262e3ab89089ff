package detect

import "net/netip"

// Watches says whether a send is judged at all.
func (e *Engine) Watches(s *Send) bool {
	return s.Purpose == OTP && s.Number != 0 && e.policy.Load().levelOf(s.Account) != LevelOff
}

// Active says that some account's sends are judged.
func (e *Engine) Active() bool {
	p := e.policy.Load()
	if p.Level != LevelOff {
		return true
	}
	for _, l := range p.Accounts {
		if l != LevelOff {
			return true
		}
	}
	return false
}

// Block finds a block on the list by its ID.
func (e *Engine) Block(id uint64) (Block, bool) {
	row, ok := e.blocks.get(id)
	return row.Block, ok
}

// ReleaseSubject is Release for who knows a block by what it is about, as another engine does. It returns how many there were.
func (e *Engine) ReleaseSubject(at int64, s Subject) (n int) {
	for _, b := range e.blocks.list(at) {
		if b.Subject == s && e.Release(at, b.ID) {
			n++
		}
	}
	return n
}

// AddressSubject is the subject of an address block; Scope is ScopeAddress or ScopeAddrBlock.
func AddressSubject(scope Scope, p netip.Prefix) Subject {
	s := Subject{Scope: scope, bits: uint8(p.Bits()), is4: p.Addr().Is4()}
	if s.is4 {
		a := p.Addr().As4()
		copy(s.addr[:], a[:])
	} else {
		s.addr = p.Addr().As16()
	}
	return s
}
