package gate

import (
	"fmt"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/policy"
)

// newListSet builds the lists that a policy fixes.
func newListSet(p *policy.Policy) (*lists.Set, error) {
	var entries []lists.Entry
	for _, part := range []struct {
		list    lists.List
		name    string
		entries []policy.Entry
	}{
		{lists.Allow, "allow", p.Lists.Allow},
		{lists.Block, "block", p.Lists.Block},
		{lists.Test, "test_numbers", p.Lists.TestNumbers},
	} {
		for _, e := range part.entries {
			t, err := targetOf(e)
			if err != nil {
				return nil, fmt.Errorf("gate: lists.%s of policy %s: %s: %w", part.name, p.Version, e, err)
			}
			entries = append(entries, lists.Entry{List: part.list, Target: t})
		}
	}
	return lists.NewSet(entries...)
}

func targetOf(e policy.Entry) (lists.Target, error) {
	if !e.Number.IsZero() {
		return lists.ParseTarget(e.Number.E164())
	}
	return lists.ParseTarget(e.String())
}

// listed is what the lists have for one send.
type listed struct {
	result lists.Result
	at     time.Time
}

// look asks the lists of the policy and those of run time.
func (g *Gate) look(r *rules, send *policy.Send, at time.Time) listed {
	l := listed{at: at}
	fixed, live := r.lists, (*lists.Set)(nil)
	if g.lists != nil {
		live = g.lists.Snapshot()
	}
	if fixed.Len() == 0 && (live == nil || live.Len() == 0) {
		return l
	}
	q := lists.Query{Number: send.Number.Digits(), Country: send.Number.Country(), Address: send.Client, Account: send.Account}
	l.result = fixed.Lookup(q, at)
	if live != nil {
		l.result = live.Lookup(q, at).Merge(l.result)
	}
	return l
}

// judgeTest lets a number for tests pass. It is counted nowhere.
func (l *listed) judgeTest(v *Verdict) bool {
	if !l.result.Test.OK() {
		return false
	}
	v.Kind, v.Reason = Allow, "list:test"
	return true
}

// judgeBlock refuses what is blocked by hand.
func (l *listed) judgeBlock(v *Verdict) bool {
	standing, why := l.result.Standing()
	if standing != lists.Blocked {
		return false
	}
	v.Kind, v.Reason = Deny, "list:block"
	if end := why.Entry().Expires; !end.IsZero() {
		v.RetryAfter = end.Sub(l.at)
	}
	return true
}

// judgeAllow lets pass what is allowed by hand: no limit and no detector stops it, and it is charged nothing. It comes after
// everything that a person on the other side has a say in.
func (l *listed) judgeAllow(v *Verdict) bool {
	if standing, _ := l.result.Standing(); standing != lists.Allowed {
		return false
	}
	v.Kind, v.Reason = Allow, "list:allow"
	return true
}

// allows says that the allow list lets the send pass limits and detection.
func (l *listed) allows() bool {
	standing, _ := l.result.Standing()
	return standing == lists.Allowed
}

// namesNumber says that the allow list names this number itself, its range or its prefix: whoever wrote that meant the number,
// whatever its country or type. A whole country or a client's address means less.
func (l *listed) namesNumber() bool {
	if standing, _ := l.result.Standing(); standing != lists.Allowed || !l.result.Allow.Number.OK() {
		return false
	}
	return l.result.Allow.Number.Entry().Target.Kind() != lists.KindCountry
}
