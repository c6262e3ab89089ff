// Package audit keeps what was decided and changed, so that it can be shown later and so that changing it afterwards shows.
//
// A [Log] is a chain of records in a directory: one JSON object a line, each sealed with HMAC-SHA-256 over its own bytes and the seal of
// the line before. [Verify] walks the chain and says which line was changed, removed, put in, swapped or cut off. A [Trail] is the two
// chains of a sidecar: changes (by operators, reloads, blocks, starts and stops; each on the disk before it is done) and checks (every
// refusal, one by one up to a rate and counted beyond it; some of what was allowed). They are two so that a flood of refusals, which an attacker can make, does not push out what
// operators did.
//
// # What it shows, and what not
//
// Whoever changes files and does not have the secret is found out. Whoever has the secret can write a chain of his own: keep the secret
// elsewhere (--secret-file), or keep what [Report.Head] says outside the machine now and then. A whole directory put back to
// an older state, head file and all, shows only against such a head. What a killed process had not written yet is missing without a
// trace: at most a queue of refusals, never a change.
//
// # No numbers
//
// A number is written as [Veil.Number] has it: +6581cfbdhj. Letters stand for its last six digits, the same number has the same letters, and
// neighbours share the leading ones, so a pumped range is seen as one and a log can be replayed. Who has the secret can tell
// whether some number is the one; who has not, and learns which letters one number has, learns as many digits of another as the two
// begin with together.
package audit
