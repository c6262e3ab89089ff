package clientip

import (
	"errors"
	"net/netip"
	"strings"
)

// parseNode reads one address as proxies write it: 192.0.2.1, 192.0.2.1:443, 2001:db8::1, [2001:db8::1], [2001:db8::1]:443,
// each also with a zone, which is dropped. The answer is unmapped.
func parseNode(s string) (netip.Addr, bool) {
	if s == "" || len(s) > maxNode {
		return netip.Addr{}, false
	}
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !portOrNothing(s[end+1:]) {
			return netip.Addr{}, false
		}
		s = s[1:end]
		if strings.IndexByte(s, ':') < 0 {
			return netip.Addr{}, false // brackets are for IPv6 only
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i+1:], ':') < 0 {
		// A single colon: IPv4 with a port. An IPv6 address has two at least.
		if !portOrNothing(s[i:]) {
			return netip.Addr{}, false
		}
		s = s[:i]
	}
	// The zone is cut before parsing, because netip keeps zones in a process-wide table.
	if i := strings.IndexByte(s, '%'); i >= 0 {
		if i == len(s)-1 || strings.IndexByte(s[:i], ':') < 0 {
			return netip.Addr{}, false
		}
		s = s[:i]
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}

// maxNode is the longest text of one address: 45 characters of IPv6, brackets, zone and port with room.
const maxNode = 96

// portOrNothing accepts "" and ":" with 1 to 5 digits. RFC 7239 also allows an obfuscated port, ":_name".
func portOrNothing(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) == 1 {
		return false
	}
	if s[1] == '_' {
		return len(s) > 2 && isObfuscated(s[1:])
	}
	if len(s) > 6 {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// hidden tells that a proxy or caller knows no address or will not say it. "-" is what Envoy writes for an absent value.
func hidden(s string) bool {
	return strings.EqualFold(s, "unknown") || s == "-" || isObfuscated(s)
}

// isObfuscated: "_" 1*( ALPHA / DIGIT / "." / "_" / "-" ), RFC 7239 section 6.3.
func isObfuscated(s string) bool {
	if len(s) < 2 || s[0] != '_' {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// canonicalPrefix masks a range and makes an IPv4-mapped one IPv4.
func canonicalPrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, errors.New("not a range, write one like 10.0.0.0/8 or 2001:db8::/32")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	if p.Bits() == 0 {
		return p, errors.New("this trusts everybody, so that a client could write his own address: write the ranges of your proxies, or use trusted_hops")
	}
	return p, nil
}
