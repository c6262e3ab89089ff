package clientip

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrNone says that the request names no client address at all. Policy decides what to do then (missing_client).
var ErrNone = errors.New("no client address: send the address of the end user")

// AddrError tells why an address given by the caller cannot be a client address. It never carries the text that was given.
type AddrError struct {
	Reason string // what is wrong and what to send instead
}

func (e *AddrError) Error() string { return "client address: " + e.Reason }

// Config tells which addresses are believed. The zero Config trusts nobody: the explicit address counts, else the peer.
type Config struct {
	// TrustedProxies are the ranges of our own proxies. Excludes TrustedHops. Default none.
	TrustedProxies []netip.Prefix
	// TrustedHops is the number of proxies between the internet and us, the peer being the first: with 1 the right-most
	// entry is the client. 0 to 32, default 0. Every peer is believed, see the package comment.
	TrustedHops int
	// TrustUnix trusts peers without an address, which are those on a unix socket. With TrustedHops they are the first hop.
	TrustUnix bool
	// Header names the one header that counts. "forwarded" is read as RFC 7239, every other name as a list of addresses.
	// Default "x-forwarded-for".
	Header string
	// NAT64 are further RFC 6052 prefixes of length 32, 40, 48, 56, 64 or 96. 64:ff9b::/96 is always known.
	NAT64 []netip.Prefix
	// IPv6Prefix is the width at which IPv6 clients are counted, 32 to 128. Default 64, the smallest block a customer gets.
	IPv6Prefix int
}

// Resolver finds client addresses. It is immutable and safe for concurrent use.
type Resolver struct {
	proxies   []netip.Prefix
	hops      int
	unix      bool
	header    string
	forwarded bool
	nat64     []netip.Prefix
	tier      Tier
}

// New checks the configuration. All problems are told at once.
func New(c Config) (*Resolver, error) {
	r := &Resolver{hops: c.TrustedHops, unix: c.TrustUnix, header: strings.ToLower(c.Header)}
	if r.header == "" {
		r.header = "x-forwarded-for"
	}
	r.forwarded = r.header == "forwarded"

	var errs []error
	if !isToken(r.header) {
		errs = append(errs, fmt.Errorf("header %q: write one header name, such as x-forwarded-for or forwarded, never several", c.Header))
	}
	if c.TrustedHops < 0 || c.TrustedHops > maxHops {
		errs = append(errs, fmt.Errorf("trusted_hops %d: write 0 to %d", c.TrustedHops, maxHops))
	}
	if c.TrustedHops > 0 && len(c.TrustedProxies) > 0 {
		errs = append(errs, errors.New("trusted_hops and trusted_proxies: write one of the two"))
	}
	for _, p := range c.TrustedProxies {
		q, err := canonicalPrefix(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted_proxies %s: %w", p, err))
		}
		r.proxies = append(r.proxies, q)
	}
	for _, p := range c.NAT64 {
		if err := checkNAT64(p); err != nil {
			errs = append(errs, fmt.Errorf("nat64 %s: %w", p, err))
		}
		r.nat64 = append(r.nat64, p.Masked())
	}
	if c.IPv6Prefix == 0 {
		c.IPv6Prefix = 64
	}
	tier, err := NewTier(32, c.IPv6Prefix)
	if err != nil {
		errs = append(errs, fmt.Errorf("ipv6_prefix: %w", err))
	}
	r.tier = tier
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// Header is the lower-case name of the header whose lines Resolve wants.
func (r *Resolver) Header() string { return r.header }

// Tier is the width at which clients are counted: IPv4 /32 and IPv6 at the configured prefix.
func (r *Resolver) Tier() Tier { return r.tier }

// Trusted tells whether the address is one of our own proxies by TrustedProxies.
// A resolved address that is trusted stands for all clients whom that proxy hides.
func (r *Resolver) Trusted(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if r.listed(addr) {
		return true
	}
	c := r.canonical(addr)
	return c != addr && r.listed(c)
}

func (r *Resolver) listed(addr netip.Addr) bool {
	for _, p := range r.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Resolve returns the client address in canonical form.
//
// The explicit address counts if it is not empty: only a caller who may speak for his clients can be let to set it.
// It may carry a port, brackets or a zone; "unknown", "-" and obfuscated names mean ErrNone, other text that is no address is an *AddrError.
// Else the peer counts, and if the peer is trusted the lines of the header named by [Resolver.Header], in the order they came.
// The peer is the zero Addr for unix sockets. With no address from any of these the error is ErrNone.
//
// Resolve looks at 32 hops at most, of 1 KiB each, from the right; it does not allocate unless it returns an *AddrError or meets malformed entries.
func (r *Resolver) Resolve(peer netip.Addr, explicit string, header []string) (netip.Addr, error) {
	if explicit != "" {
		return r.explicit(explicit)
	}
	addr := r.walk(peer.WithZone("").Unmap(), header)
	if !addr.IsValid() {
		return netip.Addr{}, ErrNone
	}
	addr = r.canonical(addr)
	if reason := unusable(addr); reason != "" {
		return netip.Addr{}, &AddrError{reason}
	}
	return addr, nil
}

func (r *Resolver) explicit(text string) (netip.Addr, error) {
	text = trimSpace(text)
	if hidden(text) {
		return netip.Addr{}, ErrNone
	}
	addr, ok := parseNode(text)
	if !ok {
		return netip.Addr{}, &AddrError{"not an IP address: send an address like 203.0.113.7 or 2001:db8::7, without a name"}
	}
	addr = r.canonical(addr)
	if reason := unusable(addr); reason != "" {
		return netip.Addr{}, &AddrError{reason}
	}
	return addr, nil
}

// unusable tells why an address cannot be that of a client, or "".
func unusable(addr netip.Addr) string {
	switch {
	case addr.IsUnspecified():
		return "it is the unspecified address (0.0.0.0 or ::): send the address of the end user, or none if it is not known"
	case addr.IsMulticast(), addr == broadcast:
		return "it is a multicast or broadcast address: send the address of the end user, or none if it is not known"
	}
	return ""
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
