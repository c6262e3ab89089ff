// Package traffic makes labelled traffic: an ordinary day of codes and messages, and any attack of the catalogue within it. It is
// for demonstrations, for tests, and for operators who want to see what would happen. It shows how detection works and predicts
// nothing: people and attackers are made up.
//
// A [Stream] gives events in the order of time, from memory that does not grow with the length of the day. The same [Options]
// give the same events, and an attack does not change what honest people do beside it.
package traffic
