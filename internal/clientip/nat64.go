package clientip

import (
	"errors"
	"net/netip"
)

// wellKnownNAT64 is 64:ff9b::/96, RFC 6052 section 2.1.
var wellKnownNAT64 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x00, 0x64, 0xff, 0x9b}), 96)

// canonical makes a NAT64 address IPv4 and leaves others alone. The address must be unmapped and without a zone.
func (r *Resolver) canonical(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	for _, p := range r.nat64 {
		if p.Contains(addr) {
			if v4, ok := embedded(addr, p.Bits()); ok {
				return v4
			}
		}
	}
	// RFC 6052 section 3.1: the well-known prefix never stands for a private address. Without this check
	// 64:ff9b::10.0.0.1 would pass for a trusted proxy.
	if wellKnownNAT64.Contains(addr) {
		if v4, _ := embedded(addr, 96); !v4.IsPrivate() && v4.IsGlobalUnicast() {
			return v4
		}
	}
	return addr
}

// embedded takes the IPv4 address out of a NAT64 address whose prefix has that many bits, RFC 6052 section 2.2.
// Byte 8 ("u") is jumped over and must be zero; the suffix is ignored, as the RFC wants.
func embedded(addr netip.Addr, bits int) (netip.Addr, bool) {
	b := addr.As16()
	if b[8] != 0 {
		return netip.Addr{}, false
	}
	var v4 [4]byte
	at := bits / 8
	for i := range v4 {
		if at == 8 {
			at++
		}
		v4[i] = b[at]
		at++
	}
	return netip.AddrFrom4(v4), true
}

func checkNAT64(p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() {
		return errors.New("not an IPv6 prefix, write one like 2001:db8:64::/96")
	}
	switch p.Bits() {
	case 32, 40, 48, 56, 64, 96:
	default:
		return errors.New("write a prefix of length 32, 40, 48, 56, 64 or 96 (RFC 6052)")
	}
	if p.Addr().As16()[8] != 0 {
		return errors.New("bits 64 to 71 must be zero (RFC 6052 section 2.2)")
	}
	return nil
}
