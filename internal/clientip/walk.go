package clientip

import (
	"net/netip"
	"strings"
)

const (
	maxHops    = 32   // more proxies than any real chain has
	maxElement = 1024 // bytes of one element; a longer one is not written by a proxy of ours
)

// walk goes from the peer to the left for as long as the current address is trusted, and returns where it stops.
// INVARIANT: an entry is read only after the one to its right, who wrote it, was found to be trusted.
func (r *Resolver) walk(addr netip.Addr, lines []string) netip.Addr {
	line := len(lines) - 1
	rest := "" // the unread left part of lines[line+1]
	fresh := false
	for hop := 0; hop < maxHops && r.believes(addr, hop); hop++ {
		if !fresh {
			if line < 0 {
				return addr
			}
			rest, fresh = lines[line], true
			line--
		}
		element, left, more, ok := r.lastElement(rest)
		if !ok {
			return addr
		}
		rest, fresh = left, more
		next, ok := r.node(element)
		if !ok {
			return addr
		}
		addr = next
	}
	return addr
}

// believes tells whether the entry written by this address may be read. Hop 0 is the peer, who has no address on a unix socket.
func (r *Resolver) believes(addr netip.Addr, hop int) bool {
	if !addr.IsValid() {
		return hop == 0 && r.unix
	}
	if r.hops > 0 {
		return hop < r.hops
	}
	return len(r.proxies) > 0 && r.Trusted(addr)
}

// lastElement cuts the right-most element off a header line. The rest is what stands left of the comma, if there was one.
func (r *Resolver) lastElement(line string) (element, rest string, more, ok bool) {
	from := max(0, len(line)-maxElement)
	comma := -1
	if r.forwarded {
		comma, ok = lastComma(line, from)
		if !ok {
			return "", "", false, false
		}
	} else {
		comma = from + strings.LastIndexByte(line[from:], ',')
		if comma < from {
			comma = -1
		}
	}
	if comma < 0 {
		return line, "", false, from == 0
	}
	return line[comma+1:], line[:comma], true, true
}

// node reads the address of one element. False for everything that names no address a client can have.
func (r *Resolver) node(element string) (netip.Addr, bool) {
	element = trimSpace(element)
	if r.forwarded {
		return forwardedFor(element)
	}
	addr, ok := parseNode(element)
	return addr, ok && unusable(addr) == ""
}

// trimSpace takes off the white space of HTTP (OWS).
func trimSpace(s string) string { return strings.Trim(s, " \t") }
