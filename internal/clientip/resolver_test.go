package clientip_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/clientip"
)

func prefixes(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func resolver(t testing.TB, c clientip.Config) *clientip.Resolver {
	t.Helper()
	r, err := clientip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addr(t testing.TB, s string) netip.Addr {
	t.Helper()
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const (
	none = "none"  // ErrNone is wanted
	bad  = "error" // an *AddrError is wanted
)

type walkCase struct {
	name     string
	peer     string
	explicit string
	lines    []string
	want     string
}

func runWalks(t *testing.T, r *clientip.Resolver, cases []walkCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := r.Resolve(addr(t, c.peer), c.explicit, c.lines)
			var addrErr *clientip.AddrError
			switch c.want {
			case none:
				if !errors.Is(err, clientip.ErrNone) || got.IsValid() {
					t.Fatalf("got %v, %v, want ErrNone", got, err)
				}
			case bad:
				if !errors.As(err, &addrErr) || got.IsValid() {
					t.Fatalf("got %v, %v, want an AddrError", got, err)
				}
			default:
				if err != nil || got.String() != c.want {
					t.Fatalf("got %v, %v, want %s", got, err, c.want)
				}
			}
		})
	}
}

func one(line string) []string { return []string{line} }

func TestResolve_trustsNobodyByDefault(t *testing.T) {
	runWalks(t, resolver(t, clientip.Config{}), []walkCase{
		{"header of an untrusted peer", "203.0.113.7", "", one("6.6.6.6"), "203.0.113.7"},
		{"loopback is not trusted either", "127.0.0.1", "", one("6.6.6.6"), "127.0.0.1"},
		{"explicit wins", "10.0.0.1", "198.51.100.7", one("6.6.6.6"), "198.51.100.7"},
		{"mapped peer", "::ffff:203.0.113.7", "", nil, "203.0.113.7"},
		{"zone of the peer", "fe80::1%eth0", "", nil, "fe80::1"},
		{"unix socket", "", "", one("6.6.6.6"), none},
		{"unspecified peer", "0.0.0.0", "", nil, bad},
		{"multicast peer", "ff02::1", "", nil, bad},
	})
}

func TestResolve_explicit(t *testing.T) {
	r := resolver(t, clientip.Config{NAT64: prefixes(t, "2001:db8:64::/96")})
	var cases []walkCase
	for in, want := range map[string]string{
		"192.0.2.1":                "192.0.2.1",
		" 192.0.2.1\t":             "192.0.2.1",
		"192.0.2.1:443":            "192.0.2.1",
		"2001:db8::7":              "2001:db8::7",
		"2001:DB8:0:0::0007":       "2001:db8::7",
		"[2001:db8::7]":            "2001:db8::7",
		"[2001:db8::7]:443":        "2001:db8::7",
		"fe80::7%eth0":             "fe80::7",
		"[fe80::7%25eth0]:443":     "fe80::7",
		"::ffff:192.0.2.1":         "192.0.2.1",
		"[::ffff:192.0.2.1]:48483": "192.0.2.1",
		"::ffff:c000:201":          "192.0.2.1",
		"0:0:0:0:0:ffff:bc15:0006": "188.21.0.6",
		"64:ff9b::188.0.2.128":     "188.0.2.128",
		"64:ff9b::bc00:280":        "188.0.2.128",
		"2001:db8:64::192.0.2.1":   "192.0.2.1",
		"2001:db8:64::10.0.0.1":    "10.0.0.1",
		"64:ff9b::10.0.0.1":        "64:ff9b::a00:1", // RFC 6052 section 3.1
		"64:ff9b::127.0.0.1":       "64:ff9b::7f00:1",
		"64:ff9b:1::192.0.2.1":     "64:ff9b:1::c000:201", // RFC 8215, not configured
		"2002:c000:204::":          "2002:c000:204::",     // 6to4 stays
		"127.0.0.1":                "127.0.0.1",
		"::1":                      "::1",
		"unknown":                  none,
		"Unknown":                  none,
		"_hidden":                  none,
		"-":                        none,
		"0.0.0.0":                  bad,
		"::":                       bad,
		"[::]:80":                  bad,
		"::ffff:0.0.0.0":           bad,
		"2001:db8:64::":            bad, // NAT64 of 0.0.0.0
		"224.0.0.1":                bad,
		"::ffff:239.1.2.3":         bad,
		"ff02::1":                  bad,
		"255.255.255.255":          bad,
		"example.com":              bad,
		"192.0.2.1.":               bad,
		"192.0.2":                  bad,
		"192.0.2.256":              bad,
		"010.0.0.1":                bad, // octal or decimal: nobody knows
		"0x7f000001":               bad,
		"3232235777":               bad,
		"192.0.2.1/32":             bad,
		"192.0.2.1:":               bad,
		"192.0.2.1:123456":         bad,
		"192.0.2.1%eth0":           bad,
		"[192.0.2.1]":              bad,
		"[2001:db8::7":             bad,
		"2001:db8::7]":             bad,
		"[2001:db8::7]443":         bad,
		"fe80::7%":                 bad,
		"192.0.2.1, 192.0.2.2":     bad,
		"\"192.0.2.1\"":            bad,
		"192.0.2.1\x00":            bad,
		"\uff11.2.3.4":             bad,
		" ":                        bad,
		strings.Repeat("1", 1<<20): bad,
		"2001:db8::7%" + strings.Repeat("z", 1<<20): bad,
	} {
		cases = append(cases, walkCase{in[:min(len(in), 40)], "203.0.113.99", in, nil, want})
	}
	runWalks(t, r, cases)
}

