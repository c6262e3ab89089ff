package gate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sendgate/sendgate/internal/clientip"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// rules is a policy ready to judge: one immutable value, swapped as a whole, so that a check sees all of a policy or none.
type rules struct {
	policy   *policy.Policy
	since    time.Time
	limits   []rule // by index of policy.Limits
	resolver *clientip.Resolver
	// lastHopTrusted is the resolver for headers that come without the address of the connection that carried them.
	lastHopTrusted *clientip.Resolver
	lists          *lists.Set // those of the policy
	numbers        numberRules
	// asksPlan says that a rule counts or matches by what the numbering plan says: country or type.
	asksPlan bool
}

type rule struct {
	*policy.Limit
	store  *limiter.Rule
	reason string // "limit:NAME"
}

func newRules(ctx context.Context, store limiter.Store, p *policy.Policy) (*rules, error) {
	config := p.ClientAddress.Config()
	resolver, err := clientip.New(config)
	if err != nil {
		return nil, fmt.Errorf("gate: client_address of policy %s: %w", p.Version, err)
	}
	config.TrustUnix = true // a peer without an address is trusted
	lastHopTrusted, err := clientip.New(config)
	if err != nil {
		return nil, fmt.Errorf("gate: client_address of policy %s: %w", p.Version, err)
	}
	fixed, err := newListSet(p)
	if err != nil {
		return nil, err
	}
	defined, err := store.Define(ctx, p.LimiterLimits())
	if err != nil {
		return nil, fmt.Errorf("gate: define the limits of policy %s: %w", p.Version, err)
	}
	r := &rules{policy: p, resolver: resolver, lastHopTrusted: lastHopTrusted, lists: fixed, numbers: newNumberRules(p),
		limits: make([]rule, len(p.Limits))}
	for i := range p.Limits {
		l := &p.Limits[i]
		r.limits[i] = rule{Limit: l, store: defined[i], reason: "limit:" + l.Name}
		r.asksPlan = r.asksPlan || slices.Contains(l.By, policy.ByCountry) || asksPlan(&l.Match) || asksPlan(&l.Unless)
	}
	return r, nil
}

func asksPlan(m *policy.Match) bool { return len(m.Country) > 0 || len(m.NumberType) > 0 }
