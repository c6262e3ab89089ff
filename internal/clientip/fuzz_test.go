package clientip_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/clientip"
)

// The reference: split everything, then go from the right. It is slow and short; the fuzzers compare Resolve with it.
var (
	refNode    = regexp.MustCompile(`^(?s:\[([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(?:%[^\]]+)?\]|([0-9.]+)|([0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)%.+|([0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*))$`)
	refPort    = regexp.MustCompile(`^((?s:\[.*\])|[0-9.]+):(?:[0-9]{1,5}|_[A-Za-z0-9._-]+)$`)
	refPair    = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+=(?:[!#$%&'*+\\-.^_`|~0-9A-Za-z:\\[\\]]+|\"(?:[^\"\\\\]|\\\\.)*\")"
	refElement = regexp.MustCompile(`^(?s:[ \t]*(?:` + refPair + `)?(?:[ \t]*;[ \t]*(?:` + refPair + `)?)*[ \t]*)$`)
	refPairs   = regexp.MustCompile(`(?s:` + refPair + `)`)
	refEscape  = regexp.MustCompile(`(?s:\\(.))`)
)

// refElements lists the elements from right to left. An element of Forwarded is the shortest text after a comma that is well formed.
func refElements(lines []string, forwarded bool) (out []string) {
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for {
			at := strings.LastIndexByte(rest, ',')
			for forwarded && at >= 0 && !refElement.MatchString(rest[at+1:]) {
				at = strings.LastIndexByte(rest[:at], ',')
			}
			out = append(out, rest[at+1:])
			if at < 0 {
				break
			}
			rest = rest[:at]
		}
	}
	return out
}

func refAddr(element string, forwarded bool) (netip.Addr, bool) {
	node := strings.Trim(element, " \t")
	if len(element) > 1024 {
		return netip.Addr{}, false
	}
	if forwarded {
		if !refElement.MatchString(element) {
			return netip.Addr{}, false
		}
		var values []string
		for _, pair := range refPairs.FindAllString(element, -1) {
			if name, value, _ := strings.Cut(pair, "="); strings.EqualFold(name, "for") {
				values = append(values, value)
			}
		}
		if len(values) != 1 {
			return netip.Addr{}, false
		}
		node = values[0]
		if node[0] == '"' {
			node = refEscape.ReplaceAllString(node[1:len(node)-1], "$1")
		}
	}
	if len(node) > 96 {
		return netip.Addr{}, false
	}
	if m := refPort.FindStringSubmatch(node); m != nil {
		node = m[1]
	}
	m := refNode.FindStringSubmatch(node)
	if m == nil {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(m[1] + m[2] + m[3] + m[4])
	a = a.Unmap()
	return a, err == nil && !a.IsUnspecified() && !a.IsMulticast() && a.String() != "255.255.255.255"
}

func refResolve(peer netip.Addr, lines []string, forwarded bool, trusted func(hop int, a netip.Addr) bool) netip.Addr {
	at := peer
	for hop, element := range refElements(lines, forwarded) {
		next, ok := refAddr(element, forwarded)
		if hop >= 32 || !trusted(hop, at) || !ok {
			break
		}
		at = next
	}
	return at
}

var fuzzSeeds = []string{
	"", "203.0.113.7", "6.6.6.6, 203.0.113.7, 10.0.0.2", "oh, hi,,127.0.0.1,,,,, 203.0.113.7", "6.6.6.6\n203.0.113.7, ::ffff:10.0.0.2",
	"[2001:db8::7%eth0]:443, [::1]", "fe80::1%a]b, 10.0.0.2:_x", "unknown, _hidden", "64:ff9b::10.0.0.1, 0.0.0.0", "10.0.0.2, 10.0.0.3:99999",
	`for=192.0.2.43, for="[2001:db8:cafe::17]:47011";proto=https`, `for="1.1.1.1, for=203.0.113.7`, `for="x\", for="10.0.0.2"`,
	`host="a,b;c\"d\\";For=10.0.0.2 ; by=_x`, `for=1.1.1.1;for=2.2.2.2, for=10.0.0.2`, "for=\"\\1\\0.0.0.\\2\"\nfor=10.0.0.2,", `for="10.0.0.2,for="10.0.0.3"`,
}

func fuzzResolve(f *testing.F, header string) {
	for _, s := range fuzzSeeds {
		f.Add(s, uint8(0))
		f.Add(s, uint8(2))
	}
	ours := prefixes(f, "10.0.0.0/8", "2001:db8::/32")
	byList := resolver(f, clientip.Config{Header: header, TrustedProxies: ours})
	var byHops [4]*clientip.Resolver
	for n := range byHops {
		byHops[n] = resolver(f, clientip.Config{Header: header, TrustedHops: n})
	}
	peer := addr(f, "10.0.0.1")
	f.Fuzz(func(t *testing.T, text string, hops uint8) {
		lines := strings.Split(text, "\n")
		r, trusted := byList, func(_ int, a netip.Addr) bool { return ours[0].Contains(a) || ours[1].Contains(a) }
		if n := int(hops) % len(byHops); n > 0 {
			r, trusted = byHops[n], func(hop int, _ netip.Addr) bool { return hop < n }
		}
		want := refResolve(peer, lines, header == "forwarded", trusted)
		got, err := r.Resolve(peer, "", lines)
		if err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		// The reference knows no NAT64: let Resolve itself write the result in its canonical form.
		if want, err = r.Resolve(netip.Addr{}, want.String(), nil); err != nil || got != want {
			t.Fatalf("%q: %v, reference %v (%v)", lines, got, want, err)
		}
	})
}

func FuzzXFF(f *testing.F)       { fuzzResolve(f, "x-forwarded-for") }
func FuzzForwarded(f *testing.F) { fuzzResolve(f, "forwarded") }

// The explicit field is text from outside, too: whatever it is, the answer is canonical and stable.
func FuzzExplicit(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	r := resolver(f, clientip.Config{})
	f.Fuzz(func(t *testing.T, text string) {
		got, err := r.Resolve(netip.Addr{}, text, nil)
		if (err == nil) != got.IsValid() {
			t.Fatalf("%v, %v", got, err)
		}
		if err != nil {
			return
		}
		if again, err := r.Resolve(netip.Addr{}, got.String(), nil); err != nil || again != got || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%v is %v the second time (%v)", got, again, err)
		}
	})
}
