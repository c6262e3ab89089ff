package server

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// budgetKey is a key of a budget, in the words that are shown.
type budgetKey struct{ rule, key string }

// budgetCount is money that went out by a key lately, fading, and a send of it, to ask the gate about.
type budgetCount struct {
	money  float32
	sample policy.Send
}

// countBudgets remembers the keys of the budgets that a send is charged to. b is locked.
func (b *Board) countBudgets(e *gate.Event, price int64) {
	if b.inForce == nil || price == 0 {
		return
	}
	p := b.inForce()
	for i := range p.Spend {
		k := budgetKey{p.Spend[i].Name, keyOf("", p.Spend[i].By, &e.Send).String()}
		c := b.spent.rows[k]
		if c == nil {
			c = &budgetCount{sample: e.Send}
			b.spent.set(k, c)
		}
		c.money += float32(price)
	}
}

const (
	budgetsShown = 50
	budgetsEvery = 3 * time.Second // asking costs a look into the store for each
)

// budgets asks what is spent of each budget. b is locked.
func (b *boards) budgets() *sendgatev1.BoardBudgets {
	if last, ok := b.parts[budgetsPart].message.(*sendgatev1.BoardBudgets); ok && time.Since(b.asked) < budgetsEvery {
		return last
	}
	b.asked = time.Now()
	out := new(sendgatev1.BoardBudgets)
	p := b.gate.Policy()
	if len(p.Spend) == 0 {
		return out
	}
	for k, sample := range b.board.samples() {
		i := slices.IndexFunc(p.Spend, func(s policy.Spend) bool { return s.Name == k.rule })
		if i < 0 {
			continue // the policy has it no more
		}
		s := &p.Spend[i]
		spent, ok := b.spentOf(s.Name, &sample)
		if !ok {
			continue
		}
		out.Budgets = append(out.Budgets, &sendgatev1.BoardBudget{Rule: s.Name, Says: budgetSays(s), Key: k.key, Spent: spent, Budget: s.Budget,
			WarnAt: int64(s.WarnAt * float64(s.Budget)), Mode: string(s.Mode)})
	}
	slices.SortFunc(out.Budgets, func(x, y *sendgatev1.BoardBudget) int {
		return cmp.Or(cmp.Compare(share(y), share(x)), strings.Compare(x.Rule, y.Rule), strings.Compare(x.Key, y.Key))
	})
	return out
}

func share(b *sendgatev1.BoardBudget) float64 { return float64(b.Spent) / float64(max(1, b.Budget)) }

// samples are a send of each key that most money went out by.
func (b *Board) samples() map[budgetKey]policy.Send {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[budgetKey]policy.Send)
	for _, k := range b.spent.top(budgetsShown) {
		out[k] = b.spent.rows[k].sample
	}
	return out
}

// spentOf asks the gate what a budget has spent for the key that a send has there.
func (b *boards) spentOf(rule string, s *policy.Send) (int64, bool) {
	in := &sendgatev1.ExplainSendRequest{Check: &sendgatev1.CheckSendRequest{Number: s.Number.E164(), Account: s.Account, Subaccount: s.Subaccount,
		Endpoint: s.Endpoint, Channel: s.Channel, Purpose: sendgatev1.Purpose(sendgatev1.Purpose_value["PURPOSE_"+strings.ToUpper(s.Purpose)]),
		ChallengePassed: s.ChallengePassed}}
	if s.Client.IsValid() {
		in.Check.ClientAddress = s.Client.String()
	}
	out, err := b.ExplainSend(asOperator(context.Background(), identity.Owner{Admin: true}), in)
	if err != nil {
		return 0, false
	}
	for _, r := range out.Rules {
		if r.Kind == "spend" && r.Rule == rule && r.Applies {
			return r.Held, true
		}
	}
	return 0, false
}
