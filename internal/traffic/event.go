package traffic

import (
	"strconv"
	"time"
)

// Benign labels traffic that is no attack.
const Benign = "benign"

// Event is a send, or what became of one.
type Event struct {
	At time.Time
	// ID names the send. An outcome has the ID of its send.
	ID string
	// Outcome is empty for a send; else verified, failed, expired, delivered or undelivered.
	Outcome string

	// Of a send. Client is empty for messages of a backend.
	Number, Client, Account, Endpoint, Purpose string
	// Label is Benign or the name of an attack, and Sub its kind; a detector must not see them.
	Label, Sub string
}

// AppendJSON appends the event as a line of a log, as `sendgate replay` reads it.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, `{"t":"`...)
	b = e.At.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	if e.Outcome != "" {
		b = append(b, `","type":"outcome","id":"`...)
		b = append(b, e.ID...)
		b = append(b, `","outcome":"`...)
		b = append(b, e.Outcome...)
		return append(b, "\"}\n"...)
	}
	b = append(b, `","type":"send"`...)
	for _, f := range [...][2]string{{"id", e.ID}, {"msisdn", e.Number}, {"ip", e.Client}, {"account", e.Account}, {"endpoint", e.Endpoint},
		{"purpose", e.Purpose}, {"label", e.Label}, {"sub", e.Sub}} {
		b = append(append(append(b, ',', '"'), f[0]...), `":`...)
		b = strconv.AppendQuote(b, f[1]) // plain ASCII words
	}
	return append(b, "}\n"...)
}
