package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy/envoyconfig"
)

// rlRules are the limits of the configuration, and those that descriptors brought along, as rules of the store.
type rlRules struct {
	store limiter.Store
	names map[*envoyconfig.Limit]string // of the configuration

	mu     sync.RWMutex
	limits []limiter.Limit
	byName map[string]*limiter.Rule
}

// maxOverrides is how many different limits descriptors may bring along: every one is a rule for as long as the process lives.
const maxOverrides = 1000

func newRLRules(ctx context.Context, o *RateLimits) (*rlRules, error) {
	r := &rlRules{store: o.Store, names: make(map[*envoyconfig.Limit]string)}
	var limits []limiter.Limit
	for _, l := range o.Config.Limits() {
		if l.Unlimited || l.RequestsPerUnit == 0 {
			continue
		}
		sum := sha256.Sum256([]byte(l.Path))
		r.names[l] = "rls/" + hex.EncodeToString(sum[:12])
		limits = append(limits, rlLimit(r.names[l], l))
	}
	return r, r.define(ctx, limits)
}

// rlLimit is a limit as the store takes it. Without room it denies, which becomes an error for Envoy's failure mode.
func rlLimit(name string, l *envoyconfig.Limit) limiter.Limit {
	return limiter.Limit{Name: name, Group: name, N: l.RequestsPerUnit, Window: l.Unit.Window()}
}

// define gives the store the whole set: it keeps the counters of what stays.
func (r *rlRules) define(ctx context.Context, limits []limiter.Limit) error {
	rules, err := r.store.Define(ctx, limits)
	if err != nil {
		return err
	}
	r.limits, r.byName = limits, make(map[string]*limiter.Rule, len(rules))
	for i, rule := range rules {
		r.byName[limits[i].Name] = rule
	}
	return nil
}

// of is the rule of a limit, made if a descriptor brought the limit along for the first time.
func (r *rlRules) of(ctx context.Context, l *envoyconfig.Limit) (*limiter.Rule, error) {
	name, configured := r.names[l]
	if !configured {
		name = fmt.Sprintf("rls/%d/%s", l.RequestsPerUnit, l.Unit)
	}
	r.mu.RLock()
	rule := r.byName[name]
	r.mu.RUnlock()
	if rule != nil {
		return rule, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rule := r.byName[name]; rule != nil {
		return rule, nil
	}
	if len(r.limits)-len(r.names) >= maxOverrides {
		return nil, &failure{code: codes.ResourceExhausted, reason: "TOO_MANY_LIMITS", message: fmt.Sprintf("descriptors have brought along %d different limits: use fewer", maxOverrides)}
	}
	if err := r.define(ctx, append(r.limits[:len(r.limits):len(r.limits)], rlLimit(name, l))); err != nil {
		return nil, err
	}
	return r.byName[name], nil
}
