package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Attack is something that goes wrong within the day.
type Attack struct {
	// Kind is one of [Kinds].
	Kind string
	// At is how long after the start it begins, and For how long it goes on. Default 1h for For.
	At, For time.Duration
	// PerMinute is how many sends or sessions a minute it makes. 0 means the usual of its kind.
	PerMinute float64
	// Country it is about, as an ISO code. Empty: one that suits the kind.
	Country string
}

// attacker makes one session of an attack.
type attacker func(at time.Time, rng *rand.Rand)

type kind struct {
	name    string
	about   string
	rate    float64
	country string // default; "home" is the first home country
	make    func(s *Stream, e Event, c *country, rng *rand.Rand) attacker
}

// kinds is the catalogue.
var kinds = []kind{
	{"ait_range", "three ranges of an expensive country are pumped through residential proxies", 60, "UZ", pumping},
	{"low_slow", "the same, a few an hour", .5, "AZ", pumping},
	{"ip_fanout", "one address asks for many numbers", 30, "home", fanout},
	{"victim_flood", "one number is asked for from everywhere", 3, "home", victim},
	{"country_anomaly", "random numbers of a country where nobody lives", 10, "BD", random},
	{"conversion_collapse", "random numbers of one operator", 15, "home", operator},
	{"otp_bruteforce", "codes of one number are guessed", 1, "home", bruteforce},
	{"enumeration", "neighbouring numbers are probed for accounts", 90, "home", enumeration},
	{"retry_storm", "a broken client repeats itself; no attack", 8, "home", storm},
	{"load_test", "somebody's load test of one number; no attack", 240, "home", loadTest},
	{"flash_crowd", "many new people at once, who verify; no attack", 80, "home", crowd},
}

// Kinds lists the kinds of attack with what they are, in the order of the catalogue.
func Kinds() [][2]string {
	var all [][2]string
	for _, k := range kinds {
		all = append(all, [2]string{k.name, k.about})
	}
	return all
}

// ParseAttack reads KIND[:at=9h][:for=1h][:rate=60][:country=UZ].
func ParseAttack(text string) (Attack, error) {
	parts := strings.Split(text, ":")
	a := Attack{Kind: parts[0]}
	if find(a.Kind) == nil {
		var names []string
		for _, k := range kinds {
			names = append(names, k.name)
		}
		return a, fmt.Errorf("%q is no kind: write one of %s", a.Kind, strings.Join(names, ", "))
	}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch key {
		case "at":
			a.At, err = time.ParseDuration(value)
		case "for":
			a.For, err = time.ParseDuration(value)
		case "rate":
			_, err = fmt.Sscanf(value+" ", "%g ", &a.PerMinute)
		case "country":
			a.Country = value
			_, err = planOf(value)
		default:
			err = fmt.Errorf("write at, for, rate or country, such as %s:at=9h:for=1h:rate=60:country=UZ", a.Kind)
		}
		if err != nil {
			return a, fmt.Errorf("%q: %w", part, err)
		}
	}
	return a, nil
}

func find(name string) *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

func (s *Stream) attack(i int, a Attack) error {
	k := find(a.Kind)
	if k == nil {
		return fmt.Errorf("%q is no kind", a.Kind)
	}
	if a.For == 0 {
		a.For = time.Hour
	}
	if a.PerMinute == 0 {
		a.PerMinute = k.rate
	}
	if a.At < 0 || a.For <= 0 || a.PerMinute <= 0 || a.PerMinute > 1e6 {
		return fmt.Errorf("%s: write times and a rate above 0", a.Kind)
	}
	name := fmt.Sprintf("%s-%d", a.Kind, i+1)
	rng := s.random("attack " + name)
	c := s.home[0]
	if iso := a.Country; iso != "" || k.country != "home" {
		if iso == "" {
			iso = k.country
		}
		at := slices.IndexFunc(s.home, func(h *country) bool { return h.iso == iso })
		if at >= 0 {
			c = s.home[at]
		} else {
			p, err := planOf(iso)
			if err != nil {
				return err
			}
			c = newCountry(p, rng)
		}
	}
	e := Event{Account: "acme", Endpoint: "signup", Purpose: "otp", Label: name, Sub: a.Kind}
	session := k.make(s, e, c, rng)
	from := s.Start.Add(a.At)
	s.add(name, from, from.Add(a.For), a.PerMinute, constant(a.PerMinute), session)
	return nil
}

