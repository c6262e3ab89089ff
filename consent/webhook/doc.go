// Package webhook reads what messaging platforms post: messages from people, and what they think of templates. It believes nothing
// that is not signed, where a secret is given.
//
//	source := webhook.Source{Platform: "twilio", Secrets: [][]byte{token}, URL: "https://gate.example.com/v1/webhooks/sms"}
//	delivery, err := source.Read(&webhook.Call{Header: r.Header.Get, Body: body, Now: now})
//
// # Replays
//
// What carries a signed time is refused five minutes later. What does not, such as Twilio's posts, carries the id of a message: whoever hears
// it again, by [consent.Inbound.Reference], does nothing. Platforms post again themselves when they are not answered, some for days.
package webhook
