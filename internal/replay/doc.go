// Package replay judges a log of sends as the sidecar would have, on the clock of the log.
//
// A [Replayer] is fed lines. Each send is answered by the same [gate.Gate] that serves, with a counter table in memory and its own
// detection engine; outcomes reach both. Secrets and seeds are fixed, so the same log gives the same bytes.
//
// Replay is counterfactual: outcomes of sends that it denied never happened and are ignored. Whether a challenge was solved is for
// the log to say: an outcome of a challenged send counts.
package replay
