package clientip_test

import (
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/clientip"
)

func TestResolve_forwarded(t *testing.T) {
	r := resolver(t, clientip.Config{Header: "Forwarded", TrustedProxies: prefixes(t, "10.0.0.0/8", "198.51.100.17/32", "2001:db8:cafe::17/128")})
	const proxy = "10.0.0.1"
	runWalks(t, r, []walkCase{
		// RFC 7239 section 4.
		{"rfc obfuscated", proxy, "", one(`for="_gazonk"`), proxy},
		{"rfc name in any case, port", proxy, "", one(`For="[2001:db8:cafe::18]:4711"`), "2001:db8:cafe::18"},
		{"rfc parameters", proxy, "", one(`for=192.0.2.60;proto=http;by=203.0.113.43`), "192.0.2.60"},
		{"rfc two hops", proxy, "", one(`for=192.0.2.43, for=198.51.100.17`), "192.0.2.43"},
		// Section 6.
		{"rfc port of ipv4", proxy, "", one(`for="192.0.2.43:47011"`), "192.0.2.43"},
		{"rfc port of ipv6", proxy, "", one(`for="[2001:db8:cafe::18]:47011"`), "2001:db8:cafe::18"},
		{"rfc obfuscated port", proxy, "", one(`for="192.0.2.43:_p-1.x"`), "192.0.2.43"},
		{"rfc two obfuscated", proxy, "", one(`for=_hidden, for=_SEVKISEK`), proxy},
		{"rfc unknown", proxy, "", one(`for=unknown`), proxy},
		// Section 7.1: all spellings of one list. The last proxy says "unknown", so nothing left of it counts.
		{"rfc list", proxy, "", one(`for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown`), proxy},
		{"rfc list with spaces", proxy, "", one(`for=192.0.2.43, for="[2001:db8:cafe::17]", for=unknown`), proxy},
		{"rfc list over lines", proxy, "", []string{`for=192.0.2.43`, `for="[2001:db8:cafe::17]", for=unknown`}, proxy},
		{"the same without unknown", proxy, "", []string{`for=192.0.2.43`, `for="[2001:db8:cafe::17]"`}, "192.0.2.43"},
		// Sections 7.4 and 7.5.
		{"rfc translated from x-forwarded-for", proxy, "", one(`for=192.0.2.43, for="[2001:db8:cafe::17]"`), "192.0.2.43"},
		{"rfc example usage", proxy, "", one(`for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com`), "192.0.2.43"},

		// adam-p, Forwarded Header Sabotage: what the client writes cannot spoil what the proxy appends.
		{"sabotage syntax of the header", proxy, "", one(`host="with,comma=equals;semicolon";for=1.1.1.1`), "1.1.1.1"},
		{"sabotage escaped quote", proxy, "", one(`ext="escaped\"quote";for=1.1.1.1`), "1.1.1.1"},
		{"sabotage bad name left of the client", proxy, "", one(`f*r=1.1.1.1, for=203.0.113.7`), "203.0.113.7"},
		{"sabotage open quote", proxy, "", one(`for="1.1.1.1, for=203.0.113.7`), "203.0.113.7"},
		{"sabotage open quote before a quoted client", proxy, "", one(`for="1.1.1.1, for="[2001:db8:1::7]"`), "2001:db8:1::7"},
		{"sabotage open quote and proxies", proxy, "", one(`for="x, for=203.0.113.7, for="10.0.0.2:80"`), "203.0.113.7"},
		{"sabotage backslash at the end", proxy, "", one(`for="1.1.1.1\, for="203.0.113.7"`), "203.0.113.7"},
		{"sabotage in another line", proxy, "", []string{`for="1.1.1.1`, `for=203.0.113.7`}, "203.0.113.7"},

		{"comma in quotes is no border", proxy, "", one(`for=203.0.113.7, for=10.0.0.2;host="a, for=6.6.6.6, b"`), "203.0.113.7"},
		{"semicolon in quotes", proxy, "", one(`host=";for=6.6.6.6;";for=203.0.113.7`), "203.0.113.7"},
		{"escaped characters in the address", proxy, "", one(`for="\2\0\3.0.113.7"`), "203.0.113.7"},
		{"escaped backslash before the closing quote", proxy, "", one(`for=203.0.113.7, host="a\\";for=10.0.0.2`), "203.0.113.7"},
		{"escaped quote and comma", proxy, "", one(`for=203.0.113.7, host="a\", for=6.6.6.6";for=10.0.0.2`), "203.0.113.7"},
		{"any order and case", proxy, "", one(`PROTO=https;By="_x";fOr=203.0.113.7`), "203.0.113.7"},
		{"spaces around semicolons", proxy, "", one(`for=203.0.113.7 ; proto=https ;`), "203.0.113.7"},
		{"unquoted address with port", proxy, "", one(`for=203.0.113.7:80`), "203.0.113.7"},
		{"unquoted ipv6", proxy, "", one(`for=[2001:db8:1::7]:80`), "2001:db8:1::7"},
		{"zone", proxy, "", one(`for="[fe80::7%eth0]"`), "fe80::7"},
		{"quoted ipv6 without brackets", proxy, "", one(`for="2001:db8:1::7"`), "2001:db8:1::7"},
		{"mapped", proxy, "", one(`for="[::ffff:203.0.113.7]"`), "203.0.113.7"},
		{"nat64", proxy, "", one(`for="[64:ff9b::203.0.113.7]"`), "203.0.113.7"},

		{"no for at all", proxy, "", one(`for=6.6.6.6, by=10.0.0.2;proto=https`), proxy},
		{"repeated for", proxy, "", one(`for=6.6.6.6;for=203.0.113.7`), proxy},
		{"repeated for, other case", proxy, "", one(`for=203.0.113.7;host=x;FOR=203.0.113.7`), proxy},
		{"space around equals", proxy, "", one(`for = 203.0.113.7`), proxy},
		{"space after equals", proxy, "", one(`for= 203.0.113.7`), proxy},
		{"no value", proxy, "", one(`for=`), proxy},
		{"empty quotes", proxy, "", one(`for=""`), proxy},
		{"text after the quotes", proxy, "", one(`for="203.0.113.7"x`), proxy},
		{"open quote at the right", proxy, "", one(`for=6.6.6.6, for="203.0.113.7`), proxy},
		{"closing quote only", proxy, "", one(`for=6.6.6.6, for=203.0.113.7"`), proxy},
		{"backslash outside quotes", proxy, "", one(`for=6.6.6.6, for=203.0.113\.7`), proxy},
		{"escaped closing quote", proxy, "", one(`for=6.6.6.6, for="203.0.113.7\"`), proxy},
		{"a bad parameter after a good for", proxy, "", one(`for=6.6.6.6, for=203.0.113.7;pro to=https`), proxy},
		{"empty element", proxy, "", one(`for=6.6.6.6,,for=10.0.0.2`), "10.0.0.2"},
		{"not this header at all", proxy, "", one(`203.0.113.7`), proxy},
		{"obfuscated name with a bad character", proxy, "", one(`for=6.6.6.6, for=_hid!den`), proxy},
		{"broadcast", proxy, "", one(`for=6.6.6.6, for=255.255.255.255`), proxy},
		{"long value with escapes", proxy, "", one(`for="` + strings.Repeat(`\1`, 200) + `"`), proxy},
		{"element of a megabyte", proxy, "", one(`for=6.6.6.6, for=203.0.113.7;host="` + strings.Repeat(`a`, 1<<20) + `"`), proxy},
		{"megabyte of quotes", proxy, "", one(strings.Repeat(`"`, 1<<20)), proxy},
		{"10000 elements, the client at the right", proxy, "", one(strings.Repeat(`for=10.0.0.3, `, 10000) + `for=203.0.113.7`), "203.0.113.7"},
		{"untrusted peer", "203.0.113.9", "", one(`for=192.0.2.43`), "203.0.113.9"},
	})
}
