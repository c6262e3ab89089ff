package policy

// AppendKey appends the key under which rules that count by these parts, sorted, count a send: the bytes that Plan builds. It
// reports false when the send has no such key, which only a client address can cause.
func (p *Policy) AppendKey(b []byte, by []Part, s *Send) ([]byte, bool) {
	g := newGroup(by)
	return g.appendKey(b, s, &p.ClientAddress, p.index.tier)
}
