package limiter

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sendgate/sendgate/internal/mapped"
)

// The memory of a table, behind the header that mapped keeps:
//
//	0      living words: generation, newest reading, floor, recycle epoch, occupied slots, which registry copy counts
//	4096   two copies of the registry (where the words of each rule lie), each length, checksum, JSON
//	...    the regions of slots
//
// All numbers are little-endian. How the memory is divided is the plan in the header, written once.
const (
	fileMagic   = "SENDGATE"
	fileVersion = 2
	livingAt    = 0
	registryAt  = 4096
	minSize     = 1 << 20
	maxSize     = 1 << 40
	defaultSize = 256 << 20
)

// Errors of Open that a caller may want to tell apart; all are wrapped with the path and the way on.
var (
	ErrInUse     = mapped.ErrInUse
	ErrForeign   = mapped.ErrForeign
	ErrVersion   = mapped.ErrVersion
	ErrTorn      = mapped.ErrTorn
	ErrTruncated = mapped.ErrTruncated
	// ErrSecret is about a table whose keys were hashed under another secret: none of them would be found.
	ErrSecret = errors.New("made with another secret: give the one it was made with")
)

const wayOn = "stop the process, move the file away and start again to begin with empty counters, or restore it from a copy"

// geometry is what the plan of a file says, and its size.
type geometry struct {
	size     int64 // of the file, with its header
	registry int64 // bytes of one registry copy
	slots    [classes]int64
	secret   uint64 // of secretSum
}

func (g *geometry) marshal() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(g.registry))
	for _, n := range g.slots {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return binary.LittleEndian.AppendUint64(b, g.secret)
}

func (g *geometry) unmarshal(b []byte) error {
	if len(b) != 8+8*classes+8 {
		return ErrTorn
	}
	g.registry = int64(binary.LittleEndian.Uint64(b))
	for i := range g.slots {
		g.slots[i] = int64(binary.LittleEndian.Uint64(b[8+8*i:]))
	}
	g.secret = binary.LittleEndian.Uint64(b[8+8*classes:])
	if !g.fits() {
		return ErrTorn
	}
	return nil
}

// fits says that registry and slots lie inside the file.
func (g *geometry) fits() bool {
	room := g.size - mapped.Page - registryAt
	if g.registry < 4096 || g.registry%4096 != 0 || g.registry > room/2 {
		return false
	}
	room -= 2 * g.registry
	for i, n := range g.slots {
		if n == 0 {
			continue
		}
		if n < 2*classReach[i] || n > room/(8*classWords[i]) {
			return false
		}
		room -= n * 8 * classWords[i]
	}
	return true
}

// plan divides size over the classes by their shares.
func plan(size int64, shares [classes]int) (geometry, error) {
	g := geometry{registry: 32 << 10}
	if size >= 64<<20 {
		g.registry = 256 << 10
	}
	size &^= 4095
	total := 0
	for _, s := range shares {
		if s < 0 {
			return g, fmt.Errorf("limiter: Options.Shares %v: must not be negative", shares)
		}
		total += s
	}
	if total == 0 {
		return g, fmt.Errorf("limiter: Options.Shares %v: at least one must be more than 0", shares)
	}
	room := size - mapped.Page - registryAt - 2*g.registry
	for i, s := range shares {
		if s == 0 {
			continue
		}
		// Whole pages, so that every region starts at one and no slot straddles a cache line.
		n := room * int64(s) / int64(total) / 4096 * 4096 / (8 * classWords[i])
		if n < 2*classReach[i] {
			return g, fmt.Errorf("limiter: Options.Size %d is too small for Options.Shares %v: make it larger", size, shares)
		}
		g.slots[i] = n
	}
	g.size = size
	return g, nil
}

// openMemory opens or makes what a table lives in.
func openMemory(o Options) (*mapped.Memory, geometry, error) {
	g, err := plan(o.Size, o.Shares)
	if err != nil {
		return nil, g, err
	}
	g.secret = secretSum(o.Secret)
	m, err := mapped.Open(o.Path, g.size-mapped.Page, mapped.Kind{Magic: fileMagic, Version: fileVersion, Plan: g.marshal()})
	if err != nil {
		return nil, g, fmt.Errorf("limiter: %w", err)
	}
	if o.Path == "" {
		mapped.Huge(m.Bytes)
	}
	asked := g.secret
	g.size = mapped.Page + int64(len(m.Bytes))
	if err = g.unmarshal(m.Plan); err == nil && g.secret != asked {
		err = ErrSecret
	}
	if err != nil {
		return nil, g, errors.Join(fmt.Errorf("limiter: open %s: %w: %s", o.Path, err, wayOn), m.Close())
	}
	return m, g, nil
}

// secretSum tells secrets apart without telling anything of them.
func secretSum(secret []byte) uint64 {
	sum := sha256.Sum256(append([]byte("sendgate table "), secret...))
	return binary.LittleEndian.Uint64(sum[:])
}
