// Package consent knows who may be written to: who opted out, who agreed to what, and the proof of both.
//
//	store, err := consent.OpenFile("data/consent")
//	ledger, err := consent.Open(ctx, consent.Options{Store: store, Secret: secret, Rules: rules})
//	ruling := ledger.Judge(now, &consent.Ask{Number: n, Scope: consent.Scope{Account: "acme"}, Purpose: "marketing", Channel: "sms"})
//	heard, err := ledger.Hear(ctx, consent.Inbound{At: now, Number: n, Scope: to, Text: "Stop."}) // heard.Reply is the answer
//
// [Ledger.Judge] answers from memory: one HMAC and one look, about half a microsecond beside ten million opt-outs, 31 bytes each.
// A change is acknowledged when the [Store] has synced it.
//
// # What is kept
//
// A number is kept as an HMAC-SHA-256 under the operator's secret, cut to 128 bits; so is the address of a person's device. Texts are
// those that were shown, and keywords; what else a person wrote is not kept, and a text with the person's own number in it
// is refused. Nothing here can be turned back into a number, so lists that leave the gate name subjects: see [Ledger.Subject].
//
// # What it does not do
//
// It sends nothing, and it is no legal advice: defaults say where they come from, and an operator's counsel decides.
package consent
