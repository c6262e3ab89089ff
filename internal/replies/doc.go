// Package replies is the memory behind idempotency_key: who asks again with the same key is told the same and charged nothing,
// also while the first call is still under way, and after a restart.
//
//	table, err := replies.Open(replies.Options{Path: "data/replies", Secret: secret})
//	call, err := table.Begin(ctx, now, replies.Question{Account: "acme", Key: key, Body: table.Sum(body)}, nil)
//	switch call.State {
//	case replies.Done:     return decode(call.Reply) // answered before, or just now by a twin that was waited for
//	case replies.Conflict: return errKeyReused       // the same key with another body
//	case replies.New, replies.Full:                  // Full: as New, but no one will remember
//	}
//	defer call.Abandon() // does nothing after Finish
//	...
//	err = call.Finish(reply)
//
// The table has a fixed size, off the Go heap, and is never scanned or swept: a record is free again once its time is over. Keys
// and bodies are kept as keyed hashes only. What the caller puts into a reply is kept as it is: no number belongs there.
//
// # What a crash does
//
// A reply is kept once Finish has returned. A call that was under way when the process died is forgotten: whoever asks again
// is New. So what it had charged by then is charged again; answer only after Finish, and this is all that can happen.
package replies
