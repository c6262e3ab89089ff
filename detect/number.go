package detect

// What a number remembers: rhythm, scores, the address blocks it was asked from.

const verifiedOrigin = 1 << 15 // the owner verified from there

// fingerprint of an address or block: 15 bits, never 0.
func fingerprint(h uint64) uint16 { return uint16(h>>40)&0x7fff | 1 }

// fade brings the scores up to now.
func (n *numberCell) fade(now tick) {
	passed := now.since(n.scored)
	if n.victim != 0 {
		n.victim *= float32(decay(passed, 12*hour))
	}
	if n.failed != 0 {
		n.failed *= float32(decay(passed, bruteFade))
	}
	n.scored = max(n.scored, now)
}

// rhythm notes an attempt and returns how long after the last one it came, and whether from another address.
func (n *numberCell) rhythm(now tick, address uint16) (gap tick, moved bool) {
	gap = forever
	if n.try != never {
		gap = now.since(n.try)
	}
	n.try = max(n.try, now)
	if gap < machineGap {
		n.gaps = min(n.gaps+1, 254)
	} else {
		n.gaps = 0
	}
	if n.address[0] != address {
		moved = n.address[0] != 0
		if n.address[1] != address && n.address[1] != 0 {
			n.others = 1
		}
		n.address[0], n.address[1] = address, n.address[0]
	}
	return gap, moved
}

// visit notes an address block and says whether it was there before, and whether the owner verified there.
func (n *numberCell) visit(origin uint16) (first, seen, owner bool) {
	first = n.origins[0] == 0
	at := -1
	for i, x := range n.origins {
		if x&^verifiedOrigin|1 == origin&^verifiedOrigin|1 && x != 0 {
			at, seen, owner, origin = i, true, x&verifiedOrigin != 0, x
			break
		}
	}
	if at < 0 {
		// The oldest one where the owner did not verify makes room.
		at = len(n.origins) - 1
		for i := at; i > 0; i-- {
			if n.origins[i]&verifiedOrigin == 0 {
				at = i
				break
			}
		}
	}
	copy(n.origins[1:at+1], n.origins[:at])
	n.origins[0] = origin
	return first, seen, owner
}

// owns says whether the owner verified from an address block.
func (n *numberCell) owns(origin uint16) bool {
	for _, x := range n.origins {
		if x == origin|verifiedOrigin {
			return true
		}
	}
	return false
}

// own marks an address block as one where the owner verified.
func (n *numberCell) own(origin uint16) {
	n.visit(origin)
	n.origins[0] |= verifiedOrigin
}

// worth is how long the cell should be kept although nothing happens.
func (n *numberCell) worth() tick {
	switch {
	case n.failed >= 1 || n.victim >= 3:
		return 6 * hour
	case n.verified > 0:
		return 12 * hour
	}
	return 0
}
