package detect

// denyCap keeps detection from cutting a country off by mistake. Every denied send is weighed by how likely it was honest: the
// sessions an hour its key has earned over the attempts an hour on it. A loud attack on an unused range weighs next to nothing, a
// block on a range full of people nearly one each. When the sum exceeds the policy's share of the honest traffic, detection turns
// itself down for the country: shared scopes challenge instead of denying, and an alert says so.
type denyCap struct {
	seen, denied float32 // fading over an hour; denied is the honest part of what was denied
	t            tick
	down         bool
}

const capLeast = 200 // attempts an hour below which a share says nothing

// see counts an attempt and says whether the country is turned down. The country is locked.
func (c *denyCap) see(now tick) bool {
	d := float32(decay(now.since(c.t), hour))
	c.seen, c.denied, c.t = c.seen*d+1, c.denied*d, max(c.t, now)
	return c.down
}

// deny weighs a denied attempt and says whether the cap was just reached. The country is locked.
func (c *denyCap) deny(honest, limit float64) (reached bool) {
	c.seen -= float32(1 - honest)
	c.denied += float32(honest)
	share := float64(c.denied) / float64(max(c.seen, capLeast))
	was := c.down
	switch {
	case limit >= 1:
		c.down = false
	case share > limit:
		c.down = true
	case share < limit/2:
		c.down = false
	}
	return c.down && !was
}

// count reports a denial to the country's cap. While it is turned down, what would have been denied still counts, so that it does
// not swing.
func (o *observation) count() {
	if o.res.Advice != Deny && !(o.capped && o.res.Advice == Challenge && !broad(o.res.Scope)) || o.res.Scope == ScopeNumber {
		return
	}
	c := &o.e.countries[o.s.Country%countries]
	c.mu.Lock()
	reached := c.cap.deny(o.honest, o.p.DenyCap)
	share := float64(c.cap.denied) / float64(max(c.cap.seen, capLeast))
	c.mu.Unlock()
	if reached {
		o.e.blocks.say(o.s.At, Signal{Kind: o.res.Kind, Subject: Subject{Scope: o.res.Scope, Country: o.s.Country}, Statistic: share,
			Threshold: o.p.DenyCap}, "turned down to challenges for "+o.s.Country.String()+": too much honest traffic would be denied")
	}
}
