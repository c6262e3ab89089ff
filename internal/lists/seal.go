package lists

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
)

// keyID names a secret without telling it: the first 4 bytes of an HMAC of a fixed text. Zero is none.
type keyID uint32

// minSecret is the least length of a secret in bytes. Numbers can all be tried, so only the secret keeps a seal shut.
const minSecret = 16

// sealer turns numbers into seals: HMAC-SHA-256 cut to 128 bits. It is safe for concurrent use.
type sealer struct {
	id   keyID
	pool sync.Pool // of *sealing: the keyed state is computed once, which halves the blocks to hash
}

type sealing struct {
	mac hash.Hash
	buf [sha256.Size]byte
}

// sealContext keeps seals apart from other uses of the same secret.
const sealContext = "sendgate/lists/number/1:"

func newSealer(secret []byte) (*sealer, error) {
	if len(secret) < minSecret {
		return nil, errors.New("lists: the secret is too short: give 16 bytes or more from a random source")
	}
	key := append([]byte(nil), secret...)
	id := hmac.New(sha256.New, key)
	id.Write([]byte("sendgate/lists/key-id/1"))
	s := &sealer{id: max(1, keyID(binary.BigEndian.Uint32(id.Sum(nil))))}
	s.pool.New = func() any { return &sealing{mac: hmac.New(sha256.New, key)} }
	return s, nil
}

func (s *sealer) seal(digits uint64) [16]byte {
	w := s.pool.Get().(*sealing)
	defer s.pool.Put(w)
	w.mac.Reset()
	n := copy(w.buf[:], sealContext)
	binary.BigEndian.PutUint64(w.buf[n:], digits)
	w.mac.Write(w.buf[:n+8])
	return [16]byte(w.mac.Sum(w.buf[:0]))
}

// sealTarget is the target with a number replaced by its seal; other targets stay.
func (s *sealer) sealTarget(t Target) Target {
	if t.kind == KindNumber && !t.sealed {
		t = Target{plain: plain{kind: KindNumber, sealed: true, key: s.id, ends: t.ends, raw: s.seal(t.digits())}}
	}
	return t
}

// ends tells by the digits that a mask shows, the first two and the last two, which numbers need no HMAC because none like them is
// there. One stays in it that was removed, until the set is built anew. It has a bit for each of the 10,000 masks.
type ends [10_000/64 + 1]uint64

func (e *ends) add(shown [2]uint8) {
	i := uint(shown[0])*100 + uint(shown[1])
	e[i/64] |= 1 << (i % 64)
}

// has tells of a number of so many digits, 2 at least, whether one with its mask was added.
func (e *ends) has(digits uint64, length int) bool {
	i := digits/tens[length-2]*100 + digits%100
	return e[i/64]>>(i%64)&1 != 0
}
