package lists

import (
	"math"
	"math/bits"
	"net/netip"
	"time"
)

// Query is one send. The zero value of a field matches no entry.
type Query struct {
	Number  uint64     // E.164 digits without the +
	Country string     // of the number, ISO 3166 alpha-2 in upper case
	Address netip.Addr // of the client, in the form that clientip gives
	Account string     // that pays
}

// Match is one entry that matched, or none. It stays valid when the set it comes from is replaced.
type Match struct {
	set *Set
	at  ref
}

// OK tells whether there is an entry.
func (m Match) OK() bool { return m.set != nil }

// Entry is the entry that matched. It is only for matches that are OK.
func (m Match) Entry() Entry { return m.set.entry(m.at) }

// over tells whether a match is there and more specific than another. It reads the records only if both are there.
func (m Match) over(o Match) bool {
	if !m.OK() || !o.OK() {
		return m.OK()
	}
	return m.rank() > o.rank()
}

func (m Match) rank() int { return m.set.records[m.at.at()].target.rank() }

// or returns the more specific of two matches; m if they are alike.
func (m Match) or(o Match) Match {
	if o.over(m) {
		return o
	}
	return m
}

// Hit is what one list has for a send, in its dimensions.
type Hit struct {
	Number  Match // by number, range, prefix or country
	Address Match // by address or CIDR
	Account Match // by account, of the block list only
}

// OK tells whether the list has an entry for the send.
func (h Hit) OK() bool { return h.Number.OK() || h.Address.OK() || h.Account.OK() }

// Match is the entry to tell people about: the one for the number, else the one for the address, else the one for the account.
func (h Hit) Match() Match {
	if h.Number.OK() {
		return h.Number
	}
	if h.Address.OK() {
		return h.Address
	}
	return h.Account
}

// Result is what all lists have for a send.
type Result struct {
	Allow, Block, Test Hit
}

// Merge adds what another set has for the same send. The more specific entry counts, and the one of r between equals.
func (r Result) Merge(o Result) Result {
	merge := func(a, b Hit) Hit {
		return Hit{Number: a.Number.or(b.Number), Address: a.Address.or(b.Address), Account: a.Account.or(b.Account)}
	}
	return Result{Allow: merge(r.Allow, o.Allow), Block: merge(r.Block, o.Block), Test: merge(r.Test, o.Test)}
}

// Standing is what allow and block lists say together.
type Standing uint8

// The standings. Blocked: deny. Allowed: what limits and detection say is not enforced.
const (
	Unlisted Standing = iota
	Blocked
	Allowed
)

// Standing weighs the allow list against the block list and returns the entry that decided.
//
// In each dimension, number and address, the more specific entry wins and a block wins between equals: +6591234567 allowed
// is let through a block of +6591*, but not through a block of +6591234567. The dimensions do not excuse each other: an
// allowed number is still blocked from a blocked address. Nothing excuses a blocked account.
//
// Allowed waives detection and limits, as the policy says of its lists, but never an opt-out: the caller asks consent first.
func (r Result) Standing() (Standing, Match) {
	if r.Block.Number.OK() && !r.Allow.Number.over(r.Block.Number) {
		return Blocked, r.Block.Number
	}
	if r.Block.Address.OK() && !r.Allow.Address.over(r.Block.Address) {
		return Blocked, r.Block.Address
	}
	if r.Block.Account.OK() {
		return Blocked, r.Block.Account
	}
	if r.Allow.OK() {
		return Allowed, r.Allow.Match()
	}
	return Unlisted, Match{}
}

// maxSealers bounds the secrets of a store, as each costs one HMAC a lookup.
const maxSealers = 4

// Lookup finds, for one send, the most specific entry of each list that has not expired at that time.
// It does not allocate. In a Store an exact number costs an HMAC, unless the digits that masks show tell that it is not there.
func (s *Set) Lookup(q Query, now time.Time) Result {
	var r Result
	if s.live == 0 {
		return r
	}
	l := look{set: s, now: now, account: q.Account, address: q.Address.Unmap().WithZone("")}
	if l.address.IsValid() {
		l.single = l.address.As16()
		copy(l.client[:8], l.single[:])
	}
	if len(q.Country) == 2 {
		l.country = [2]byte{q.Country[0], q.Country[1]}
	}
	if n := digitCount(q.Number); n > 0 && n <= maxDigits {
		l.digits, l.length = q.Number, n
		if s.lists[Allow].numbers.n+s.lists[Block].numbers.n+s.lists[Test].numbers.n > 0 {
			l.seal(q.Number)
		}
	}
	r.Allow = l.in(&s.lists[Allow])
	r.Block = l.in(&s.lists[Block])
	r.Test = l.in(&s.lists[Test])
	return r
}

