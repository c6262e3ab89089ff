package detect

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// What a hash is about, so that equal integers of different meaning do not meet in one table.
const (
	aboutNumber = iota + 1
	aboutAccount
	aboutAddress
	aboutAddrBlock
	aboutHome
	aboutSend
	aboutSpray
	aboutRange // + masked digits
)

// hash mixes a key with the secret seed: two rounds of a 64 by 64 bit multiplication folded, as in wyhash. Without the seed
// nobody can choose keys that share a bucket.
func (e *Engine) hash(about uint64, key uint64) uint64 {
	hi, lo := bits.Mul64(key^e.seed, e.seed2^about*0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^e.seed2, 0xa0761d6478bd642f^key)
	return hi ^ lo
}

// network is what is kept of a client address: the IPv4 address or the upper half of an IPv6 address, which is where one
// household begins.
type network struct {
	bits uint64
	is4  bool
	set  bool
}

func networkOf(a netip.Addr) network {
	if !a.IsValid() {
		return network{}
	}
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return network{bits: uint64(binary.BigEndian.Uint32(b[:])), is4: true, set: true}
	}
	b := a.As16()
	return network{bits: binary.BigEndian.Uint64(b[:8]), set: true}
}

// block is the /24 or /48, home the /16 or /32: about one provider.
func (n network) block() uint64 {
	if n.is4 {
		return n.bits>>8 | 1<<62
	}
	return n.bits >> 16
}

func (n network) home() uint64 {
	if n.is4 {
		return n.bits>>16 | 1<<62
	}
	return n.bits >> 32
}

func (n network) address() uint64 {
	if n.is4 {
		return n.bits | 1<<62 // no global IPv6 address begins with 01
	}
	return n.bits
}

func (n network) subject(scope Scope) Subject {
	s := Subject{Scope: scope, is4: n.is4}
	if n.is4 {
		binary.BigEndian.PutUint32(s.addr[:], uint32(n.bits))
		s.bits = 32
		if scope == ScopeAddrBlock {
			s.bits, s.addr[3] = 24, 0
		}
		return s
	}
	binary.BigEndian.PutUint64(s.addr[:], n.bits)
	s.bits = 64
	if scope == ScopeAddrBlock {
		s.bits, s.addr[6], s.addr[7] = 48, 0, 0
	}
	return s
}

var pow10 = [...]uint64{1, 10, 100, 1000, 10_000, 100_000, 1_000_000}

// keys are the hashes of everything a session is evidence about.
type keys struct {
	ranges                     [5]uint64
	address, addrBlock, origin uint64
}

func (e *Engine) keysOf(number uint64, n network) (k keys) {
	for i := range k.ranges {
		k.ranges[i] = e.hash(aboutRange+uint64(i), number/pow10[i+2])
	}
	if n.set {
		k.address = e.hash(aboutAddress, n.address())
		k.addrBlock = e.hash(aboutAddrBlock, n.block())
		k.origin = e.hash(aboutHome, n.home())
	}
	return k
}
