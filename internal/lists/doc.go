// Package lists holds the allow, block and test lists: numbers, number ranges, prefixes, countries, addresses, CIDRs and accounts.
//
// A [Set] is immutable: any number of goroutines read it without locks. Policy builds one from its own file with [NewSet].
// A [Store] is a Set that changes at run time: each change is one line of a journal, synced to disk before it counts, and
// then a new snapshot that shares almost everything with the one before.
//
//	set, err := lists.NewSet(entries...)             // from the policy
//	store, err := lists.Open(dir, secret)            // from the admin API
//	q := lists.Query{Number: 6591234567, Country: "SG", Address: client}
//	result := store.Lookup(q, now).Merge(set.Lookup(q, now))
//	standing, why := result.Standing()
//
// # What wins
//
// Within one list the most specific entry that has not expired answers: number, then range or prefix by the digits it fixes,
// then country; addresses by prefix length. Number, address and account are the dimensions of a send, and a [Result] has each.
// [Result.Standing] weighs allow against block; an opt-out of the person stands above both and is not decided here.
//
// # What is on disk
//
// An exact number is stored as an HMAC-SHA-256 under the secret, cut to 128 bits, beside a mask such as +65****67. Ranges and
// prefixes are stored as written: they are never a full number. The journal keeps author, reason and time of each change; see [Store].
package lists
