package gate

import (
	"context"
	"slices"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Legal bases of what is kept of somebody who is forgotten. They are what the defaults rest on, and no legal advice.
const (
	basisSecurity = "security of the service, GDPR Art. 6(1)(f) and recital 49; no number is in it, only what a secret makes of one"
	basisAbuse    = "a block against abuse, GDPR Art. 6(1)(f) and 21(1); remove it with sendgate list remove if it has no reason any more"
	basisPolicy   = "the policy file has the number: take it out there"
)

// How long what cannot be found again stays.
const (
	repliesKept = 10 * time.Minute
	knownKept   = 30 * 24 * time.Hour // detection's bits of numbers that verified
	sharedKept  = 10 * time.Minute    // what sidecars tell one another, sealed
)

// Forget removes what all stores hold of a number, and says what stays, why and until when. Author is who does it, for the journal of
// lists. Errors are those of Hear.
func (g *Gate) Forget(ctx context.Context, text, author string) (consent.Forgotten, error) {
	r := g.rules.Load()
	out := consent.Forgotten{Removed: map[string]int{}}
	var bad violations
	if len(text) > maxNumber {
		bad.add("number", "NUMBER_INVALID", tooLong(maxNumber))
		return out, bad.err()
	}
	number, err := phone.Parse(text, r.policy.Numbers.DefaultRegion)
	if err != nil {
		bad.add("number", "NUMBER_INVALID", err.Error())
		return out, bad.err()
	}
	now := g.clock()
	if g.consent != nil {
		if out, err = g.consent.Forget(ctx, now, number); err != nil {
			return out, consentError(ctx, err)
		}
	}
	if err := g.forgetCounters(ctx, r, now, number, &out); err != nil {
		return out, err
	}
	if err := g.forgetLists(now, number, author, &out); err != nil {
		return out, &UnavailableError{Err: err}
	}
	if g.detect != nil {
		out.Removed["detection"] = g.ForgetSeen(number)
		out.Kept = append(out.Kept, consent.Kept{Kind: "detection", Basis: basisSecurity, Until: now.Add(knownKept)})
	}
	if g.replies != nil {
		out.Kept = append(out.Kept, consent.Kept{Kind: "idempotency", Basis: basisSecurity, Until: now.Add(repliesKept)})
	}
	if g.peers != nil {
		out.Kept = append(out.Kept, consent.Kept{Kind: "shared_evidence", Basis: basisSecurity, Until: now.Add(sharedKept)})
	}
	return out, nil
}

// ForgetSeen removes what detection holds of a number that another sidecar was asked to forget, and says how many records that were.
func (g *Gate) ForgetSeen(number phone.Number) (removed int) {
	if g.detect != nil {
		removed = g.detect.Forget(number.Digits())
	}
	if engine := g.shadowDetect.Load(); engine != nil {
		engine.Forget(number.Digits())
	}
	return removed
}

// forgetCounters resets the rules whose keys can be made of the number alone. A key that has something beside it, such as a client,
// cannot be found; it ends with its window.
func (g *Gate) forgetCounters(ctx context.Context, r *rules, now time.Time, number phone.Number, out *consent.Forgotten) error {
	send := policy.Send{Number: number, Country: number.Country()}
	var last time.Duration
	forget := func(l *rule, key limiter.Key) error {
		err := r.in(g, l).Reset(ctx, now, l.store, key)
		if err == nil && l.local != nil {
			err = g.local.Store.Reset(ctx, now, l.local, key)
		}
		if err == nil && l.twin != nil {
			err = r.shadow.store.Reset(ctx, now, l.twin.store, key)
		}
		if err != nil {
			return &UnavailableError{Rule: l.store.Limit().Name, Err: err}
		}
		out.Removed["counters"]++
		return nil
	}
	left := 0
	for _, l := range r.all() {
		switch {
		case !slices.ContainsFunc(l.by, func(p policy.Part) bool { return p == policy.ByNumber }):
		case len(l.by) == 1:
			key, ok := r.policy.AppendKey(nil, l.by, &send)
			if !ok {
				continue
			}
			if err := forget(l, g.key(key)); err != nil {
				return err
			}
		default:
			limit := l.store.Limit()
			left, last = left+1, max(last, limit.Window, limit.Backoff.Max+limit.Backoff.ForgetAfter)
		}
	}
	accounts := []string{""}
	for name := range r.policy.Accounts {
		accounts = append(accounts, name)
	}
	for _, account := range accounts {
		v := &r.own.verify
		for _, l := range []*rule{{store: r.own.knownGood}, &v.number, &v.passed} {
			if err := forget(l, g.numberKey(account, number.Digits())); err != nil {
				return err
			}
		}
	}
	if len(r.policy.Accounts) == 0 { // whatever names callers gave
		left, last = left+1, max(last, r.policy.OTP.KnownGoodFor, r.policy.OTP.Verify.Number.Max+r.policy.OTP.Verify.Number.ForgetAfter)
	}
	if left > 0 {
		out.Kept = append(out.Kept, consent.Kept{Kind: "counters", Basis: basisSecurity, Until: now.Add(last)})
	}
	return nil
}

// forgetLists takes a number off the lists of run time, but for blocks.
func (g *Gate) forgetLists(now time.Time, number phone.Number, author string, out *consent.Forgotten) error {
	target, err := lists.ParseTarget(number.E164())
	if err != nil {
		return err
	}
	for list := lists.Allow; list <= lists.Test; list++ {
		if _, there := g.PolicyLists().Find(list, target); there {
			out.Kept = append(out.Kept, consent.Kept{Kind: "policy_list", Records: 1, Basis: basisPolicy})
		}
		if g.lists == nil {
			continue
		}
		if list == lists.Block {
			if e, there := g.lists.Snapshot().Find(list, target); there {
				out.Kept = append(out.Kept, consent.Kept{Kind: "list", Records: 1, Basis: basisAbuse, Until: e.Expires})
			}
			continue
		}
		_, removed, err := g.lists.Remove(now, list, target, "forgotten", author)
		if err != nil {
			return err
		}
		if removed {
			out.Removed["list"]++
		}
	}
	return nil
}
