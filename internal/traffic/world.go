package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// plan is what the made-up world knows of a country's numbers: digits that mobile numbers begin with, and how many they have.
type plan struct {
	iso, code string
	heads     []string
	digits    int     // of the national number
	verifies  float64 // portion of honest sessions that verify
	offset    int     // hours from UTC
	price     float64 // USD a message, roughly
}

// plans are where people live and where attackers send to. The digits are those of mobile numbers in use.
var plans = [...]plan{
	{"SG", "65", []string{"81", "82", "83", "84", "85", "86", "87", "91", "92", "93", "94", "96", "97"}, 8, .88, 8, .042},
	{"ID", "62", []string{"811", "812", "813", "814", "815", "817", "818", "819", "852", "853", "857", "858", "877", "878", "896"}, 11, .70, 7, .32},
	{"MY", "60", []string{"12", "16", "19", "137", "142", "146", "175", "183"}, 9, .82, 8, .10},
	{"GB", "44", []string{"71", "73", "74", "771", "775", "780", "785", "790"}, 10, .87, 0, .045},
	{"KE", "254", []string{"70", "71", "72", "74", "75", "79"}, 9, .66, 3, .11},
	{"IN", "91", []string{"70", "72", "74", "90", "91", "95", "97", "98", "99"}, 10, .68, 5, .08},
	{"UZ", "998", []string{"90", "91", "93", "94", "95", "97", "99"}, 9, .68, 5, .27},
	{"AZ", "994", []string{"50", "51", "55", "70", "77"}, 9, .70, 4, .31},
	{"LK", "94", []string{"70", "71", "75", "76", "77", "78"}, 9, .70, 5, .28},
	{"BD", "880", []string{"13", "14", "15", "17", "18", "19"}, 10, .66, 6, .30},
	{"KG", "996", []string{"50", "55", "70", "77"}, 9, .66, 6, .29},
	{"GH", "233", []string{"20", "24", "26", "27", "54", "55"}, 9, .64, 0, .28},
	{"CU", "53", []string{"51", "52", "53", "54", "58"}, 8, .60, -5, .08},
}

// Countries lists the countries that the world knows, as ISO codes.
func Countries() []string {
	var all []string
	for i := range plans {
		all = append(all, plans[i].iso)
	}
	return all
}

// Price is roughly what a message to a number costs, in USD. Numbers of no known country cost .05.
func Price(number string) float64 {
	for i := range plans {
		if p := &plans[i]; len(number) == 1+len(p.code)+p.digits && number[1:1+len(p.code)] == p.code {
			return p.price
		}
	}
	return .05
}

func planOf(iso string) (*plan, error) {
	for i := range plans {
		if plans[i].iso == iso {
			return &plans[i], nil
		}
	}
	return nil, fmt.Errorf("country %q: write one of %v", iso, Countries())
}

// country is where people live: in some blocks of numbers more than in others, behind a few providers and gateways.
type country struct {
	*plan
	blocks    []string // digits after the country code, each a few thousand neighbours
	providers []netip.Addr
	gateways  []netip.Addr
	ipv6      []netip.Addr
}

const (
	blocksOfCountry = 250
	homes           = 12 // providers of IPv4
	gateways        = 18
)

func newCountry(p *plan, rng *rand.Rand) *country {
	c := &country{plan: p}
	for range blocksOfCountry {
		c.blocks = append(c.blocks, p.heads[rng.IntN(len(p.heads))]+fmt.Sprintf("%02d", rng.IntN(100)))
	}
	for range homes {
		c.providers = append(c.providers, netip.AddrFrom4([4]byte{byte(24 + rng.IntN(70)), byte(rng.IntN(256)), 0, 0}))
	}
	for range gateways {
		c.gateways = append(c.gateways, netip.AddrFrom4([4]byte{byte(110 + rng.IntN(16)), byte(rng.IntN(4)), byte(rng.IntN(3)), byte(2 + rng.IntN(250))}))
	}
	for range 4 {
		c.ipv6 = append(c.ipv6, netip.AddrFrom16([16]byte{0x24, byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))}))
	}
	return c
}

// number fills a block, or the first digits of any number, up to the country's length.
func (c *country) number(head string, rest uint64) string {
	return fmt.Sprintf("+%s%s%0*d", c.code, head, c.digits-len(head), rest%pow10(c.digits-len(head)))
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// anywhere is a number as one draws it who knows the prefixes and not the people.
func (c *country) anywhere(rng *rand.Rand) string {
	return c.number(c.heads[rng.IntN(len(c.heads))], rng.Uint64())
}

// person is one of a population that needs no memory: the same index is the same number and home.
func (c *country) person(i uint64) (number string, home netip.Addr) {
	h := mix(i ^ uint64(c.code[0])<<40 ^ uint64(len(c.code))<<50)
	// Blocks early in the list are fuller.
	at := (h >> 40 % 1000) * (h >> 20 % 1000) / 1000 * uint64(len(c.blocks)) / 1000
	number = c.number(c.blocks[at], mix(h+1))
	switch {
	case h%100 < 45:
		a := c.providers[h>>8%homes].As4()
		a[2], a[3] = byte(h>>16), byte(1+h>>24%250)
		home = netip.AddrFrom4(a)
	case h%100 < 65:
		a := c.ipv6[h>>8%uint64(len(c.ipv6))].As16()
		a[4], a[5], a[6], a[7], a[15] = byte(h>>16), byte(h>>24), byte(h>>32), byte(h>>40), 1
		home = netip.AddrFrom16(a)
	default:
		home = c.gateways[h>>8%gateways]
	}
	return number, home
}

// mix spreads a number over 64 bits (SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stranger is an address somewhere, as a residential proxy lends it.
func stranger(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(130 + rng.IntN(60)), byte(rng.IntN(256)), byte(rng.IntN(256)), byte(1 + rng.IntN(250))})
}
