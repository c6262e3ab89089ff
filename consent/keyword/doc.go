// Package keyword reads what people answer to messages: STOP, START, HELP and their kin, in any spelling that carriers accept.
//
//	book, err := keyword.NewBook(keyword.Options{Languages: []string{"es"}})
//	m := book.Match("Please STOP!")   // m.Action == keyword.OptOut, m.Word == "STOP"
//
//	replies, err := keyword.NewReplies(keyword.Texts{Brand: "Acme", Support: "help@acme.example"})
//	text := replies.For(m)            // the compliant answer, checked when it was built
//
// # What counts
//
// Case, width, accents, punctuation, emoji and invisible characters do not count: "stop.", "ＳＴＯＰ", "S T O P" and "«Arrêt»" are
// keywords. What stands around a keyword does:
//
//	Exact      only the keyword             platforms on long codes and toll-free numbers
//	Courteous  and words that change nothing: "please stop", "stop texting me", "STOP Acme"; not "please stop by tomorrow"
//	Leading    and anything behind a keyword that opts out: "stop by tomorrow" opts out; some short-code programs
//
// Courteous is the default. A rule of the FCC (47 CFR 64.1200(a)(10), in force since April 2025) lets people revoke by any
// reasonable means and names stop, quit, end, revoke, opt out, cancel and unsubscribe; to miss one of them costs more than to hear
// one too many, which START undoes.
package keyword
