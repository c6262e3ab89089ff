package clientip_test

import (
	"fmt"
	"net/netip"

	"github.com/sendgate/sendgate/internal/clientip"
)

func Example() {
	r, err := clientip.New(clientip.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The client claims to be 6.6.6.6. Our first proxy saw 203.0.113.7.
	addr, err := r.Resolve(netip.MustParseAddr("10.0.0.1"), "", []string{"6.6.6.6, 203.0.113.7, 10.0.0.2"})
	fmt.Println(addr, err)
	// Output: 203.0.113.7 <nil>
}

func ExampleTier() {
	site, err := clientip.NewTier(24, 48)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(site.Prefix(netip.MustParseAddr("203.0.113.7")), site.Prefix(netip.MustParseAddr("2001:db8:1:2::7")))
	// Output: 203.0.113.0/24 2001:db8:1::/48
}
