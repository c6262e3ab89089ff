package identity

import "crypto/sha256"

// Sum is what [Book.KeySum] finds a key by again. It leads back to no key that was made by [NewKey]; keep it as secret as a key all
// the same.
func Sum(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// KeySum finds the owner of an API key of which only the sum was kept, such as in a session.
func (b *Book) KeySum(sum [sha256.Size]byte) (Owner, bool) {
	owner, ok := b.set.Load().keys[b.seal(sum)]
	return owner, ok
}