// look is one lookup under way: the send in the forms that the indexes want.
type look struct {
	set     *Set
	now     time.Time
	digits  uint64 // of the number
	length  int    // of the number, 0 for none
	keys    [maxSealers]key
	n       int // of keys
	country [2]byte
	account string
	address netip.Addr
	single  key // address, IPv4 as mapped
	client  key // its first 64 bits
}

func (l *look) seal(digits uint64) {
	if l.set.sealers == nil {
		l.keys[0], l.n = plainKey(digits), 1
		return
	}
	if l.length < minDigits || !l.set.ends.has(digits, l.length) {
		return
	}
	for _, k := range l.set.sealers {
		l.keys[l.n] = k.seal(digits)
		l.n++
	}
}

func (l *look) in(x *index) (hit Hit) {
	if l.length > 0 {
		for i := 0; i < l.n && !hit.Number.OK(); i++ {
			hit.Number = l.exact(&x.numbers, &l.keys[i])
		}
		if !hit.Number.OK() {
			hit.Number = l.byDigits(x)
		}
	}
	if !hit.Number.OK() && len(x.countries) > 0 {
		if at, ok := x.countries[l.country]; ok {
			hit.Number = l.match(at)
		}
	}
	if len(x.accounts) > 0 {
		if at, ok := x.accounts[l.account]; ok {
			hit.Account = l.match(at)
		}
	}
	if l.address.IsValid() {
		hit.Address = l.exact(&x.singles, &l.single)
		if !hit.Address.OK() && l.address.Is6() {
			hit.Address = l.exact(&x.clients, &l.client)
		}
		if !hit.Address.OK() || x.longer {
			hit.Address = hit.Address.or(l.longest(x.cidrs, l.address))
		}
	}
	return hit
}

// match is none if the entry has expired.
func (l *look) match(at ref) Match {
	if at&mayExpire != 0 && l.set.records[at.at()].expires <= nanos(l.now, math.MinInt64) {
		return Match{}
	}
	return Match{l.set, at}
}

// byDigits finds the range or prefix that fixes the most digits and has not expired; a range before a prefix.
func (l *look) byDigits(x *index) Match {
	ranges, prefixes := x.fixed[l.length], x.fixed[0]
	for left := ranges | prefixes; left != 0; {
		n := bits.Len16(left) - 1
		left &^= 1 << n
		if n > l.length {
			continue
		}
		begin := l.digits / tens[l.length-n]
		if ranges>>n&1 != 0 {
			k := digitKey(begin, n, l.length)
			if m := l.exact(&x.digits, &k); m.OK() {
				return m
			}
		}
		if prefixes>>n&1 != 0 {
			k := digitKey(begin, n, 0)
			if m := l.exact(&x.digits, &k); m.OK() {
				return m
			}
		}
	}
	return Match{}
}

// exact is none if there is no such key, or if it has expired.
func (l *look) exact(x *exact, k *key) Match {
	if x.n == 0 {
		return Match{}
	}
	at, ok := x.find(k)
	if !ok {
		return Match{}
	}
	return l.match(at)
}

// longest finds the longest prefix that has not expired.
func (l *look) longest(t *trie, addr netip.Addr) Match {
	if t.Size() == 0 {
		return Match{}
	}
	at, ok := t.Lookup(addr)
	if !ok {
		return Match{}
	}
	m := l.match(at)
	// Only if the longest has expired: go on to the shorter ones, one by one.
	for p := netip.PrefixFrom(addr, addr.BitLen()); !m.OK(); {
		found, at, ok := t.LookupPrefixLPM(p)
		if !ok {
			break
		}
		m = l.match(at)
		if found.Bits() == 0 {
			break
		}
		p = netip.PrefixFrom(found.Addr(), found.Bits()-1).Masked()
	}
	return m
}
