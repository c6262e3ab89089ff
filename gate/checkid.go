package gate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// A check id is a sealed ticket: whoever holds the secret can open it and read when the check was made, for which number and for
// whom, and what it was charged, without having stored anything; nobody else can read it, make one or change one. It is
// AES-256-GCM over
//
//	at (8 bytes, Unix nanoseconds) | number (7, E.164 digits as an integer) | account (4, a hash) | flags (1)
//
// and for a send that was allowed
//
//	outcome timeout in seconds, cost, money (uvarints)
//	| where shadow would have stopped it: n (1) | n rules, candidates and detectors (4 each, a hash)
//	| for each key: key (12) | n (1) | n rules (4 each, a hash)
//
// behind one byte of version and a 12-byte nonce. 15 decimal digits fit 50 bits, so 7 bytes hold any number. With the
// built-in policy an id is about 150 bytes of base64url text; with 8 keys and 24 rules about 340.
const (
	checkIDVersion = 2
	checkIDNonce   = 12
	checkIDHead    = 1 + checkIDNonce
	checkIDFixed   = 8 + 7 + 4 + 1

	// maxCheckID bounds the text: 64 charges of as many keys, which is what the limiter takes at once, and as many of shadow rules.
	maxCheckID = 4096
)

// Bits of the flags. Those between say the purpose.
const (
	flagAllowed   = 1 << 0
	purposeShift  = 1
	purposeMask   = 3
	flagKnownGood = 1 << 3
	flagShadow    = 1 << 4
)

// purposes by number in a check id.
var purposes = [...]string{"otp", "transactional", "marketing"}

// SecretSize is how long Options.Secret has to be, in bytes.
const SecretSize = 32

// errUnknownID and errForgedID refuse an id that is none.
var (
	errUnknownID = &RefusedError{"CHECK_ID_UNKNOWN", "check_id: this is not one of this service: give the check_id of the answer that allowed the send"}
	errForgedID  = &RefusedError{"CHECK_ID_FORGED", "check_id: it was changed, or made under another secret: give it exactly as it was answered"}
)

// checkID is what a check id remembers.
type checkID struct {
	at      time.Time // the reading the charges were taken at
	number  uint64
	account [4]byte
	// start and sequence are the nonce. They name the send; sequence alone does within the process.
	start    [4]byte
	sequence uint64

	allowed, knownGood bool
	purpose            string
	// Of a send that was allowed.
	timeout     time.Duration
	cost, money int64
	shadow      []uint32 // rows of the report that would have stopped it, at most maxShadow
	took        []took
}

const (
	// maxShadow is how much that would have stopped a send an id remembers.
	maxShadow = 64
	// maxTook is from how many charges on those of rules in shadow are not remembered: an id has an end.
	maxTook = 128
)

// took is one charge of a send.
type took struct {
	rule uint32 // of ruleID
	key  limiter.Key
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
	key, err := hkdf.Key(sha256.New, secret, nil, "sendgate check id 2", 32)
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

// accountTag is what a check id remembers of its account: enough to tell accounts of one policy apart. 32 bits are no proof against
// whoever may choose names, with any hash; who may speak for an account is told by keys.
func accountTag(account string) (tag [4]byte) {
	binary.BigEndian.PutUint32(tag[:], crc32.ChecksumIEEE([]byte(account)))
	return tag
}

// ruleID is what a check id remembers of a rule. Those of one policy are kept apart when it is read.
func ruleID(group, name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(group + "\x00" + name))
	return h.Sum32()
}

// shortKey keeps of a key what a check id has room for: 96 of its 128 bits. Every key of the gate is cut so, or what an id gives
// back would be another key's to a store that looks at all of it.
func shortKey(k limiter.Key) limiter.Key {
	return limiter.Key{Fingerprint: k.Fingerprint &^ 0xffff, Place: k.Place &^ 0xffff}
}

// next draws the sequence of a check. Each may be sealed once.
func (ids *checkIDs) next() uint64 { return ids.counter.Add(1) }

// seal returns the id of a check as text, and the buffer it worked in for the next one.
func (ids *checkIDs) seal(buf []byte, c *checkID) (string, []byte) {
	b := append(buf[:0], checkIDVersion)
	b = append(b, ids.start[:]...)
	b = binary.BigEndian.AppendUint64(b, c.sequence)
	b = c.append(b)
	b = ids.aead.Seal(b[:checkIDHead], b[1:checkIDHead], b[checkIDHead:], b[:1]) // in place
	n := len(b)
	b = slices.Grow(b, base64.RawURLEncoding.EncodedLen(n))
	text := b[n:][:base64.RawURLEncoding.EncodedLen(n)]
	base64.RawURLEncoding.Encode(text, b[:n])
	return string(text), b
}

