package clientip_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/sendgate/sendgate/internal/clientip"
	"pgregory.net/rapid"
)

func TestTier_prefix(t *testing.T) {
	for _, c := range []struct {
		v4, v6     int
		addr, want string
	}{
		{32, 64, "203.0.113.7", "203.0.113.7/32"},
		{24, 64, "203.0.113.7", "203.0.113.0/24"},
		{24, 64, "::ffff:203.0.113.7", "203.0.113.0/24"},
		{32, 64, "2001:db8:1:2ff:3:4:5:6", "2001:db8:1:2ff::/64"},
		{32, 56, "2001:db8:1:2ff:3:4:5:6", "2001:db8:1:200::/56"},
		{32, 48, "2001:db8:1:2ff:3:4:5:6", "2001:db8:1::/48"},
		{32, 128, "fe80::1%eth0", "fe80::1/128"},
		{32, 64, "", "invalid Prefix"},
	} {
		tier, err := clientip.NewTier(c.v4, c.v6)
		if err != nil {
			t.Fatal(err)
		}
		if got := tier.Prefix(addr(t, c.addr)).String(); got != c.want {
			t.Errorf("%s at %d/%d: %s, want %s", c.addr, c.v4, c.v6, got, c.want)
		}
	}
	for _, bits := range [][2]int{{7, 64}, {33, 64}, {32, 31}, {32, 129}, {0, 0}, {-1, -1}} {
		if _, err := clientip.NewTier(bits[0], bits[1]); err == nil {
			t.Errorf("%v: no error", bits)
		}
	}
	if p := clientip.Block(addr(t, "192.0.2.1"), -1); p.IsValid() {
		t.Errorf("negative length: %v", p)
	}
	if p := clientip.Block(addr(t, "192.0.2.1"), 64); p.String() != "192.0.2.1/32" {
		t.Errorf("length beyond the family: %v", p)
	}
}

// Keys are equal exactly when the blocks are, for any two tiers: else two clients would share a bucket or one would have two.
func TestTier_keyIsOneToOne(t *testing.T) {
	addrs := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) netip.Addr {
			b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x80, 0xff}), 4, 4).Draw(t, "v4")
			return netip.AddrFrom4([4]byte(b))
		}),
		rapid.Custom(func(t *rapid.T) netip.Addr {
			b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x80, 0xff}), 16, 16).Draw(t, "v6")
			return netip.AddrFrom16([16]byte(b))
		}),
		rapid.Just(netip.Addr{}),
	)
	tiers := rapid.Custom(func(t *rapid.T) clientip.Tier {
		tier, err := clientip.NewTier(rapid.IntRange(8, 32).Draw(t, "bits4"), rapid.IntRange(32, 128).Draw(t, "bits6"))
		if err != nil {
			t.Fatal(err)
		}
		return tier
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y := addrs.Draw(t, "x"), addrs.Draw(t, "y")
		tx, ty := tiers.Draw(t, "tx"), tiers.Draw(t, "ty")
		kx, ky := tx.AppendKey([]byte("rule:"), x), ty.AppendKey([]byte("rule:"), y)
		if bytes.Equal(kx, ky) != (tx.Prefix(x) == ty.Prefix(y)) {
			t.Fatalf("%v %v: keys %x %x", tx.Prefix(x), ty.Prefix(y), kx, ky)
		}
		if len(kx) > len("rule:")+17 {
			t.Fatalf("key of %d bytes", len(kx))
		}
	})
}
