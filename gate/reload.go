package gate

import (
	"context"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/policy"
)

// Snapshot is a policy as it was in force at one moment, with all that a check reads of it. It is a pointer's worth; the zero value is
// none.
type Snapshot struct{ rules *rules }

// Snapshot is the policy in force now.
func (g *Gate) Snapshot() Snapshot { return Snapshot{g.rules.Load()} }

// Policy is what it was made from.
func (s Snapshot) Policy() *policy.Policy { return s.rules.policy }

// ClientHeader is the lower-case name of the header in which the policy expects client addresses.
func (s Snapshot) ClientHeader() string { return s.rules.resolver.Header() }

// rulesFor is what judges a request, from its beginning to its end.
func (g *Gate) rulesFor(req *Request) *rules {
	if r := req.By.rules; r != nil {
		return r
	}
	return g.rules.Load()
}

// SetPolicy replaces the policy and keeps the prices; see SetPolicyAndPrices.
func (g *Gate) SetPolicy(ctx context.Context, p *policy.Policy) error {
	return g.SetPolicyAndPrices(ctx, p, g.rules.Load().prices)
}

// SetPolicyAndPrices replaces the policy and what messages cost. The next check sees all of both; one that has begun ends by what it
// began with. On an error nothing changes. Counters of limits whose name and key stay are kept, whatever else of them changes.
func (g *Gate) SetPolicyAndPrices(ctx context.Context, p *policy.Policy, t *prices.Table) error {
	g.setting.Lock()
	defer g.setting.Unlock()
	if err := g.openShadow(p); err != nil {
		return err
	}
	r, err := g.newRules(ctx, p, t)
	if err == nil {
		err = g.defineLocal(ctx, r)
	}
	if err != nil {
		return err
	}
	r.since, r.region = g.clock(), g.region
	if err := g.setConsentPolicy(r); err != nil {
		return err
	}
	first := g.rules.Swap(r) == nil
	if g.detect != nil { // for what it decides between sends
		if err := g.detect.SetPolicy(*r.detect); err != nil {
			return err // not possible: it was checked
		}
	}
	if r.shadow.engine != nil {
		if err := r.shadow.engine.SetPolicy(*r.shadow.policy); err != nil {
			return err // as before
		}
	}
	if first {
		g.recall(ctx, r, r.since)
	}
	return nil
}

// Policy is the policy in force.
func (g *Gate) Policy() *policy.Policy { return g.rules.Load().policy }

// PolicySince is since when it is in force.
func (g *Gate) PolicySince() time.Time { return g.rules.Load().since }

// PolicyLists are the lists that it fixes.
func (g *Gate) PolicyLists() *lists.Set { return g.rules.Load().lists }

// Prices are what messages cost; nil where nobody said.
func (g *Gate) Prices() *prices.Table { return g.rules.Load().prices }
