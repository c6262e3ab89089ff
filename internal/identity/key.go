package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Bounds of an API key in bytes. Shorter ones can be guessed.
const (
	MinKey = 16
	MaxKey = 256
)

const (
	keyPrefix  = "sgk_" // so that people and secret scanners see what it is
	hashPrefix = "sha256:"
)

// NewKey makes an API key of 256 random bits.
func NewKey() string {
	var b [32]byte
	rand.Read(b[:])
	return keyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// HashKey is how a key is written where others may read it, such as in accounts.NAME.keys of a policy. It leads back to no key
// that was made by [NewKey]; a key that people thought of can be guessed from it.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// CheckKey tells what is wrong with a key. The error does not show it.
func CheckKey(key string) error {
	switch {
	case len(key) < MinKey:
		return fmt.Errorf("a key of %d characters can be guessed: write %d at least, sendgate keys new makes a good one", len(key), MinKey)
	case len(key) > MaxKey:
		return fmt.Errorf("a key has at most %d characters", MaxKey)
	case !isToken(key):
		return errors.New("a key has letters, digits and -._~+/ only, and = at its end")
	}
	return nil
}

// isToken is the token68 of RFC 9110, which is what a Bearer scheme can carry.
func isToken(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		c := body[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", rune(c)) {
			return false
		}
	}
	return body != ""
}

// parseHash reads what [HashKey] writes.
func parseHash(text string) (sum [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if n, e := hex.Decode(sum[:], []byte(digits[:min(len(digits), 2*len(sum))])); !ok || e != nil || n != len(sum) || len(digits) != 2*len(sum) {
		return sum, errors.New("not a hashed key: write sha256: and 64 hex digits, as sendgate keys hash prints")
	}
	return sum, nil
}

var (
	// ErrNoKey says that there is no Authorization header.
	ErrNoKey = errors.New("no API key: send the header authorization: Bearer KEY")
	// ErrMalformed says that there is one that holds no key.
	ErrMalformed = errors.New("the authorization header is not one line of Bearer and an API key")
)

// ParseAuthorization finds the API key in the lines of an Authorization header. Two lines are one too many: whoever is in front
// of us may have looked at the other.
func ParseAuthorization(lines []string) (string, error) {
	if len(lines) == 0 {
		return "", ErrNoKey
	}
	scheme, key, _ := strings.Cut(lines[0], " ")
	key = strings.TrimLeft(key, " ")
	if len(lines) > 1 || !strings.EqualFold(scheme, "bearer") || CheckKey(key) != nil {
		return "", ErrMalformed
	}
	return key, nil
}
