// Package gate makes one decision: may this send go out, now?
//
// [Gate.Check] is a straight line. A [Request] is brought to one spelling ([policy.Send]); the policy says which limits it
// meets; the store takes what they charge, all or nothing; the answer is judged into a [Verdict]; observers are told, off
// the road of the caller.
//
//	g, err := gate.New(ctx, gate.Options{Policy: policy.Default(), Store: table, Clock: clock.Now, Secret: secret})
//	v, err := g.Check(ctx, &gate.Request{Number: "+6581234567", ClientAddress: "203.0.113.7", Cost: 1})
//	if err != nil { ... }                    // *InvalidError: the request is wrong; *UnavailableError: the store is gone
//	if v.Kind == gate.Allow { send() }
//
// Being limited is a verdict, never an error. A send that is not allowed is charged nothing, except by rules that say
// count_denied.
package gate
