// Package policytest runs the tests that operators write for their policies: each on a gate of its own with empty counters, the one
// that serves, and on a clock that moves only when the test says so.
//
//	tests, err := policy.ParseTests("policy_test.yaml", src, p)
//	report, err := policytest.Run(ctx, p, tests)
//
// What is expected and what came are compared field by field; a field that a step does not write does not matter.
package policytest
