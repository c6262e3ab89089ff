package gate

import (
	"net/netip"
	"slices"

	"github.com/sendgate/sendgate/policy"
)

// Caller is who asks, as the surface found out. The zero Caller is somebody on this machine who was not asked who he is.
type Caller struct {
	// Account is that of the caller's API key or certificate. He acts for no other. Empty: he was not asked, and may name any.
	Account string
	// Peer is the address of his connection; the zero Addr for a unix socket.
	Peer netip.Addr
	// Trusted says that what he tells about a challenge is believed: he has an identity, or is on this machine where nobody is
	// asked for one.
	Trusted bool
	// Vouched says that something else than the connection proves the account, such as the signature of a platform: it may come
	// from anywhere.
	Vouched bool
}

// ForbiddenError is returned when the caller may not do what he asks. Nothing was charged.
type ForbiddenError struct {
	Reason  string // a stable word for programs: ACCOUNT_OTHER, ADDRESS_NOT_ALLOWED or ACCOUNT_OTHER_REGION
	Message string
}

func (e *ForbiddenError) Error() string { return e.Message }

// actFor is the account that a caller acts for when he names one, or none.
func (r *rules) actFor(c *Caller, named string) (string, error) {
	account := named
	switch {
	case c.Account == "":
	case named == "":
		account = c.Account
	case named != c.Account:
		return "", &ForbiddenError{"ACCOUNT_OTHER", "account: the caller's key or certificate is of another account: name your own or leave it out"}
	}
	a := r.policy.Accounts[account]
	if a != nil && !c.Vouched && !mayConnect(a, c.Peer) {
		return "", &ForbiddenError{"ADDRESS_NOT_ALLOWED", "the account may not be used from this address: its allow_addresses does not hold it"}
	}
	if a != nil && !r.holds(a) {
		return "", &ForbiddenError{"ACCOUNT_OTHER_REGION", r.elsewhere(a)}
	}
	return account, nil
}

// mayConnect judges the address of a connection. A unix socket is this machine, as loopback is.
func mayConnect(a *policy.Account, peer netip.Addr) bool {
	if len(a.AllowAddresses) == 0 {
		return true
	}
	holds := func(addr netip.Addr) bool {
		return slices.ContainsFunc(a.AllowAddresses, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	if !peer.IsValid() {
		return holds(netip.IPv6Loopback()) || holds(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return holds(peer.Unmap().WithZone(""))
}
