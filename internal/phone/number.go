package phone

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
)

// maxDigits is the longest E.164 number, calling code included (ITU-T E.164, 6.1).
const maxDigits = 15

// Number is a phone number in E.164: a calling code and a national number.
// The zero value is no number. Two Numbers are == exactly if their E.164 forms
// are equal, so a Number is a good map key within one process; what is stored
// or shared between processes is keyed by [Number.Digits].
//
// Every way of printing a Number masks it.
type Number struct {
	// The digits are veiled because fmt reads an unexported field of somebody
	// else's struct, and a traceback reads arguments, without asking Format.
	veiled uint64
}

// veil hides the digits of a Number from whoever prints memory. The top bit is
// set: digits never have it, so a veiled number is never zero.
var veil = func() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:]) | 1<<63
}()

func fromDigits(digits uint64) Number { return Number{digits ^ veil} }

// IsZero reports whether n is no number.
func (n Number) IsZero() bool { return n.veiled == 0 }

// Digits returns the E.164 digits as an integer, 6591234567 for +6591234567,
// and 0 for no number. This is clear text, meant for keyed hashes and stores;
// do not print it. [FromDigits] is the way back.
func (n Number) Digits() uint64 {
	if n.IsZero() {
		return 0
	}
	return n.veiled ^ veil
}

// E164 returns the number in clear text, "+6591234567", or "" for no number.
func (n Number) E164() string { return string(n.AppendE164(nil)) }

// AppendE164 appends the number in clear text to b.
func (n Number) AppendE164(b []byte) []byte {
	if n.IsZero() {
		return b
	}
	return appendDigits(append(b, '+'), n.Digits())
}

// CallingCode returns the country calling code, 65 for +6591234567, and 0 for
// no number.
func (n Number) CallingCode() int {
	if n.IsZero() {
		return 0
	}
	p, _ := plans.split(n.Digits())
	return p.code
}

// String returns the masked number, "+65****67": the calling code and the last
// two digits. National numbers shorter than six digits show no digits at all.
func (n Number) String() string {
	if n.IsZero() {
		return "none"
	}
	digits := n.Digits()
	p, national := plans.split(digits)
	b := strconv.AppendInt(append(make([]byte, 0, 12), '+'), int64(p.code), 10)
	b = append(b, "****"...)
	if national >= 6 {
		b = append(b, byte('0'+digits/10%10), byte('0'+digits%10))
	}
	return string(b)
}

// GoString masks %#v.
func (n Number) GoString() string { return n.String() }

// Format masks every verb: %q quotes the masked number, all others print it.
func (n Number) Format(f fmt.State, verb rune) {
	if verb != 'q' {
		verb = 's'
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), n.String())
}

// LogValue masks the number in structured logs.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// MarshalText masks the number in JSON and other text encodings, so what comes
// out cannot be read back. No number is the empty text.
func (n Number) MarshalText() ([]byte, error) {
	if n.IsZero() {
		return []byte{}, nil
	}
	return []byte(n.String()), nil
}
