// Package redisstore keeps the promise of package limiter on a Redis or Valkey server that many sidecars share: at most N
// units per key in any window, all charges of a check or none. It needs a server from 6.0 (scripts, KEEPTTL); the near cache
// needs RESP3 and client tracking, which the same versions have.
//
//	o, err := redisstore.ParseURL("redis://127.0.0.1:6379/0")
//	o.Secret = secret // the same 32 bytes in every sidecar
//	store, err := redisstore.Open(o)
//
// # Keys
//
// A rule holds for a key one string, named
//
//	sg1{<22 characters>}<8 characters>
//
// where sg is Options.Prefix and 1 the version of what values look like. In braces is the HMAC-SHA-256 of what is limited,
// cut to 128 bits, in base64url: it does not lead back to a number without the secret, and, being a hash tag, it puts all
// rules of one key in one slot of a Cluster. The last 8 name the rule (group, name and kind, under the same secret). A
// check's token, sg1{...}~<16 characters>, is kept for 10 seconds and Options.Timeout. Every key has a time to live.
//
// # Time
//
// On one server, and behind Sentinel, every check is judged by the server's TIME, so clocks of sidecars do not matter:
// Decision.At is the server's. In a Cluster keys of one check lie on servers with clocks of their own. There a store
// follows the servers' time by the answers it gets, gives that reading to all of them, and each holds it within
// Options.Slack of its own: windows are exact by that clock, and shorter than they should be by at most twice Slack.
//
// # A Cluster
//
// Charges in different slots are claimed at once and given back when one is denied. Another check may see a claim that is
// given back a moment later and be denied for it: too strict for about a round trip, never too generous.
package redisstore
