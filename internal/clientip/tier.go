package clientip

import (
	"fmt"
	"net/netip"
)

// Tier is a width at which clients are counted: a rule may count a whole /24, /56 or /48 beside the single client.
// Further tiers are NewTier(24, 56) and NewTier(24, 48).
type Tier struct {
	v4, v6 uint8
}

// NewTier takes prefix lengths: v4 from 8 to 32, v6 from 32 to 128.
// A home or a phone has at least a /64 of its own, so a v6 above 64 lets one client be many.
func NewTier(v4, v6 int) (Tier, error) {
	if v4 < 8 || v4 > 32 {
		return Tier{}, fmt.Errorf("IPv4 prefix length %d: write 8 to 32, such as 32 or 24", v4)
	}
	if v6 < 32 || v6 > 128 {
		return Tier{}, fmt.Errorf("IPv6 prefix length %d: write 32 to 128, such as 64, 56 or 48", v6)
	}
	return Tier{uint8(v4), uint8(v6)}, nil
}

// Prefix is the block that the address counts in. The zero Addr has the zero Prefix.
func (t Tier) Prefix(addr netip.Addr) netip.Prefix {
	if addr.Unmap().Is4() {
		return Block(addr, int(t.v4))
	}
	return Block(addr, int(t.v6))
}

// AppendKey appends a compact key of the block: one byte for family and length, then only the bytes that the prefix covers.
// Two addresses have the same key if and only if they have the same Prefix. The zero Addr appends the single byte 0.
func (t Tier) AppendKey(b []byte, addr netip.Addr) []byte { return AppendBlock(b, t.Prefix(addr)) }

// Block masks an address to its first bits. IPv4-mapped addresses are IPv4, zones are dropped, and bits
// beyond the address family are the whole address. A negative length or the zero Addr give the zero Prefix.
func Block(addr netip.Addr, bits int) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	p, err := addr.Prefix(min(bits, addr.BitLen()))
	if err != nil || !addr.IsValid() {
		return netip.Prefix{}
	}
	return p
}

// AppendBlock appends the key of a block, as Tier.AppendKey does. The block must be masked, as Block returns it.
func AppendBlock(b []byte, p netip.Prefix) []byte {
	if !p.IsValid() {
		return append(b, 0)
	}
	n := (p.Bits() + 7) / 8
	if p.Addr().Is4() {
		// 1 to 33 is IPv4, 64 to 192 is IPv6, so that families never meet.
		a := p.Addr().As4()
		return append(append(b, byte(1+p.Bits())), a[:n]...)
	}
	a := p.Addr().As16()
	return append(append(b, byte(64+p.Bits())), a[:n]...)
}
