// Package bench holds what the benchmarks and the load test share: the traffic they send, and the floor that they are
// measured against. Numbers taken on a shared machine mean little; ratios to the floor in the same run do.
package bench

import (
	"net/netip"
	"strconv"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Traffic makes sends of a population that repeats: send i is the same in every run. It is safe for concurrent use.
type Traffic struct {
	// Numbers is how many different numbers are written to, 1 to 50,000,000.
	Numbers uint64
	// Clients is how many different client addresses ask, 1 to 262,144, half of them IPv4 and half IPv6 of different /64.
	Clients uint64
	// Accounts is how many accounts pay. 0: no account is named.
	Accounts uint64
}

// MaxNumbers and MaxClients are the largest populations of a [Traffic].
const (
	MaxNumbers = uint64(len(mobiles)) * subscribers
	MaxClients = 2 << 17
)

// subscribers is how many numbers each of mobiles has: seven digits follow.
const subscribers = 10_000_000

// mobiles are the first digits of mobile numbers: SG, GB, US, IN, ID.
var mobiles = [...]string{"+659", "+44791", "+1415", "+91987", "+62812"}

// Request returns send i.
func (t Traffic) Request(i uint64) *sendgatev1.CheckSendRequest {
	r := &sendgatev1.CheckSendRequest{
		Number:        t.number(i % t.Numbers),
		ClientAddress: t.client(i % t.Clients),
		Endpoint:      "signup",
		Purpose:       sendgatev1.Purpose_PURPOSE_OTP,
	}
	if t.Accounts > 0 {
		r.Account = "load-" + strconv.FormatUint(i%t.Accounts, 10)
	}
	return r
}

// number spreads n over countries and subscribers. A run of neighbours would look like the attack that detectors look for, so
// subscribers are visited in steps that are coprime to their count: all are met once before any is met again.
func (t Traffic) number(n uint64) string {
	prefix := mobiles[n%uint64(len(mobiles))]
	subscriber := n / uint64(len(mobiles)) * 6_180_339 % subscribers
	b := make([]byte, 0, 16)
	b = append(b, prefix...)
	for unit := uint64(subscribers / 10); unit > 0; unit /= 10 {
		b = append(b, byte('0'+subscriber/unit%10))
	}
	return string(b)
}

// client uses the ranges set aside for benchmarks (198.18.0.0/15, RFC 2544) and documentation (2001:db8::/32, RFC 3849): nobody
// is there, whatever reads the logs.
func (t Traffic) client(n uint64) string {
	n, six := n/2, n%2 == 1
	if six {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(n >> 16), byte(n >> 8), byte(n), 15: 1}).String()
	}
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)}).String()
}
