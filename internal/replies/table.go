package replies

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sendgate/sendgate/internal/mapped"
)

const (
	defaultSize = 128 << 20
	defaultKeep = 10 * time.Minute
	maxKeep     = 24 * time.Hour
	maxRegions  = 256
	minRegion   = 128 // sets; in smaller ones some would be full long before others
)

// ErrClosed is returned by a table that was closed.
var ErrClosed = errors.New("replies: the table is closed")

// Options says how to open a table.
type Options struct {
	// Path is the file, made if it is not there. Empty: memory only, forgotten with the process.
	Path string
	// Size of the table in bytes, 4 KiB to 1 TiB. A record takes 512 and lives for Keep, and half of the table can be
	// counted on: for 1000 keys a second and 10 minutes have 600 MB. A file that is there already keeps its size. Default: 128 MiB, 262,144 records.
	Size int64
	// Secret goes into the hashes of keys and bodies. With another secret, what the file remembers is not found.
	Secret []byte
	// Keep is how long a reply is remembered, from the beginning of its call; up to a day. Default: 10 minutes.
	Keep time.Duration
	// Shared is asked about keys that are new here, so that other processes know them, which must have the same secret. Default none.
	Shared Shared
}

// Table remembers replies. All its methods may be called concurrently.
//
// Its sets are divided into regions, each behind one lock that is held for about a microsecond and never while somebody waits.
// Both sets of a key lie in one region.
type Table struct {
	mem     *mapped.Memory
	sets    []set
	regions []region
	each    uint64 // sets in a region
	epoch   uint64 // drawn by this process
	secret  [sha256.Size]byte
	keep    int64  // microseconds
	shared  Shared // nil where there is none

	fresh, replayed, waited, conflicts, full, damaged, unshared atomic.Int64
}

type region struct {
	mu      sync.Mutex
	closed  bool
	last    uint64                   // sequence
	waiting map[uint64]chan struct{} // by the sequence of the call that is waited for; closed when it ends
	_       [32]byte                 // a cache line each
}

// Open opens the table. A file that is in use, damaged, foreign or of another version is an error that says how to go on, one
// of those of internal/mapped; nothing is reset silently.
func Open(o Options) (*Table, error) {
	if o.Size == 0 {
		o.Size = defaultSize
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.Keep < time.Millisecond || o.Keep > maxKeep {
		return nil, fmt.Errorf("replies: Options.Keep %v: must be 1ms to %v", o.Keep, maxKeep)
	}
	mem, err := mapped.Open(o.Path, o.Size, mapped.Kind{Magic: "SGREPLY\x00", Version: 2})
	if err != nil {
		return nil, fmt.Errorf("replies: %w", err)
	}
	t := &Table{mem: mem, keep: o.Keep.Microseconds(), shared: o.Shared}
	t.sets = unsafe.Slice((*set)(unsafe.Pointer(unsafe.SliceData(mem.Bytes))), len(mem.Bytes)/int(unsafe.Sizeof(set{})))
	regions := 1
	for regions < maxRegions && 2*regions*minRegion <= len(t.sets) {
		regions *= 2
	}
	t.regions, t.each = make([]region, regions), uint64(len(t.sets)/regions)
	seed := mem.Seed[:]
	if o.Shared != nil {
		seed = nil // the hashes must be those of the others
	}
	t.secret = sha256.Sum256(append(seed[:len(seed):len(seed)], o.Secret...))
	var epoch [8]byte
	rand.Read(epoch[:]) // never fails
	t.epoch = binary.LittleEndian.Uint64(epoch[:])
	return t, nil
}

// Close gives the memory back and unlocks the file. Who waits in Begin gets [ErrClosed], and calls that are under way are forgotten.
func (t *Table) Close() error {
	for i := range t.regions {
		r := &t.regions[i]
		r.mu.Lock()
		defer r.mu.Unlock() // all are held until the memory is gone
		if r.closed {
			return nil
		}
		r.closed = true
		for sequence := range r.waiting {
			r.wake(sequence)
		}
	}
	return t.mem.Close()
}

// Stats counts since Open.
type Stats struct {
	Capacity  int64 // records that fit
	New       int64 // calls that were new
	Replayed  int64 // calls that were told a reply
	Waited    int64 // times that a call waited for its twin
	Conflicts int64 // calls with a key that has another body
	Full      int64 // calls that found no room
	Damaged   int64 // records that were found damaged and forgotten
	Unshared  int64 // times that the other processes could not be asked, or told
}

// Stats returns the counts. They are not of one moment.
func (t *Table) Stats() Stats {
	return Stats{
		Capacity: int64(len(t.regions)) * int64(t.each) * reach,
		New:      t.fresh.Load(), Replayed: t.replayed.Load(), Waited: t.waited.Load(),
		Conflicts: t.conflicts.Load(), Full: t.full.Load(), Damaged: t.damaged.Load(), Unshared: t.unshared.Load(),
	}
}

// Sum is a keyed hash. Nobody without the secret can tell what it is of, or make two that are alike.
type Sum [16]byte

// Sum returns the hash of a body: of all that must be the same when a key is used again.
func (t *Table) Sum(body []byte) Sum { return t.sum('b', body) }

func (t *Table) keySum(account, key string) Sum {
	var room [320]byte // two names of 128 bytes, so that nothing is allocated
	b := binary.LittleEndian.AppendUint64(room[:0], uint64(len(account)))
	return t.sum('k', append(append(b, account...), key...))
}

// sum hashes the secret and the data in one go. Of the 256 bits half are kept, so that nobody can go on from a hash he knows.
func (t *Table) sum(of byte, data []byte) Sum {
	var room [512]byte // so that most are hashed without an allocation
	b := append(append(room[:0], t.secret[:]...), of)
	whole := sha256.Sum256(append(b, data...))
	return Sum(whole[:16])
}

// home returns the region of a key and the two sets it may lie in.
func (t *Table) home(key *Sum) (r *region, sets [2]*set) {
	a, b := binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])
	n := a % uint64(len(t.regions))
	i, _ := bits.Mul64(a, t.each)
	j, _ := bits.Mul64(b, t.each)
	return &t.regions[n], [2]*set{&t.sets[n*t.each+i], &t.sets[n*t.each+j]}
}
