// Package extract finds the facts of a send in a request that a proxy asks about: which number, whose address, which account.
//
//	number, err := extract.ParseSelector("body.json.messages[*].destination")
//	r := extract.Read(&extract.Request{Method: "POST", Target: "/v1/messages", Header: header, Body: body})
//	items, fault := r.All(number) // one item a message
//
// It reads strictly. The application behind the proxy reads the same bytes, and where two readers could understand them
// differently an attacker shows one number here and has another written to: so a key that stands twice, a body that was cut off or
// compressed, a parameter that comes twice are faults, never a guess. It knows no proxy, no limit and no verdict.
package extract
