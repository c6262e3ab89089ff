package clientip

import (
	"net/netip"
	"strings"
)

// lastComma finds, from the right, the last comma outside quotes; -1 if there is none.
//
// It must be read from the right. A client can send an open quote, and the proxy appends to it:
//
//	Forwarded: for="1.1.1.1, for=203.0.113.7
//
// Read from the left, the quoted string swallows what the proxy wrote (adam-p, "Forwarded Header Sabotage"). From the
// right, the element of the proxy is whole, and the broken one stands left of it.
func lastComma(line string) int {
	quoted := false
	for i := len(line) - 1; i >= 0; i-- {
		switch line[i] {
		case '"':
			if !quoted || !escaped(line[:i]) {
				quoted = !quoted
			}
		case ',':
			if !quoted {
				return i
			}
		}
	}
	return -1
}

// escaped tells whether the text ends in an odd number of backslashes.
func escaped(before string) bool {
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}

// forwardedFor reads one forwarded-element of RFC 7239 section 4 and returns the address of its "for".
// The element must be well formed from end to end, with one "for" only; otherwise the answer is false.
func forwardedFor(s string) (netip.Addr, bool) {
	var addr netip.Addr
	seen := false
	for {
		name, rest := cutToken(s)
		if name != "" {
			if len(rest) == 0 || rest[0] != '=' {
				return netip.Addr{}, false
			}
			isFor := strings.EqualFold(name, "for")
			if isFor && seen {
				return netip.Addr{}, false // RFC 7239 section 4: a parameter occurs once
			}
			value, after, ok := cutValue(rest[1:])
			if !ok {
				return netip.Addr{}, false
			}
			if isFor {
				seen = true
				if addr, ok = parseValue(value); !ok {
					return netip.Addr{}, false
				}
			}
			rest = after
		}
		rest = trimSpace(rest) // the RFC has no space around ";", proxies write it
		if rest == "" {
			return addr, seen
		}
		if rest[0] != ';' {
			return netip.Addr{}, false
		}
		s = trimSpace(rest[1:])
	}
}

// parseValue reads a token or a quoted-string, quotes included, as an address.
func parseValue(value string) (netip.Addr, bool) {
	var buf [maxNode]byte
	if value[0] == '"' {
		value = value[1 : len(value)-1]
		if strings.IndexByte(value, '\\') >= 0 {
			n := 0
			for i := 0; i < len(value); i++ {
				if value[i] == '\\' {
					i++
				}
				if n == len(buf) {
					return netip.Addr{}, false
				}
				buf[n] = value[i]
				n++
			}
			value = string(buf[:n])
		}
	}
	addr, ok := parseNode(value)
	return addr, ok && unusable(addr) == ""
}

func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// cutValue cuts a token or a quoted-string (with its quotes) off the front. False if there is neither or the quote stays open.
//
// Beyond the RFC, an unquoted value may have the bytes of an address (":", "[", "]"): nginx configurations and others write for=192.0.2.1:443.
func cutValue(s string) (value, rest string, ok bool) {
	if s == "" {
		return "", "", false
	}
	if s[0] != '"' {
		i := 0
		for i < len(s) && (isTokenByte(s[i]) || s[i] == ':' || s[i] == '[' || s[i] == ']') {
			i++
		}
		return s[:i], s[i:], i > 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i+1], s[i+1:], true
		}
	}
	return "", "", false
}

// isToken tells whether s is a token of RFC 9110 section 5.6.2, which is what header names are.
func isToken(s string) bool {
	token, rest := cutToken(s)
	return token != "" && rest == ""
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
