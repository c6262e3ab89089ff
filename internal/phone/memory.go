package phone

import (
	"hash/maphash"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

const (
	// memorySize is how many spellings are remembered, about 200 bytes each.
	memorySize = 1 << 14
	// memoryLife is how long one is remembered. Answers never change; numbers just
	// should not lie around in memory.
	memoryLife = 10 * time.Minute
)

// memory holds what libphonenumber answered, a pure function of region and
// digits, so losing an entry costs time and nothing else. Neither callers nor
// attackers can make it grow past memorySize: it drops what comes once and keeps
// what comes often. It holds keyed hashes of the spellings and veiled numbers, no
// clear text. It is made when the program starts, so that its goroutines belong to
// no test's bubble and leak checks that ignore what runs already ignore them.
var memory, _ = ristretto.NewCache(&ristretto.Config[uint64, remembered]{
	NumCounters:        10 * memorySize,
	MaxCost:            memorySize,
	IgnoreInternalCost: true, // else a cost of 1 counts as some 60
	BufferItems:        64,
})

// remembered is an answer and the second half of the 128-bit hash of what was asked.
type remembered struct {
	check  uint64
	answer outcome
}

var memorySeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// remember returns the remembered answer for digits spelled in the region, ""
// for digits after a plus, or else what ask returns.
func remember(region, digits string, ask func() outcome) outcome {
	key, check := memoryKey(region, digits)
	if r, ok := memory.Get(key); ok && r.check == check {
		return r.answer
	}
	answer := ask()
	memory.SetWithTTL(key, remembered{check, answer}, 1, memoryLife)
	return answer
}

func memoryKey(region, digits string) (key, check uint64) {
	var b [maxSpelled + 2]byte
	asked := append(append(b[:0], region...), digits...)
	return maphash.Bytes(memorySeeds[0], asked), maphash.Bytes(memorySeeds[1], asked)
}
