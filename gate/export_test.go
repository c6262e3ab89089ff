package gate

import (
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// ReadBack writes a verdict as it is remembered, and reads it.
func ReadBack(v Verdict) (Verdict, bool) { return readVerdict(appendVerdict(nil, &v)) }

// ReadVerdict reads a remembered verdict.
func ReadVerdict(b []byte) (Verdict, bool) { return readVerdict(b) }

// LimitKey is a rule of the policy and the key under which it counts a number without a client; "" for the account "".
func (g *Gate) LimitKey(name, number string) (*limiter.Rule, limiter.Key) {
	r := g.rules.Load()
	req := Request{Number: number, Cost: 1}
	if number == "" {
		req.Number = "+6581234567"
	}
	var send policy.Send
	if err := r.canonical(&req, &send); err != nil {
		panic(err)
	}
	for _, l := range r.all() {
		if l.name == name {
			key, _ := r.policy.AppendKey(nil, l.by, &send)
			return l.store, g.key(key)
		}
	}
	panic("no rule " + name)
}
