package replay

import (
	"encoding/binary"

	"github.com/sendgate/sendgate/limiter"
)

// repeatable is a store whose keys are hashed without a secret, the same in every run.
type repeatable struct{ limiter.Store }

// Key hashes by two multiply-and-mix rounds. The log's writer could aim at a place in the table and only hurt his own replay.
func (repeatable) Key(b []byte) limiter.Key {
	x, y := uint64(0x9e3779b97f4a7c15)^uint64(len(b)), uint64(0xd1b54a32d192ed03)
	for len(b) > 0 {
		var word [8]byte
		n := copy(word[:], b)
		b = b[n:]
		w := binary.LittleEndian.Uint64(word[:])
		x, y = mix(x^w), mix(y+w)
	}
	return limiter.Key{Fingerprint: x, Place: y}
}

// mix is the finalizer of MurmurHash3.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func hash(b []byte) uint64 {
	k := repeatable{}.Key(b)
	return k.Fingerprint ^ k.Place<<1
}
