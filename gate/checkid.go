package gate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A check id is a sealed ticket: whoever holds the secret can open it and read when the check was made, for which number
// and for whom, without having stored anything; nobody else can read it, make one or change one. It is AES-256-GCM over
//
//	at (8 bytes, Unix nanoseconds) | number (7, E.164 digits as an integer) | account (4, a hash)
//
// behind one byte of version and a 12-byte nonce: 48 bytes, 64 as base64url text. 15 decimal digits fit 50 bits, so 7
// bytes hold any number.
const (
	checkIDVersion = 1
	checkIDNonce   = 12
	checkIDSealed  = 8 + 7 + 4
	checkIDBytes   = 1 + checkIDNonce + checkIDSealed + 16
	checkIDText    = checkIDBytes / 3 * 4
)

// SecretSize is how long Options.Secret has to be, in bytes.
const SecretSize = 32

// ErrCheckID is returned for a check id that this secret did not make, or that was changed.
var ErrCheckID = errors.New("not a check id of this service")

type checkID struct {
	at      time.Time
	number  uint64
	account [4]byte
	// sequence is the counter in the nonce. It names the send within the process.
	sequence uint64
}

// checkIDs makes check ids and opens them. It is safe for concurrent use.
type checkIDs struct {
	aead cipher.AEAD
	// A nonce is 4 random bytes of this start and a counter that starts at the time of day in nanoseconds. Two starts
	// would have to draw the same 4 bytes and make a check a nanosecond to use a nonce twice.
	start   [4]byte
	counter atomic.Uint64
}

func newCheckIDs(secret []byte, now time.Time) (*checkIDs, error) {
	if len(secret) != SecretSize {
		return nil, fmt.Errorf("gate: secret of %d bytes: must be %d", len(secret), SecretSize)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "sendgate check id 1", 32)
	if err != nil {
		return nil, fmt.Errorf("gate: derive the key of check ids: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("gate: key of check ids: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("gate: key of check ids: %w", err)
	}
	ids := &checkIDs{aead: aead}
	rand.Read(ids.start[:]) // never fails: crypto/rand ends the process instead
	ids.counter.Store(uint64(now.UnixNano()))
	return ids, nil
}

// accountTag is what a check id remembers of its account: enough to tell accounts of one policy apart.
func accountTag(account string) (tag [4]byte) {
	sum := sha256.Sum256([]byte(account))
	copy(tag[:], sum[:])
	return tag
}

// next draws the sequence of a check. Each may be sealed once.
func (ids *checkIDs) next() uint64 { return ids.counter.Add(1) }

// seal writes the id of a check into buf and returns it as text.
func (ids *checkIDs) seal(buf *[checkIDBytes + checkIDText]byte, c checkID) string {
	raw, text := buf[:checkIDBytes], buf[checkIDBytes:]
	raw[0] = checkIDVersion
	nonce := raw[1 : 1+checkIDNonce]
	copy(nonce, ids.start[:])
	binary.BigEndian.PutUint64(nonce[4:], c.sequence)

	plain := raw[1+checkIDNonce:][:checkIDSealed]
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], c.number)
	binary.BigEndian.PutUint64(plain, uint64(c.at.UnixNano()))
	copy(plain[8:], number[1:])
	copy(plain[15:], c.account[:])
	ids.aead.Seal(plain[:0], nonce, plain, raw[:1])

	base64.RawURLEncoding.Encode(text, raw)
	return string(text)
}

// open reads an id back.
func (ids *checkIDs) open(id string) (checkID, error) {
	if len(id) != checkIDText {
		return checkID{}, ErrCheckID
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || raw[0] != checkIDVersion {
		return checkID{}, ErrCheckID
	}
	plain, err := ids.aead.Open(nil, raw[1:1+checkIDNonce], raw[1+checkIDNonce:], raw[:1])
	if err != nil {
		return checkID{}, ErrCheckID
	}
	var number [8]byte
	copy(number[1:], plain[8:15])
	c := checkID{
		at:       time.Unix(0, int64(binary.BigEndian.Uint64(plain))),
		number:   binary.BigEndian.Uint64(number[:]),
		sequence: binary.BigEndian.Uint64(raw[1+4:]),
	}
	copy(c.account[:], plain[15:])
	return c, nil
}
