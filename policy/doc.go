// Package policy is the rules as immutable data: it parses a policy file, validates it and tells which limits a send meets.
//
// [Parse] reads the YAML, or says everything that is wrong with it at once, each problem with its line and what to write
// instead. [Default] is the policy that is built in. [Reference] lists every field; the parser reads by the same table. [Lint] also
// says what is allowed and probably not meant, and [ParseTests] reads the tests that stand beside a policy.
//
//	p, err := policy.Parse("policy.yaml", src)
//	rules, err := store.Define(ctx, p.LimiterLimits())  // rules[i] is p.Limits[i]
//	var plan policy.Plan                                // scratch, reused from send to send
//	p.Plan(&send, &plan)
//	for _, c := range plan.Enforced {
//		// charge rules[c.Limit] with store.Key(plan.Key(c.Key))
//	}
//
// # What applies to a send
//
// A limit applies when every field of its match holds and not every field of its unless does, and its when, a [Condition] in CEL. A
// field that is not written holds for every send. Of limits that share a name, one judges a send: the one in otp.known_good for a
// number that is known good, else the one of its account, else the one in limits. One that stands in for a limit differs from it in
// what is written.
//
// # What is not supported
//
// Anchors, aliases, tags and merge keys of YAML are refused: a policy says what it means where it says it.
//
// A [Policy] never changes and is safe for concurrent use. A [Plan] belongs to one goroutine.
package policy
