// Package detect sees what looks like abuse of messages: number ranges pumped for money, one address asking for many numbers,
// one number flooded, codes guessed, numbers probed.
//
// An [Engine] is told of every send before it happens ([Engine.Observe]) and of what became of it ([Engine.Outcome]). It answers
// with advice and with [Signal] values that say what was seen, where, against which threshold and with which evidence. It keeps
// all state in tables of one fixed size, reads no clock, and needs no configuration.
//
// The caller follows the advice. Where it does not, it says so: [Engine.Denied] when something else (a plain limit) stopped a
// send that the engine would have let pass, [Engine.Admitted] when a send went out against the advice. A send that was stopped
// never happened: it uses up no allowance and does not count as unverified.
//
// # What is evidence
//
// The unit is a session: all sends to one number within ten minutes. People press "send again", broken clients retry; neither
// multiplies evidence. A number counts once a day towards its range. A session that was not verified after a minute counts as
// failed, and a later verification takes that back. Ranges are judged by composition, not volume: every session of a country is
// a trial whether it falls into the range, against the share of verified traffic the range has earned. A flash crowd raises all
// ranges together and cancels out.
//
// # Caveats
//
// Advice for a shared scope (country, operator) is never Deny. A number that verified before passes range and country blocks.
// Without outcomes the engine still sees composition, fan-out and floods, yet later. Results repeat exactly for the same calls
// in the same order; calls made at the same time are safe but their order is not defined.
package detect
