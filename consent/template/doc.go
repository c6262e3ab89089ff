// Package template follows the message templates of WhatsApp: what the platform thinks of each decides whether a send with it can pass.
//
//	events, err := template.ParseWhatsApp(body)      // after template.VerifySignature
//	book.Apply(ctx, events...)
//	ruling := book.Admit(now, template.ID{...})      // template:paused, with retry-after
//
// # The machine
//
//	unknown ── any event ──> pending, approved, rejected, ...
//	approved ── PAUSED, FIRST_PAUSE ──> paused for 3 h ── over ──> approved
//	approved ── PAUSED, SECOND_PAUSE ─> paused for 6 h ── over ──> approved
//	approved ── PAUSED or DISABLED a third time ──> disabled, until REINSTATED
//	approved ── PAUSED, RATE_LIMITING_PAUSE ──> paused by pacing, until Release or UNPAUSE
//
// The durations are Meta's (Template pausing, 2025-10). Events that come twice or late change nothing.
//
// A template that nobody told about passes: the platform is the judge of its own templates, this only spares sends it would refuse.
package template
