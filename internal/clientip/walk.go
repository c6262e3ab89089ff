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
	unread := false // line has elements left
	line := ""
	for hop := 0; hop < maxHops && r.believes(addr, hop); hop++ {
		if !unread {
			if len(lines) == 0 {
				break
			}
			line, lines = lines[len(lines)-1], lines[:len(lines)-1]
		}
		var element string
		element, line, unread = r.lastElement(line)
		next, ok := r.node(element)
		if !ok {
			break
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

// lastElement cuts the right-most element off a header line; more tells that a comma stands left of it.
// An element that is too long or ends in an open quote comes back as "", which names no address.
func (r *Resolver) lastElement(line string) (element, rest string, more bool) {
	from := max(0, len(line)-maxElement-1)
	var comma int
	if r.forwarded {
		comma = lastComma(line[from:])
	} else {
		comma = strings.LastIndexByte(line[from:], ',')
	}
	if comma >= 0 {
		return line[from+comma+1:], line[:from+comma], true
	}
	if len(line) > maxElement {
		return "", "", false
	}
	return line, "", false
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
