// Package phone turns any human spelling of a phone number into one
// canonical value, and says what kind of number it is.
//
// [Parse] comes first: "+65 9123-4567", "tel:+65-9123-4567", "006591234567"
// and, with the default region SG, "9123 4567" are one [Number]. A Number is a
// small comparable value that masks itself however it is printed, so two
// spellings are one key and no log shows a full number. [Number.E164] and
// [Number.Digits] are the clear text.
//
// [Number.Info] tells country, type and validity; [Number.Range] is the block
// of 100 to 1,000,000 neighbours that detection counts by.
//
// # Possible and valid
//
// Parse accepts a number whose calling code is assigned and whose length is
// possible there. Whether the numbering plan uses these digits at all is
// [Info].Valid: plans change faster than metadata, so that is for the policy to
// judge and not for the parser.
//
// # Cost
//
// What libphonenumber knows about a plan is compiled into tables when the first
// number of its calling code is met. From then on E.164 and the usual national
// spellings are read, and [Number.Info] is answered, in 20 to 120 ns without
// an allocation, fresh numbers like known ones: in an attack all are fresh. Other
// spellings ask libphonenumber, some 10 us.
//
// # What is kept
//
// Up to 16,384 answers of libphonenumber, for 10 minutes, under keyed hashes of
// the spellings. Nothing that a client sends makes it more, and no clear text is
// in it.
//
// All functions may be called concurrently.
package phone
