package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy/envoyconfig"
)

// rlRules are the limits of the configuration, and those that descriptors brought along, as rules of the store.
type rlRules struct {
	store limiter.Store
	now   atomic.Pointer[rlSet]

	mu        sync.Mutex      // of who defines
	overrides []limiter.Limit // those that descriptors brought along
}

// rlSet is a configuration and its rules, swapped as a whole: a request meets one from its beginning to its end.
type rlSet struct {
	config *envoyconfig.Config
	names  map[*envoyconfig.Limit]string
	byName map[string]*limiter.Rule
}

// maxOverrides is how many different limits descriptors may bring along: every one is a rule for as long as the process lives.
const maxOverrides = 1000

// set puts a configuration in force. The next request sees all of it; on an error the one before stays. Counters of limits that stay
// at their place in the configuration are kept.
func (r *rlRules) set(ctx context.Context, c *envoyconfig.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &rlSet{config: c, names: make(map[*envoyconfig.Limit]string)}
	for _, l := range c.Limits() {
		if l.Unlimited || l.RequestsPerUnit == 0 {
			continue
		}
		sum := sha256.Sum256([]byte(l.Path))
		next.names[l] = "rls/" + hex.EncodeToString(sum[:12])
	}
	return r.define(ctx, next)
}

// rlLimit is a limit as the store takes it. Without room it denies, which becomes an error for Envoy's failure mode.
func rlLimit(name string, l *envoyconfig.Limit) limiter.Limit {
	return limiter.Limit{Name: name, Group: name, N: l.RequestsPerUnit, Window: l.Unit.Window()}
}

// define gives the store the whole set, which keeps the counters of what stays, and puts it in force. The rules are locked.
func (r *rlRules) define(ctx context.Context, next *rlSet) error {
	limits := make([]limiter.Limit, 0, len(next.names)+len(r.overrides))
	for _, l := range next.config.Limits() {
		if name, counted := next.names[l]; counted {
			limits = append(limits, rlLimit(name, l))
		}
	}
	limits = append(limits, r.overrides...)
	rules, err := r.store.Define(ctx, limits)
	if err != nil {
		return err
	}
	next.byName = make(map[string]*limiter.Rule, len(rules))
	for i, rule := range rules {
		next.byName[limits[i].Name] = rule
	}
	r.now.Store(next)
	return nil
}

// of is the rule of a limit, made if a descriptor brought the limit along for the first time.
func (r *rlRules) of(ctx context.Context, by *rlSet, l *envoyconfig.Limit) (*limiter.Rule, error) {
	name, configured := by.names[l]
	if !configured {
		name = fmt.Sprintf("rls/%d/%s", l.RequestsPerUnit, l.Unit)
	}
	if rule := by.byName[name]; rule != nil {
		return rule, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now.Load()
	if rule := now.byName[name]; rule != nil {
		return rule, nil
	}
	if len(r.overrides) >= maxOverrides {
		return nil, &failure{code: codes.ResourceExhausted, reason: "TOO_MANY_LIMITS", message: fmt.Sprintf("descriptors have brought along %d different limits: use fewer", maxOverrides)}
	}
	r.overrides = append(r.overrides, rlLimit(name, l))
	if err := r.define(ctx, &rlSet{config: now.config, names: now.names}); err != nil {
		r.overrides = r.overrides[:len(r.overrides)-1]
		return nil, err
	}
	return r.now.Load().byName[name], nil
}

// reload reads the configuration again.
func (r *rls) reload(ctx context.Context) (changed bool, err error) {
	c, err := r.limits.Read()
	if err != nil {
		return false, err
	}
	if reflect.DeepEqual(c, r.rules.now.Load().config) {
		return false, nil
	}
	return true, r.rules.set(ctx, c)
}
