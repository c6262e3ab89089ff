package consent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"sync"
)

// seal is what is kept of a phone number: an HMAC-SHA-256 under a secret, cut to 128 bits. Numbers can all be tried, so only
// the secret keeps a seal shut.
type seal [16]byte

// keyID names a secret without telling it.
type keyID uint32

const (
	minSecret = 16 // bytes
	maxKeys   = 4  // each costs every question one more HMAC
)

// Contexts keep uses of one secret apart. Their length is the same, so that no text can stand for another.
const (
	numberContext  = "sendgate/consent/number/1:"
	addressContext = "sendgate/consent/client/1:"
)

// sealer makes seals under one secret. It is safe for concurrent use.
type sealer struct {
	id   keyID
	key  []byte
	pool sync.Pool // of *sealing: the keyed state is computed once, which halves the blocks to hash
}

type sealing struct {
	mac hash.Hash
	buf [64]byte
}

func newSealers(secret []byte, old [][]byte) ([]*sealer, error) {
	if len(old) >= maxKeys {
		return nil, fmt.Errorf("consent: %d old secrets: give %d at most", len(old), maxKeys-1)
	}
	var out []*sealer
	for _, key := range append([][]byte{secret}, old...) {
		if len(key) < minSecret {
			return nil, errors.New("consent: the secret is too short: give 16 bytes or more from a random source")
		}
		s := newSealer(key)
		for _, other := range out {
			if other.id == s.id {
				return nil, errors.New("consent: the same secret twice: give each once, the newest first")
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func newSealer(secret []byte) *sealer {
	key := append([]byte(nil), secret...)
	id := hmac.New(sha256.New, key)
	id.Write([]byte("sendgate/consent/key-id/1"))
	s := &sealer{id: keyID(binary.BigEndian.Uint32(id.Sum(nil))), key: key}
	s.pool.New = func() any { return &sealing{mac: hmac.New(sha256.New, key)} }
	return s
}

// number seals the digits of a number.
func (s *sealer) number(digits uint64) seal {
	w := s.pool.Get().(*sealing)
	defer s.pool.Put(w)
	n := copy(w.buf[:], numberContext)
	binary.BigEndian.PutUint64(w.buf[n:], digits)
	w.mac.Reset()
	w.mac.Write(w.buf[:n+8])
	return seal(w.mac.Sum(w.buf[:0]))
}

// address seals the address of a person's device, as text for a record; "" for none.
func (s *sealer) address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	w := s.pool.Get().(*sealing)
	defer s.pool.Put(w)
	raw := a.Unmap().As16()
	w.mac.Reset()
	w.mac.Write([]byte(addressContext))
	w.mac.Write(raw[:])
	return fmt.Sprintf("%08x:%x", uint32(s.id), w.mac.Sum(w.buf[:0])[:16])
}

// person is a seal and the secret it was made with: how a number is known on disk and in files that leave the gate.
type person struct {
	key  keyID
	seal seal
}

const personSize = 4 + 16

func (p person) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(p.key)), p.seal[:]...)
}

func readPerson(b []byte) (person, []byte, error) {
	if len(b) < personSize {
		return person{}, nil, errors.New("consent: a record's key is cut off")
	}
	return person{keyID(binary.BigEndian.Uint32(b)), seal(b[4:personSize])}, b[personSize:], nil
}

// String is how a person is called in exports and reports: "p:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA".
func (p person) String() string {
	return fmt.Sprintf("p:%08x:%s", uint32(p.key), base64.RawURLEncoding.EncodeToString(p.seal[:]))
}

func parsePerson(text string) (person, error) {
	const form = "p:12345678:" // and 22 letters
	wrong := errors.New("consent: not a subject, such as p:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA")
	if len(text) != len(form)+22 || text[:2] != "p:" || text[10] != ':' {
		return person{}, wrong
	}
	id, err := hex.DecodeString(text[2:10])
	if err != nil {
		return person{}, wrong
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text[11:])
	if err != nil {
		return person{}, wrong
	}
	return person{keyID(binary.BigEndian.Uint32(id)), seal(raw)}, nil
}