// append writes what is sealed.
func (c *checkID) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(c.at.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, c.number<<8)[:len(b)+7]
	b = append(b, c.account[:]...)
	flags := byte(0)
	for i, p := range purposes {
		if p == c.purpose {
			flags = byte(i) << purposeShift
		}
	}
	if c.knownGood {
		flags |= flagKnownGood
	}
	if !c.allowed {
		return append(b, flags)
	}
	if len(c.shadow) > 0 {
		flags |= flagShadow
	}
	b = append(b, flags|flagAllowed)
	b = binary.AppendUvarint(b, uint64(c.timeout/time.Second))
	b = binary.AppendUvarint(b, uint64(c.cost))
	b = binary.AppendUvarint(b, uint64(c.money))
	if len(c.shadow) > 0 {
		b = append(b, byte(len(c.shadow)))
		for _, row := range c.shadow {
			b = binary.BigEndian.AppendUint32(b, row)
		}
	}
	for i := range c.took {
		key := c.took[i].key
		if c.wrote(i) {
			continue
		}
		b = binary.BigEndian.AppendUint64(b, key.Fingerprint)[:len(b)+6]
		b = binary.BigEndian.AppendUint64(b, key.Place)[:len(b)+6]
		n := len(b)
		b = append(b, 0)
		for j := i; j < len(c.took); j++ {
			if c.took[j].key == key {
				b = binary.BigEndian.AppendUint32(b, c.took[j].rule)
				b[n]++
			}
		}
	}
	return b
}

// wrote says that the key of a charge came before, with an earlier one.
func (c *checkID) wrote(i int) bool {
	for j := range i {
		if c.took[j].key == c.took[i].key {
			return true
		}
	}
	return false
}

// open reads an id back.
func (ids *checkIDs) open(id string) (checkID, error) {
	if len(id) > maxCheckID {
		return checkID{}, errUnknownID
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) < checkIDHead+checkIDFixed+ids.aead.Overhead() || raw[0] != checkIDVersion {
		return checkID{}, errUnknownID
	}
	plain, err := ids.aead.Open(nil, raw[1:checkIDHead], raw[checkIDHead:], raw[:1])
	if err != nil {
		return checkID{}, errForgedID
	}
	c := checkID{sequence: binary.BigEndian.Uint64(raw[5:])}
	copy(c.start[:], raw[1:5])
	if !c.read(plain) {
		return checkID{}, errForgedID // we sealed nonsense: nothing that a caller can do
	}
	return c, nil
}

// read reads what was sealed. It reports false where that makes no sense.
func (c *checkID) read(b []byte) bool {
	c.at = time.Unix(0, int64(binary.BigEndian.Uint64(b)))
	c.number = binary.BigEndian.Uint64(b[7:]) & (1<<56 - 1)
	copy(c.account[:], b[15:])
	flags := b[19]
	b = b[checkIDFixed:]
	if p := int(flags >> purposeShift & purposeMask); p < len(purposes) {
		c.purpose = purposes[p]
	}
	c.allowed, c.knownGood = flags&flagAllowed != 0, flags&flagKnownGood != 0
	if !c.allowed {
		return len(b) == 0
	}
	var numbers [3]int64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt64 {
			return false
		}
		numbers[i], b = int64(v), b[n:]
	}
	c.timeout, c.cost, c.money = time.Duration(numbers[0])*time.Second, numbers[1], numbers[2]
	if flags&flagShadow != 0 {
		if len(b) < 1 || len(b) < 1+4*int(b[0]) {
			return false
		}
		n := int(b[0])
		for b = b[1:]; n > 0; n-- {
			c.shadow = append(c.shadow, binary.BigEndian.Uint32(b))
			b = b[4:]
		}
	}
	for len(b) > 0 {
		if len(b) < 13 || len(b) < 13+4*int(b[12]) {
			return false
		}
		key := limiter.Key{
			Fingerprint: binary.BigEndian.Uint64(b) &^ 0xffff,
			Place:       binary.BigEndian.Uint64(append(b[6:12:12], 0, 0)),
		}
		n := int(b[12])
		for b = b[13:]; n > 0; n-- {
			c.took = append(c.took, took{binary.BigEndian.Uint32(b), key})
			b = b[4:]
		}
	}
	return true
}
