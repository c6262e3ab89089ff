package detect

// Entry describes a detector for people.
type Entry struct {
	Kind      Kind
	Keys      string // what it keeps count by
	Statistic string
	Action    string
}

// Catalogue lists the detectors in the order of [Kinds].
func Catalogue() []Entry {
	return []Entry{
		{IPFanout, "client address (IPv4, IPv6 /64), address block (/24, /48)",
			"CUSUM of sessions that do not verify, 13.8 (blocks 15.8, shared 8 more), from 4 below a suspicion; before outcomes an allowance of ten open sessions a minute, more where earned",
			"suspicion: challenge; confirmed: deny, or challenge where people verify as a matter of course"},
		{VictimFlood, "number",
			"score of strange address blocks and changing addresses, fading over 12 hours, 9; minus 4 for a verification",
			"deny for an hour and while it goes on; blocks where the owner verified pass up to twice the score, then are challenged"},
		{AITRange, "number without its last 2, 3, 4, 5 digits",
			"CUSUM of composition against the earned share, 13.8 with 3 failures is a suspicion, with 5 confirmed, or 30.4 alone a suspicion; CUSUM of outcomes, 13.8 (5 digits 16.8), from 4 below a suspicion",
			"suspicion: challenge; confirmed: deny strangers, challenge familiar addresses where people verified; known numbers pass"},
		{CountryAnomaly, "country, by class of stranger: address, range, or both strange",
			"CUSUM of sessions that do not verify, 12 to 16",
			"challenge that class only"},
		{ConversionCollapse, "number without its last 6 digits, about one operator",
			"CUSUM of sessions that do not verify, 19.8 (suspicion from 15.8)",
			"challenge strangers only"},
		{OTPBruteforce, "number; country",
			"wrong codes of a number, fading over 12 hours, 5; CUSUM of sessions with two wrong codes in a country, 8",
			"deny the number for 2 hours, longer each time; while codes are guessed across numbers, challenge those with wrong codes"},
		{Enumeration, "as ip_fanout and ait_range, nine in ten of the sends on lookup endpoints",
			"as ip_fanout and ait_range", "as ip_fanout and ait_range"},
		{RetryStorm, "number, at most two addresses", "4 attempts with gaps below 20 seconds", "delay a minute; nothing else hears of it"},
		{LoadTest, "number, at most two addresses", "more than 100 attempts with gaps below 20 seconds", "delay a minute; nothing else hears of it"},
	}
}

// CountryStatus is what was learned about a country: what detection is calibrated on.
type CountryStatus struct {
	Country    Country
	Sessions   uint64  // seen
	Verified   float64 // of them
	Baseline   float64 // portion of trusted sessions that verify, slowly learned
	Expected   float64 // portion an honest session verifies with now, after the control group
	PerDay     float64 // sessions in the last day, fading
	Mature     bool    // enough was seen: 300 verified sessions
	TellingOf  int     // masked digits at which ranges tell where people are
	TurnedDown bool    // the deny cap was reached
}

// Countries lists what was learned, for countries with traffic.
func (e *Engine) Countries() []CountryStatus {
	var all []CountryStatus
	for i := range e.countries {
		c := &e.countries[i]
		c.mu.Lock()
		if c.sessions > 0 {
			all = append(all, CountryStatus{Country: Country(i), Sessions: uint64(c.sessions), Verified: c.verified, Baseline: c.baseV / c.baseN,
				Expected: c.expectation(), PerDay: c.pace, Mature: c.verified >= 300, TellingOf: 4 + int(c.telling()), TurnedDown: c.cap.down})
		}
		c.mu.Unlock()
	}
	return all
}
