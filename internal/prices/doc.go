// Package prices says what a message costs: a table of number prefixes, the longest that fits counts.
//
//	prefix,price,currency,country
//	1,0.0079,USD,US
//	65,0.0420,USD,SG
//	6591,0.0451,USD,SG
//
// A price is that of one segment of a message. It is kept in millionths of the currency and never touches a binary fraction.
// A table has one currency. A number that no prefix fits costs as much as the dearest prefix: a budget must not be passed by
// sending where nobody thought of.
//
// A [Table] is immutable: any number of goroutines may use it.
package prices
