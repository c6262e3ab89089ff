// Package client asks a Sendgate before a message is sent, and tells it afterwards what became of it.
//
//	gate, err := client.New("127.0.0.1:7070", client.Options{})
//	verdict, err := gate.Check(ctx, client.Send{Number: "+6581234567", ClientAddress: "203.0.113.7"})
//	if err != nil || !verdict.Allowed() { return ... } // verdict.RetryAfter, client.Challenge
//	send()
//	err = gate.Report(ctx, client.Report{CheckID: verdict.CheckID, Outcome: client.Sent}) // later: client.Verified
//
// # When the gate cannot answer
//
// A check takes at most Options.Timeout, all tries together. If there is no answer by then, the verdict is what Options.FailMode
// says, Verdict.Answered is false and Verdict.Cause tells why. That is not an error: an error is something that the caller has to
// put right (a wrong field, a wrong API key), or the end of his context. Where the gate itself says that its store is gone and
// that the policy wants such sends stopped, the verdict is DENY in either fail mode: who wrote the policy has decided that.
//
// # Retries
//
// Each check carries an idempotency key, drawn for it unless the caller gives one, so that asking again never charges twice. A try
// is repeated if the gate could not be reached or did not answer within half of the time that was left, after a short random
// pause; not if too many tries have failed of late, as a gate that is overloaded needs less of them.
//
// # Numbers
//
// A [Number] masks itself however it is printed. Nothing in this package logs.
package client
