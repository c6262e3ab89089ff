// Package clientip finds the address of the end user for whom a send is asked, and the block of addresses that is counted as one.
//
// A limit is as good as its key. A client can write any X-Forwarded-For or Forwarded line he likes, and each proxy only adds
// to the right of it. So the header is read from right to left, and only as long as the address that wrote the entry is trusted:
//
//	X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2      peer 10.0.0.1
//	                 claim    the client   proxy         proxy           (trusted: 10.0.0.0/8)
//
// Anything left of the first stranger is his own claim and is never looked at. There is no mode that takes the left-most entry.
//
//	r, err := clientip.New(clientip.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
//	addr, err := r.Resolve(peer, "", req.Header["X-Forwarded-For"])
//	key = r.Tier().AppendKey(key, addr)
//
// # What ends the walk
//
// "unknown", obfuscated names ("_hidden"), empty elements, elements without an address, malformed text, an element longer than
// 1 KiB, and the 32nd hop all end the walk. The answer is then the last address to the right of that place: the nearest one that we can vouch for.
// It is the address of a proxy, so all clients whom that proxy hides share it; [Resolver.Trusted] tells, for callers who rather
// treat such a send as one without an address. If there is no such address (a unix socket) the answer is [ErrNone].
//
// # Canonical form
//
// Addresses leave this package in one spelling: without zone and port, IPv4-mapped addresses (::ffff:192.0.2.1) and NAT64
// addresses (RFC 6052) as IPv4.
//
// # Caveats
//
// A hop count believes every peer, and every proxy must append exactly one entry: use it only if nobody can reach
// the sidecar past the proxies. Proxy ranges are checked at each hop and do not have this weakness.
package clientip
