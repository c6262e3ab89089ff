package detect

// Enumeration: numbers are probed for accounts, at endpoints that act only for accounts that exist. The traffic looks like a
// fan-out or a pumped range and is found by the same statistics; what it is called follows from the endpoints.
const probedPortion = .9

// probed says that the sessions asked for accounts that exist, nearly all of them.
func (c *evidence) probed() bool {
	return c.sessions > 0 && float64(c.lookups) >= probedPortion*float64(c.sessions)
}

// rangeKind names what happens to a range.
func (c *evidence) rangeKind(scope Scope) Kind {
	switch {
	case scope == ScopeOperator:
		return ConversionCollapse
	case c.probed():
		return Enumeration
	}
	return AITRange
}
