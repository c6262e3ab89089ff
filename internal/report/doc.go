// Package report keeps what rules in shadow mode, candidates and shadowed detectors would have done: how many sends they would have
// stopped, what those cost, and how many of them turned out to be people.
//
//	book := report.New()
//	row := book.Row("number-30m~5")
//	row.Judged(&report.Check{At: now, Denied: true, Country: "SG", Money: 48_000})
//	...
//	row.Ended(&report.Check{At: now, Country: "SG", Money: 48_000}, true) // that send was verified
//	for _, e := range book.Entries(time.Time{}) { ... }
//
// A [Book] is bounded: [MaxRows] rows, each with [KeptHours] hours, [MaxGroups] countries and as many accounts. Who asks for more rows
// gets a nil [Row], which counts nothing, and [Book.Forgotten] says so. It holds no number and no address.
package report
