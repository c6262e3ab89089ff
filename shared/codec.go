package shared

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
)

// A batch is what one sidecar saw in a short time:
//
//	version (1) | sender (8) | number (4) | AES-256-GCM of: base time in milliseconds (varint), records
//
// The first 13 bytes are authenticated; sender and number are the nonce: a sender is drawn at random for each process, and no process
// lives for 2^32 batches. A send takes about 35 bytes, an outcome 16.
const (
	batchVersion = 1
	batchHead    = 1 + 8 + 4
)

var errBatch = errors.New("shared: a batch that no sidecar of this secret wrote")

// seal seals and opens batches.
type seal struct{ aead cipher.AEAD }

func newSeal(secret []byte) (seal, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "sendgate evidence 1", 32)
	if err != nil {
		return seal{}, fmt.Errorf("shared: derive the key of evidence: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return seal{}, fmt.Errorf("shared: key of evidence: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return seal{aead}, err
}

func (s seal) batch(sender [8]byte, number uint32, records []byte) []byte {
	b := make([]byte, 0, batchHead+len(records)+s.aead.Overhead())
	b = append(append(b, batchVersion), sender[:]...)
	b = binary.BigEndian.AppendUint32(b, number)
	return s.aead.Seal(b, b[1:batchHead], records, b)
}

func (s seal) open(b []byte) (sender [8]byte, number uint32, records []byte, err error) {
	if len(b) < batchHead || b[0] != batchVersion {
		return sender, 0, nil, errBatch
	}
	records, err = s.aead.Open(nil, b[1:batchHead], b[batchHead:], b[:batchHead])
	if err != nil {
		return sender, 0, nil, errBatch
	}
	copy(sender[:], b[1:])
	return sender, binary.BigEndian.Uint32(b[9:]), records, nil
}

// Bits of a send's first byte, above its Sight.
const (
	sightMask = 7
	bitLookup = 1 << (iota + 2)
	bitPassed
	bitSilent
	bitExempt
	bitClient4
)

const milli = 1_000_000

// appendRecord writes a sighting. Times are kept to the millisecond, relative to base.
func appendRecord(b []byte, base int64, s *gate.Sighting) []byte {
	at := binary.AppendVarint(nil, s.Send.At/milli-base)
	switch s.What {
	case gate.SightOutcome:
		b = append(append(b, byte(s.What)), at...)
		b = binary.BigEndian.AppendUint64(b, s.Send.ID)
		return append(append(b, byte(s.Outcome)), s.Account[:]...)
	case gate.SightReleased:
		r := &s.Released
		b = append(append(b, byte(s.What)), at...)
		b = append(b, byte(r.Scope))
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(r.Country)), r.Digits)
		p := r.Prefix()
		return appendAddr(append(b, byte(p.Bits())), p.Addr())
	}
	send := &s.Send
	first := byte(s.What)
	for _, f := range [...]struct {
		is  bool
		bit byte
	}{{send.Lookup, bitLookup}, {send.ChallengePassed, bitPassed}, {send.Silent, bitSilent}, {send.Exempt, bitExempt}} {
		if f.is {
			first |= f.bit
		}
	}
	b = append(append(b, first), at...)
	b = binary.BigEndian.AppendUint64(b, send.ID)
	b = binary.AppendUvarint(binary.AppendUvarint(b, send.Number), uint64(send.Country))
	b = binary.BigEndian.AppendUint64(b, send.Account)
	return appendAddr(b, send.Client)
}

// appendAddr writes the length of an address and the address.
func appendAddr(b []byte, a netip.Addr) []byte {
	bytes := a.AsSlice()
	return append(append(b, byte(len(bytes))), bytes...)
}

// readRecords calls f with each sighting.
func readRecords(b []byte, f func(*gate.Sighting)) error {
	in := reader{b: b}
	base := in.varint()
	for len(in.b) > 0 && !in.bad {
		first := in.take(1)[0]
		s := gate.Sighting{What: gate.Sight(first & sightMask)}
		s.Send.At = (base + in.varint()) * milli
		switch s.What {
		case gate.SightOutcome:
			s.Send.ID = in.uint64()
			s.Outcome = detect.OutcomeKind(in.byte())
			copy(s.Account[:], in.take(4))
		case gate.SightReleased:
			s.Released.Scope = detect.Scope(in.byte())
			s.Released.Country, s.Released.Digits = detect.Country(in.uvarint()), in.uvarint()
			bits := in.byte()
			if a := in.addr(); a.IsValid() {
				scope, country, digits := s.Released.Scope, s.Released.Country, s.Released.Digits
				s.Released = detect.AddressSubject(scope, netip.PrefixFrom(a, int(bits)))
				s.Released.Country, s.Released.Digits = country, digits
			}
		case gate.SightWent, gate.SightStopped, gate.SightDenied:
			send := &s.Send
			send.Lookup, send.ChallengePassed = first&bitLookup != 0, first&bitPassed != 0
			send.Silent, send.Exempt = first&bitSilent != 0, first&bitExempt != 0
			send.ID, send.Number, send.Country = in.uint64(), in.uvarint(), detect.Country(in.uvarint())
			send.Account, send.Client = in.uint64(), in.addr()
		default:
			in.bad = true
		}
		if !in.bad {
			f(&s)
		}
	}
	if in.bad {
		return errBatch
	}
	return nil
}

// reader takes values off the front of b. After a failure it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

var zeros [16]byte

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return zeros[:n]
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad = r.bad || n <= 0; r.bad {
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) addr() netip.Addr {
	n := int(r.byte())
	if n != 0 && n != 4 && n != 16 {
		r.bad = true
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(r.take(n))
	return a
}