// unverified is a send that nobody answers; some are delivered.
func (s *Stream) unverified(e Event, rng *rand.Rand) {
	p := s.send(e)
	if rng.Float64() < .5 {
		s.outcome(p, seconds(3+5*rng.Float64()), "delivered")
	} else {
		s.outcome(p, seconds(600), "expired")
	}
}

// pool is addresses that an attacker has hired.
func pool(n int, rng *rand.Rand) []string {
	var all []string
	for range n {
		all = append(all, stranger(rng).String())
	}
	return all
}

func pumping(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	const masked = 4
	proxies := pool(500, rng)
	var ranges []string
	for range 3 {
		head := c.heads[rng.IntN(len(c.heads))]
		ranges = append(ranges, head+fmt.Sprintf("%0*d", c.digits-len(head)-masked, rng.Uint64N(pow10(c.digits-len(head)-masked))))
	}
	return func(at time.Time, rng *rand.Rand) {
		e.At, e.Client = at, proxies[rng.IntN(len(proxies))]
		e.Number = c.number(ranges[rng.IntN(len(ranges))], rng.Uint64())
		s.unverified(e, rng)
	}
}

func fanout(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	e.Client = stranger(rng).String()
	return func(at time.Time, rng *rand.Rand) {
		e.At, e.Number = at, c.anywhere(rng)
		s.unverified(e, rng)
	}
}

func victim(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	proxies := pool(400, rng)
	e.Number, _ = c.person(rng.Uint64N(1 << 20))
	return func(at time.Time, rng *rand.Rand) {
		e.At, e.Client = at, proxies[rng.IntN(len(proxies))]
		s.unverified(e, rng)
	}
}

func random(s *Stream, e Event, c *country, _ *rand.Rand) attacker {
	return func(at time.Time, rng *rand.Rand) {
		e.At, e.Client, e.Number = at, stranger(rng).String(), c.anywhere(rng)
		s.unverified(e, rng)
	}
}

func operator(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	head := c.heads[rng.IntN(len(c.heads))]
	return func(at time.Time, rng *rand.Rand) {
		e.At, e.Client, e.Number = at, stranger(rng).String(), c.number(head, rng.Uint64())
		s.unverified(e, rng)
	}
}

func bruteforce(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	proxies := pool(60, rng)
	e.Number, _ = c.person(rng.Uint64N(1 << 20))
	e.Endpoint = "login"
	return func(at time.Time, rng *rand.Rand) {
		e.At, e.Client = at, proxies[rng.IntN(len(proxies))]
		p := s.send(e)
		for i := range 3 {
			s.outcome(p, seconds(6+float64(5*i)), "failed")
		}
	}
}

func enumeration(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	net := stranger(rng).As4()
	block, next := c.blocks[rng.IntN(20)], rng.Uint64N(1000)
	e.Endpoint = "login"
	return func(at time.Time, rng *rand.Rand) {
		net[3] = byte(1 + rng.IntN(30))
		next++
		e.At, e.Client, e.Number = at, netip.AddrFrom4(net).String(), c.number(block, next)
		s.unverified(e, rng)
	}
}

// storm is one client after the other that asks again every few seconds, whatever it is told.
func storm(s *Stream, e Event, c *country, _ *rand.Rand) attacker {
	return func(at time.Time, rng *rand.Rand) {
		number, home := c.person(rng.Uint64N(uint64(s.Sessions)))
		for i := range 20 {
			e.At, e.Number, e.Client = at.Add(time.Duration(i)*7*time.Second), number, home.String()
			s.send(e)
		}
	}
}

func loadTest(s *Stream, e Event, c *country, rng *rand.Rand) attacker {
	number, home := c.person(rng.Uint64N(uint64(s.Sessions)))
	e.Number, e.Client = number, home.String()
	return func(at time.Time, rng *rand.Rand) {
		e.At = at
		s.send(e)
	}
}

func crowd(s *Stream, e Event, c *country, _ *rand.Rand) attacker {
	return func(at time.Time, rng *rand.Rand) {
		number, home := c.person(1<<40 + rng.Uint64N(1<<24))
		s.session(Event{At: at, Number: number, Client: home.String(), Account: e.Account, Endpoint: "signup", Purpose: "otp", Label: Benign, Sub: "flash_crowd"}, c.verifies, rng)
	}
}
