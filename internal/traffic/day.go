package traffic

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
)

// hours is how busy each hour of the day is, local time.
var hours = [24]float64{.20, .13, .10, .09, .10, .16, .32, .55, .80, .95, 1, 1, .98, .95, .93, .92, .92, .95, 1, 1.05, 1.05, .92, .65, .38}

const (
	busiest   = 1.05
	hoursMean = .67
)

// accounts are who the services belong to, the first the busiest.
var accounts = [...]string{"acme", "acme", "acme", "globex", "globex", "initech"}

// day adds what honest people and machines do.
func (s *Stream) day() {
	portion := 0.0
	for i := range s.home {
		portion += 1 / float64(i+1)
	}
	for i, c := range s.home {
		mean := float64(s.Sessions) / float64(i+1) / portion / (24 * 60)
		people := uint64(float64(s.Sessions)/float64(i+1)/portion*3) + 1
		s.add("people "+c.iso, s.Start, s.end, mean*busiest/hoursMean,
			func(at time.Time) float64 { return mean / hoursMean * c.busy(at) },
			func(at time.Time, rng *rand.Rand) { s.person(c, at, people, rng) })
	}
	c := s.home[0]
	s.add("notifications", s.Start, s.end, float64(s.Sessions)/(24*60)*.12, constant(float64(s.Sessions)/(24*60)*.12),
		func(at time.Time, rng *rand.Rand) {
			number, _ := c.person(rng.Uint64N(uint64(s.Sessions) + 1))
			p := s.send(Event{At: at, Number: number, Account: accounts[rng.IntN(len(accounts))], Endpoint: "notify", Purpose: "transactional", Label: Benign, Sub: "transactional"})
			s.outcome(p, seconds(4+4*rng.Float64()), "delivered")
		})
	s.offices(c)
}

// offices log in together in the morning, behind one address each.
func (s *Stream) offices(c *country) {
	rng := s.random("offices")
	for day := s.Start.Truncate(24 * time.Hour); day.Before(s.end); day = day.Add(24 * time.Hour) {
		from := day.Add(time.Duration(9-c.offset)*time.Hour + time.Duration(rng.IntN(30))*time.Minute)
		address := c.providers[0].As4()
		address[2], address[3] = 200, byte(1+rng.IntN(200))
		if from.Before(s.Start) {
			continue
		}
		s.add("office "+day.String(), from, from.Add(25*time.Minute), 4, constant(4), func(at time.Time, rng *rand.Rand) {
			number, _ := c.person(mix(uint64(rng.IntN(90))))
			s.session(Event{At: at, Number: number, Client: netip.AddrFrom4(address).String(), Account: "acme", Endpoint: "login", Purpose: "otp", Label: Benign, Sub: "office"}, c.verifies, rng)
		})
	}
}

func constant(rate float64) func(time.Time) float64 {
	return func(time.Time) float64 { return rate }
}

func (c *country) busy(at time.Time) float64 {
	return hours[(at.UTC().Hour()+c.offset+24)%24]
}

// person asks for a code.
func (s *Stream) person(c *country, at time.Time, people uint64, rng *rand.Rand) {
	who := uint64(math.Pow(rng.Float64(), 1.6) * float64(people)) // some come more often
	number, home := c.person(who)
	switch r := rng.Float64(); {
	case r < .03:
		home = stranger(rng) // roaming, or a VPN
	case r < .25:
		home = c.gateways[rng.IntN(len(c.gateways))]
	}
	endpoint := "login"
	switch r := rng.Float64(); {
	case r < .35:
		endpoint = "signup"
	case r < .45:
		endpoint = "reset"
	}
	s.session(Event{At: at, Number: number, Client: home.String(), Account: accounts[mix(who)%uint64(len(accounts))], Endpoint: endpoint,
		Purpose: "otp", Label: Benign, Sub: "base"}, c.verifies, rng)
}

// session is a code asked for, asked for again by some who do not get it, and entered by most.
func (s *Stream) session(e Event, verifies float64, rng *rand.Rand) {
	for try := range 3 {
		p := s.send(e)
		switch {
		case rng.Float64() < verifies:
			wait := seconds(18 * math.Exp(.6*rng.NormFloat64()))
			if rng.Float64() < .05 {
				s.outcome(p, wait, "failed")
				wait += seconds(12)
			}
			s.outcome(p, wait, "verified")
			return
		case rng.Float64() < .05:
			s.outcome(p, seconds(5), "undelivered")
		case rng.Float64() < .7:
			s.outcome(p, seconds(600), "expired")
		}
		if try == 2 || rng.Float64() > .45 {
			return
		}
		e.At = e.At.Add(seconds(30 + 70*rng.Float64()))
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