func TestResolve_xForwardedFor(t *testing.T) {
	// The proxies of these cases. 198.51.100.178 and the long IPv6 address are the two proxies of the example of MDN.
	r := resolver(t, clientip.Config{TrustedProxies: prefixes(t, "10.0.0.0/8", "198.51.100.178/32", "2001:db8:85a3:8d3::/64", "192.0.2.2/32")})
	const proxy = "10.0.0.1"
	runWalks(t, r, []walkCase{
		// MDN, X-Forwarded-For: syntax, examples, parsing.
		{"mdn ipv6", proxy, "", one("2001:db8:85a3:8d4:1319:8a2e:370:7348"), "2001:db8:85a3:8d4:1319:8a2e:370:7348"},
		{"mdn ipv4", proxy, "", one("203.0.113.195"), "203.0.113.195"},
		{"mdn client and proxy", proxy, "", one("203.0.113.195, 2001:db8:85a3:8d3:1319:8a2e:370:7348"), "203.0.113.195"},
		{"mdn client and two proxies", proxy, "", one("203.0.113.195,2001:db8:85a3:8d3:1319:8a2e:370:7348,198.51.100.178"), "203.0.113.195"},
		{"mdn several headers are one list", proxy, "", []string{"6.6.6.6, 203.0.113.195", "2001:db8:85a3:8d3:1319:8a2e:370:7348", "198.51.100.178"}, "203.0.113.195"},
		{"mdn untrusted intermediate proxy", proxy, "", one("203.0.113.195, 150.172.238.178"), "150.172.238.178"},
		{"mdn directly reachable", "203.0.113.9", "", one("203.0.113.195, 10.0.0.2"), "203.0.113.9"},

		// adam-p, The perils of the "real" client IP.
		{"perils left-most is spoofed", proxy, "", one("1.2.3.4, 11.22.33.44, 203.0.113.7"), "203.0.113.7"},
		{"perils garbage left of the client", proxy, "", one("oh, hi,,127.0.0.1,,,,, 203.0.113.7"), "203.0.113.7"},
		{"perils proxy appends to the second of two spoofed headers", proxy, "", []string{"1.1.1.1", "2.2.2.2, 203.0.113.7"}, "203.0.113.7"},
		{"perils second proxy opens a new line", proxy, "", []string{strings.Repeat("6.6.6.6, ", 900) + "203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		{"perils private address of the client", proxy, "", one("192.168.1.7, 203.0.113.7"), "203.0.113.7"},
		{"perils comma without space", proxy, "", one("1.1.1.1,203.0.113.7,10.0.0.2"), "203.0.113.7"},
		{"perils client claims a trusted address", proxy, "", one("6.6.6.6, 10.0.0.9, 203.0.113.7"), "203.0.113.7"},
		{"perils client claims loopback", proxy, "", one("127.0.0.1, 203.0.113.7"), "203.0.113.7"},
		{"perils null byte", proxy, "", one("1.1.1.1\x00, 203.0.113.7"), "203.0.113.7"},
		{"perils port preservation", proxy, "", one("6.6.6.6:1, 203.0.113.7:52112"), "203.0.113.7"},
		{"perils proxy removed, peer is the client", "203.0.113.7", "", one("6.6.6.6"), "203.0.113.7"},
		{"perils removed cdn range is a stranger", proxy, "", one("6.6.6.6, 104.30.0.1"), "104.30.0.1"},
		{"perils no header although behind a proxy", proxy, "", nil, proxy},

		// facts/proxies.md, sections 1 and 4. Envoy is 10.0.0.1; 192.0.2.2 is the host address it appends for loopback.
		{"envoy metadata is explicit", proxy, "198.51.100.7", one("6.6.6.6"), "198.51.100.7"},
		{"envoy metadata ipv6", proxy, "2001:db8:1::7", one("6.6.6.6"), "2001:db8:1::7"},
		{"envoy metadata absent value", proxy, "-", one("6.6.6.6"), none},
		{"envoy hops 0 spoof removed", proxy, "", one("203.0.113.7"), "203.0.113.7"},
		{"envoy hops 1", proxy, "", one("6.6.6.6, 198.51.100.7"), "198.51.100.7"},
		{"envoy appends the host address", proxy, "", one("6.6.6.6, 198.51.100.7, 192.0.2.2"), "198.51.100.7"},
		{"envoy client in internal range", proxy, "", one("10.9.9.9"), "10.9.9.9"},
		{"envoy proxy protocol", "203.0.113.44", "", one("6.6.6.6"), "203.0.113.44"},
		{"nginx unix peer", proxy, "", one("6.6.6.6, unix:"), proxy},
		{"traefik", proxy, "", one("203.0.113.7"), "203.0.113.7"},

		{"whole chain trusted", proxy, "", one("10.3.0.1, 10.2.0.1"), "10.3.0.1"},
		{"mapped proxy in the list", proxy, "", one("203.0.113.7, ::ffff:10.0.0.2"), "203.0.113.7"},
		{"mapped peer is trusted", "::ffff:10.0.0.1", "", one("203.0.113.7"), "203.0.113.7"},
		{"mapped client", proxy, "", one("6.6.6.6, ::ffff:203.0.113.7"), "203.0.113.7"},
		{"nat64 client", proxy, "", one("64:ff9b::203.0.113.7"), "203.0.113.7"},
		{"nat64 cannot pass for a private proxy", proxy, "", one("6.6.6.6, 64:ff9b::10.0.0.2"), "64:ff9b::a00:2"},
		{"nat64 of a public proxy", proxy, "", one("203.0.113.7, 64:ff9b::198.51.100.178"), "203.0.113.7"},
		{"brackets, port and zone", proxy, "", one("[2001:db8:1::7%eth0]:443, [::ffff:10.0.0.2]:80"), "2001:db8:1::7"},
		{"tabs and spaces", proxy, "", one(" 6.6.6.6 ,\t203.0.113.7\t"), "203.0.113.7"},

		{"unknown ends the walk", proxy, "", one("6.6.6.6, unknown, 10.0.0.2"), "10.0.0.2"},
		{"hidden ends the walk", proxy, "", one("6.6.6.6, _hidden"), proxy},
		{"empty element ends the walk", proxy, "", one("6.6.6.6, , 10.0.0.2"), "10.0.0.2"},
		{"empty line ends the walk", proxy, "", []string{"6.6.6.6", ""}, proxy},
		{"garbage ends the walk", proxy, "", one("6.6.6.6, <script>, 10.0.0.2"), "10.0.0.2"},
		{"unspecified ends the walk", proxy, "", one("6.6.6.6, 0.0.0.0, 10.0.0.2"), "10.0.0.2"},
		{"multicast ends the walk", proxy, "", one("6.6.6.6, 224.0.0.1, 10.0.0.2"), "10.0.0.2"},
		{"quotes are no part of this header", proxy, "", one(`"203.0.113.7"`), proxy},
		{"element of a megabyte", proxy, "", one("6.6.6.6, " + strings.Repeat("x", 1<<20)), proxy},
		{"megabyte of spaces", proxy, "", one("6.6.6.6, " + strings.Repeat(" ", 1<<20)), proxy},
		{"10000 hops, the client at the right", proxy, "", one(strings.Repeat("10.0.0.3, ", 10000) + "203.0.113.7"), "203.0.113.7"},
		{"more proxies than any chain has", proxy, "", one("203.0.113.7" + strings.Repeat(", 10.0.0.3", 10000)), "10.0.0.3"},
		{"31 proxies are read", proxy, "", one("203.0.113.7" + strings.Repeat(", 10.0.0.3", 31)), "203.0.113.7"},
		{"unix peer is not trusted unless told", "", "", one("203.0.113.7"), none},
	})
}

func TestResolve_hops(t *testing.T) {
	runWalks(t, resolver(t, clientip.Config{TrustedHops: 1}), []walkCase{
		{"mdn one proxy: the right-most", "10.0.0.1", "", one("6.6.6.6, 203.0.113.195"), "203.0.113.195"},
		{"no header", "10.0.0.1", "", nil, "10.0.0.1"},
		{"unknown", "10.0.0.1", "", one("6.6.6.6, unknown"), "10.0.0.1"},
		{"trailing empty element was written by the proxy", "10.0.0.1", "", one("6.6.6.6,"), "10.0.0.1"},
		{"unix peer is not trusted unless told", "", "", one("6.6.6.6"), none},
	})
	runWalks(t, resolver(t, clientip.Config{TrustedHops: 3}), []walkCase{
		{"mdn three proxies: the last two are ours", "10.0.0.1", "", one("6.6.6.6, 203.0.113.195, 10.0.0.3, 10.0.0.2"), "203.0.113.195"},
		{"over several lines", "10.0.0.1", "", []string{"6.6.6.6, 203.0.113.195", "10.0.0.3", "10.0.0.2"}, "203.0.113.195"},
		{"fewer entries than hops", "10.0.0.1", "", one("203.0.113.195"), "203.0.113.195"},
		{"hidden in the middle", "10.0.0.1", "", one("6.6.6.6, 203.0.113.195, _lb, 10.0.0.2"), "10.0.0.2"},
	})
	runWalks(t, resolver(t, clientip.Config{TrustedHops: 2, TrustUnix: true}), []walkCase{
		{"unix peer is the first hop", "", "", one("6.6.6.6, 203.0.113.195, 10.0.0.2"), "203.0.113.195"},
	})
}

func TestResolve_unixPeer(t *testing.T) {
	r := resolver(t, clientip.Config{TrustUnix: true, TrustedProxies: prefixes(t, "10.0.0.0/8")})
	runWalks(t, r, []walkCase{
		{"client", "", "", one("6.6.6.6, 203.0.113.7"), "203.0.113.7"},
		{"proxy behind the socket", "", "", one("6.6.6.6, 203.0.113.7, 10.0.0.2"), "203.0.113.7"},
		{"no header", "", "", nil, none},
		{"unknown", "", "", one("6.6.6.6, unknown"), none},
		{"explicit", "", "203.0.113.8", one("6.6.6.6"), "203.0.113.8"},
	})
	runWalks(t, resolver(t, clientip.Config{TrustUnix: true}), []walkCase{
		{"only the socket is trusted", "", "", one("6.6.6.6, 203.0.113.7"), "203.0.113.7"},
		{"a peer with an address is not", "127.0.0.1", "", one("6.6.6.6"), "127.0.0.1"},
	})
}

// Headers with a single address, as Envoy, nginx and CDNs set them, are read the same way when the operator names them.
func TestResolve_otherHeader(t *testing.T) {
	r := resolver(t, clientip.Config{Header: "X-Envoy-External-Address", TrustedProxies: prefixes(t, "10.0.0.0/8")})
	if r.Header() != "x-envoy-external-address" {
		t.Fatalf("header %q", r.Header())
	}
	runWalks(t, r, []walkCase{
		{"set by envoy", "10.0.0.1", "", one("198.51.100.7"), "198.51.100.7"},
		{"absent for internal clients", "10.0.0.1", "", nil, "10.0.0.1"},
		{"peer is no proxy", "203.0.113.7", "", one("8.8.8.8"), "203.0.113.7"},
		{"client sent one, proxy added one", "10.0.0.1", "", []string{"8.8.8.8", "198.51.100.7"}, "198.51.100.7"},
	})
}

// Configured prefixes of all lengths with the examples of RFC 6052 section 2.4: all stand for 192.0.2.33.
func TestResolve_nat64(t *testing.T) {
	for prefix, text := range map[string]string{
		"2001:db8::/32":          "2001:db8:c000:221::",
		"2001:db8:100::/40":      "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":      "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56":  "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64":  "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96":  "2001:db8:122:344::192.0.2.33",
		"2001:db8:122:344::1/96": "2001:db8:122:344::192.0.2.33",    // not masked
		"2001:db8:122:345::/64":  "2001:db8:122:345:c0:2:21ff:ffff", // the suffix is ignored
		"64:ff9b:1:fffe::/96":    "64:ff9b:1:fffe::192.0.2.33",
	} {
		r := resolver(t, clientip.Config{NAT64: prefixes(t, prefix)})
		if got, err := r.Resolve(addr(t, text), "", nil); err != nil || got.String() != "192.0.2.33" {
			t.Errorf("%s: %s is %v, %v", prefix, text, got, err)
		}
	}
	r := resolver(t, clientip.Config{NAT64: prefixes(t, "2001:db8:122:344::/64")})
	if got, _ := r.Resolve(addr(t, "2001:db8:122:344:1c0:2:2100::"), "", nil); got.Is4() {
		t.Errorf("bits 64 to 71 are set, still read as %v", got)
	}
}

func TestTrusted(t *testing.T) {
	r := resolver(t, clientip.Config{TrustedProxies: prefixes(t, "::ffff:10.0.0.0/104", "2001:db8::1/64"), NAT64: prefixes(t, "64:ff9b:1::/96")})
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "2001:db8::9": true, "2001:db8:0:1::9": false,
		"64:ff9b:1::10.1.2.3": true, "64:ff9b::10.1.2.3": false, "": false,
	} {
		if got := r.Trusted(addr(t, text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestNew_errors(t *testing.T) {
	for _, c := range []struct {
		config clientip.Config
		want   string
	}{
		{clientip.Config{Header: "x-forwarded-for, forwarded"}, `header "x-forwarded-for, forwarded": write one header name`},
		{clientip.Config{TrustedHops: -1}, "trusted_hops -1: write 0 to 32"},
		{clientip.Config{TrustedHops: 33}, "trusted_hops 33: write 0 to 32"},
		{clientip.Config{TrustedHops: 1, TrustedProxies: prefixes(t, "10.0.0.0/8")}, "trusted_hops and trusted_proxies: write one of the two"},
		{clientip.Config{TrustedProxies: prefixes(t, "0.0.0.0/0")}, "trusted_proxies 0.0.0.0/0: this trusts everybody"},
		{clientip.Config{TrustedProxies: prefixes(t, "::/0")}, "trusted_proxies ::/0: this trusts everybody"},
		{clientip.Config{TrustedProxies: prefixes(t, "::ffff:0:0/96")}, "this trusts everybody"},
		{clientip.Config{TrustedProxies: []netip.Prefix{{}}}, "not a range, write one like 10.0.0.0/8"},
		{clientip.Config{NAT64: prefixes(t, "2001:db8::/95")}, "nat64 2001:db8::/95: write a prefix of length 32, 40, 48, 56, 64 or 96"},
		{clientip.Config{NAT64: prefixes(t, "10.0.0.0/32")}, "nat64 10.0.0.0/32: not an IPv6 prefix"},
		{clientip.Config{NAT64: prefixes(t, "2001:db8:0:0:100::/96")}, "bits 64 to 71 must be zero"},
		{clientip.Config{IPv6Prefix: 24}, "ipv6_prefix: IPv6 prefix length 24: write 32 to 128"},
	} {
		if _, err := clientip.New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestResolve_errorsCarryNoInput(t *testing.T) {
	r := resolver(t, clientip.Config{})
	_, err := r.Resolve(netip.Addr{}, "secret-text.example", nil)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v", err)
	}
}

func TestResolve_allocatesNothing(t *testing.T) {
	lists := resolver(t, clientip.Config{TrustedProxies: prefixes(t, "10.0.0.0/8", "2001:db8::/32"), NAT64: prefixes(t, "2001:db8:64::/96")})
	hidden := resolver(t, clientip.Config{TrustedProxies: prefixes(t, "10.0.0.0/8"), Header: "forwarded"})
	peer := addr(t, "10.0.0.1")
	tier := lists.Tier()
	key := make([]byte, 0, 32)
	for name, f := range map[string]func(){
		"explicit":  func() { mustResolve(t, lists, peer, "[2001:db8::7%eth0]:443", nil) },
		"walk":      func() { mustResolve(t, lists, peer, "", xff5) },
		"forwarded": func() { mustResolve(t, hidden, peer, "", forwarded5) },
		"zone":      func() { mustResolve(t, lists, peer, "", zoned) },
		"key":       func() { key = tier.AppendKey(key[:0], peer) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var (
	xff5       = []string{"6.6.6.6, 203.0.113.7, 10.0.0.5, 10.0.0.4", "10.0.0.3, 10.0.0.2"}
	zoned      = []string{"fe80::7%eth0, [2001:db8::2%eth1]:80"}
	forwarded5 = []string{`for=6.6.6.6, for=203.0.113.7;proto=https;host="a,b.example", for=10.0.0.5`, `for="10.0.0.4:80";by=_lb, for=10.0.0.3, For="10.0.0.2"`}
)

func mustResolve(t testing.TB, r *clientip.Resolver, peer netip.Addr, explicit string, lines []string) {
	if _, err := r.Resolve(peer, explicit, lines); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkResolve(b *testing.B) {
	lists := clientip.Config{TrustedProxies: prefixes(b, "10.0.0.0/8", "172.16.0.0/12", "2001:db8::/32")}
	forwarded := lists
	forwarded.Header = "forwarded"
	for _, c := range []struct {
		name     string
		config   clientip.Config
		explicit string
		lines    []string
	}{
		{"explicit", lists, "203.0.113.7", nil},
		{"xff/hops=5", lists, "", xff5},
		{"xff/1MB", lists, "", one(strings.Repeat("10.0.0.3, ", 100_000) + "10.0.0.3")},
		{"xff/1MB-element", lists, "", one(strings.Repeat("x", 1<<20))},
		{"forwarded/hops=5", forwarded, "", forwarded5},
		{"forwarded/1MB", forwarded, "", one(strings.Repeat(`for="10.0.0.3", `, 65_536) + `for="10.0.0.3"`)},
		{"forwarded/1MB-backslashes", forwarded, "", one(`for="` + strings.Repeat(`\`, 1<<20) + `"`)},
		{"forwarded/1MB-quotes", forwarded, "", one(strings.Repeat(`\"`, 1<<19))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := resolver(b, c.config)
			peer := addr(b, "10.0.0.1")
			b.ReportAllocs()
			for b.Loop() {
				mustResolve(b, r, peer, c.explicit, c.lines)
			}
		})
	}
}
