package consent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
)

// ordersKept is for how long those who share a store can still read who is to be forgotten: whoever was away may hold evidence.
const ordersKept = day

// An order tells the others to forget a person. Its key is a time and some random bytes, its value the number, sealed with AES-256-GCM under
// the newest secret: what the others hold beside this store cannot be found by what is kept of a number here.
func (l *Ledger) order(now time.Time, n phone.Number) (Change, error) {
	aead, err := l.sealers[0].aead()
	if err != nil {
		return Change{}, err
	}
	key := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	key = append(key, make([]byte, aead.NonceSize())...)
	rand.Read(key[8:])
	return Change{KindForget, key, aead.Seal(nil, key[8:], binary.BigEndian.AppendUint64(nil, n.Digits()), key)}, nil
}

// Ordered reads whom an order of another ledger with the same secrets is about.
func (l *Ledger) Ordered(key, value []byte) (phone.Number, error) {
	for _, s := range l.sealers {
		aead, err := s.aead()
		if err != nil {
			return phone.Number{}, err
		}
		if len(key) != 8+aead.NonceSize() {
			break
		}
		if digits, err := aead.Open(nil, key[8:], value, key); err == nil && len(digits) == 8 {
			return phone.FromDigits(binary.BigEndian.Uint64(digits))
		}
	}
	return phone.Number{}, errors.New("consent: who is to be forgotten is sealed with another secret: give all the same, and that of before as an old one")
}

func (s *sealer) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.key, nil, "sendgate/consent/forget/1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
