package gate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// ResetRequest names a key by the parts that rules count by, each spelled as in Request.
type ResetRequest struct {
	// Rule is the one to reset. Empty: every rule that counts by nothing but parts that are given.
	Rule                                                                   string
	Number, ClientAddress, Account, Subaccount, Endpoint, Channel, Purpose string
}

// Reset makes rules forget what they hold for a key, and returns their names. Rules by country or range are reset only where
// Rule names them: whoever gives a number means the number. Delays, budgets and the guards of entered codes (verify-number and
// verify-client) are rules like others. Without Rule the blocks of detection on the number or the address itself end as well, and are
// named as in reasons: "block:KIND:SCOPE". Of rules with one name, those of other accounts are left alone.
// The error is an *InvalidError, an *UnavailableError, or that of ctx.
func (g *Gate) Reset(ctx context.Context, req *ResetRequest) ([]string, error) {
	for {
		r := g.rules.Load()
		names, err := g.resetBy(ctx, r, req)
		if errors.Is(err, limiter.ErrForeignRule) && g.rules.Load() != r {
			continue // the policy changed meanwhile
		}
		return names, err
	}
}

func (g *Gate) resetBy(ctx context.Context, r *rules, req *ResetRequest) ([]string, error) {
	var bad violations
	send := r.resetSend(req, &bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	var names, missing []string
	for _, l := range r.all() {
		if req.Rule != "" && l.name != req.Rule || l.account != "" && req.Account != "" && l.account != req.Account {
			continue
		}
		if lacks := lacking(l.by, req); lacks != "" {
			missing = append(missing, fmt.Sprintf("%s needs %s", l.name, lacks))
			continue
		}
		key, ok := r.policy.AppendKey(nil, l.by, &send)
		if !ok {
			continue // a tier of the other address family
		}
		if err := r.in(g, l).Reset(ctx, g.clock(), l.store, g.key(key)); err != nil {
			if errors.Is(err, limiter.ErrForeignRule) || ctx.Err() != nil {
				return nil, err
			}
			return nil, &UnavailableError{Rule: l.name, Err: err}
		}
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
	}
	more, err := g.resetOwn(ctx, r, req, &send)
	if err != nil {
		return nil, err
	}
	names = append(names, more...)
	switch {
	case len(names) > 0:
		return names, nil
	case len(missing) > 0:
		slices.Sort(missing)
		bad.add("rule", "PARTS_MISSING", "no rule counts by what is given: "+strings.Join(slices.Compact(missing), "; "))
	default:
		bad.add("rule", "RULE_UNKNOWN", "the policy has no such rule for this key: write the name of one of its limits or budgets, or the purpose of a delay")
	}
	return nil, bad.err()
}

// resetOwn resets what is not a rule of the policy: the guards of entered codes, and blocks of detection.
func (g *Gate) resetOwn(ctx context.Context, r *rules, req *ResetRequest, send *policy.Send) (names []string, err error) {
	own := &r.own.verify
	forget := func(key limiter.Key, guards ...*rule) {
		for _, l := range guards {
			if req.Rule != "" && req.Rule != l.name || err != nil {
				continue
			}
			if failed := g.store.Reset(ctx, g.clock(), l.store, key); failed != nil {
				err = unavailable(failed)
			} else if !slices.Contains(names, l.name) {
				names = append(names, l.name)
			}
		}
	}
	if req.Number != "" {
		forget(g.numberKey(send.Account, send.Number.Digits()), &own.number, &own.passed)
	}
	if send.Client.IsValid() {
		var room [32]byte
		forget(g.key(r.resolver.Tier().AppendKey(room[:0], send.Client)), &own.client)
	}
	if err != nil || req.Rule != "" || g.detect == nil {
		return names, err
	}
	for _, b := range g.detect.Blocks(g.clock().UnixNano()) {
		about := b.Subject
		is := about.Scope == detect.ScopeNumber && req.Number != "" && about.Digits == send.Number.Digits() ||
			about.Scope == detect.ScopeAddress && send.Client.IsValid() && about.Prefix().Contains(send.Client)
		if is && g.Release(b.ID) {
			names = append(names, detectReason("block:", b.Kind, about.Scope))
		}
	}
	return names, nil
}

// resetSend is a send with the key's parts.
func (r *rules) resetSend(req *ResetRequest, bad *violations) policy.Send {
	send := policy.Send{Account: req.Account, Subaccount: req.Subaccount, Endpoint: req.Endpoint, Channel: req.Channel, Purpose: req.Purpose}
	for _, name := range [...][2]string{{"account", req.Account}, {"subaccount", req.Subaccount}, {"endpoint", req.Endpoint}, {"channel", req.Channel}, {"purpose", req.Purpose}} {
		bad.name(name[0], name[1])
	}
	if req.Number != "" {
		region := r.policy.Numbers.DefaultRegion
		if a := r.policy.Accounts[req.Account]; a != nil && a.DefaultRegion != "" {
			region = a.DefaultRegion
		}
		if len(req.Number) > maxNumber {
			bad.add("number", "NUMBER_INVALID", tooLong(maxNumber))
		} else if n, err := phone.Parse(req.Number, region); err != nil {
			bad.add("number", "NUMBER_INVALID", err.Error())
		} else {
			send.Number, send.Country = n, n.Country()
		}
	}
	if len(req.ClientAddress) > maxAddress {
		bad.add("client_address", "CLIENT_ADDRESS_INVALID", tooLong(maxAddress))
	} else if req.ClientAddress != "" {
		addr, err := r.resolver.Resolve(netip.Addr{}, req.ClientAddress, nil)
		if send.Client = addr; err != nil {
			bad.add("client_address", "CLIENT_ADDRESS_INVALID", addressError(err))
		}
	}
	return send
}

// lacking is the parts of a key that a request does not give. Names may be empty in the key of a rule that is named.
func lacking(by []policy.Part, req *ResetRequest) string {
	named := req.Rule != ""
	var lacks []string
	for _, part := range by {
		given := false
		switch part {
		case policy.ByNumber:
			given = req.Number != ""
		case policy.ByCountry, policy.ByRange2, policy.ByRange3, policy.ByRange4:
			given = req.Number != "" && named
		case policy.ByClient, policy.ByClient24, policy.ByClient48, policy.ByClient56:
			given = req.ClientAddress != ""
		case policy.ByAccount:
			given = req.Account != "" || named
		case policy.ByChannel:
			given = req.Channel != "" || named
		case policy.ByPurpose:
			given = req.Purpose != "" || named
		case policy.BySubaccount:
			given = req.Subaccount != "" || named
		case policy.ByEndpoint:
			given = req.Endpoint != "" || named
		}
		if !given {
			lacks = append(lacks, string(part))
		}
	}
	return strings.Join(lacks, " and ")
}
