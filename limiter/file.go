package limiter

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

// The file of a table:
//
//	0      fixed header, written once: magic, version, sizes, seed, checksum
//	4096   living words: generation, newest reading, floor, recycle epoch, occupied slots, which registry copy counts
//	8192   two copies of the registry (where the words of each rule lie), each length, checksum, JSON
//	...    the regions of slots
//
// All numbers are little-endian. The file is allocated in full when it is made, so that a full disk is an error of Open and not
// a signal later; it is never grown or shrunk. The kernel writes it back; a killed process loses nothing that was stored.
// After a power failure the file may be some seconds old.
const (
	fileMagic    = "SENDGATE"
	fileVersion  = 1
	livingOffset = 4096
	registryAt   = 8192
	minSize      = 1 << 20
	maxSize      = 1 << 40
	defaultSize  = 256 << 20
)

// Errors of Open that a caller may want to tell apart; all are wrapped with the path and the way on.
var (
	ErrInUse     = errors.New("another process has this table open")
	ErrForeign   = errors.New("not a Sendgate table")
	ErrVersion   = errors.New("made by another version of Sendgate")
	ErrTorn      = errors.New("the table's header is damaged")
	ErrTruncated = errors.New("the table's file is shorter or longer than its header says")
)

const wayOn = "stop the process, move the file away and start again to begin with empty counters, or restore it from a copy"

// geometry is what the fixed header says.
type geometry struct {
	size     int64
	registry int64 // bytes of one registry copy
	slots    [classes]int64
	seed     [32]byte
}

const fixedLen = 8 + 4 + 4 + 8 + 8 + classes*8 + 32

func (g *geometry) marshal() []byte {
	b := make([]byte, 0, fixedLen+8)
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint32(b, fileVersion)
	b = binary.LittleEndian.AppendUint32(b, classes)
	b = binary.LittleEndian.AppendUint64(b, uint64(g.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(g.registry))
	for _, n := range g.slots {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, g.seed[:]...)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

func (g *geometry) unmarshal(b []byte, fileSize int64) error {
	if len(b) < 16 || string(b[:8]) != fileMagic {
		return ErrForeign
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != fileVersion {
		return fmt.Errorf("%w: format %d, this one reads %d", ErrVersion, v, fileVersion)
	}
	if len(b) < fixedLen+8 {
		return ErrTruncated
	}
	if binary.LittleEndian.Uint64(b[fixedLen:]) != xxhash.Sum64(b[:fixedLen]) {
		return ErrTorn
	}
	g.size = int64(binary.LittleEndian.Uint64(b[16:]))
	g.registry = int64(binary.LittleEndian.Uint64(b[24:]))
	for i := range g.slots {
		g.slots[i] = int64(binary.LittleEndian.Uint64(b[32+8*i:]))
	}
	copy(g.seed[:], b[32+8*classes:])
	if g.size != fileSize {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrTruncated, fileSize, g.size)
	}
	if binary.LittleEndian.Uint32(b[12:]) != classes || !g.fits() {
		return ErrTorn
	}
	return nil
}

// fits says that registry and slots lie inside the file.
func (g *geometry) fits() bool {
	room := g.size - registryAt
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
	room := size - registryAt - 2*g.registry
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
	if _, err := rand.Read(g.seed[:]); err != nil {
		return g, fmt.Errorf("limiter: no random seed: %w", err)
	}
	return g, nil
}

// openFile opens or makes the file at path, locks it and maps it.
func openFile(path string, size int64, shares [classes]int) (*os.File, []uint64, geometry, error) {
	for range 3 {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = makeFile(path, size, shares)
			if errors.Is(err, fs.ErrExist) {
				continue // another process made it first
			}
		}
		if err != nil {
			return nil, nil, geometry{}, fmt.Errorf("limiter: %w", err)
		}
		mem, g, err := mapFile(f)
		if err != nil {
			f.Close()
			return nil, nil, geometry{}, fmt.Errorf("limiter: open %s: %w", path, err)
		}
		return f, mem, g, nil
	}
	return nil, nil, geometry{}, fmt.Errorf("limiter: open %s: the file comes and goes: %w", path, ErrInUse)
}

// makeFile writes a whole new file beside path and links it into place, so that path never names an unfinished table.
func makeFile(path string, size int64, shares [classes]int) (*os.File, error) {
	g, err := plan(size, shares)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dirOf(path), ".table-*")
	if err != nil {
		return nil, err
	}
	tmp := f.Name()
	defer os.Remove(tmp)
	if err := fill(f, &g, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func fill(f *os.File, g *geometry, path string) error {
	if err := allocate(f, g.size); err != nil {
		return err
	}
	if err := writeAll(f, g.marshal()); err != nil {
		return err
	}
	if err := lock(f); err != nil { // before it has its name, so that no one else can be first
		return err
	}
	return os.Link(f.Name(), path)
}

func writeAll(f *os.File, b []byte) error {
	_, err := f.WriteAt(b, 0)
	return err
}

func dirOf(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i+1]
		}
	}
	return "."
}

func allocate(f *os.File, size int64) error {
	// Asked first: fallocate would fill the disk, to everybody's harm, before it says that there is not enough.
	var disk unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &disk) == nil && unix.Fstat(int(f.Fd()), &st) == nil &&
		size-st.Blocks*512 > int64(disk.Bavail)*disk.Bsize {
		return fmt.Errorf("allocate %d bytes for %s: %w: free some space or ask for a smaller table", size, f.Name(), unix.ENOSPC)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return fmt.Errorf("allocate %d bytes for %s: %w: free some space or ask for a smaller table", size, f.Name(), err)
	}
	return nil
}

// lock takes the one lock of the file. It is flock: it goes with the open file, so a killed process leaves none behind.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: give this one another data directory", ErrInUse)
	}
	return err
}

func mapFile(f *os.File) ([]uint64, geometry, error) {
	var g geometry
	if err := lock(f); err != nil {
		return nil, g, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, g, err
	}
	if !info.Mode().IsRegular() {
		return nil, g, fmt.Errorf("%w: not a regular file", ErrForeign)
	}
	head := make([]byte, fixedLen+8)
	n, _ := f.ReadAt(head, 0)
	if err := g.unmarshal(head[:n], info.Size()); err != nil {
		return nil, g, fmt.Errorf("%w: %s", err, wayOn)
	}
	// A copy of the file may have holes; touching one on a full disk would be a signal.
	if err := allocate(f, g.size); err != nil {
		return nil, g, err
	}
	p, err := unix.MmapPtr(int(f.Fd()), 0, nil, uintptr(g.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, g, fmt.Errorf("map: %w", err)
	}
	return unsafe.Slice((*uint64)(p), g.size/8), g, nil
}

// mapMemory is a table without a file: off the Go heap, in huge pages where the kernel has them.
func mapMemory(size int64, shares [classes]int) ([]uint64, geometry, error) {
	g, err := plan(size, shares)
	if err != nil {
		return nil, g, err
	}
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(g.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, g, fmt.Errorf("limiter: map %d bytes: %w", g.size, err)
	}
	mem := unsafe.Slice((*uint64)(p), g.size/8)
	_ = unix.Madvise(unsafe.Slice((*byte)(p), g.size), unix.MADV_HUGEPAGE) // a hint; some kernels have none
	return mem, g, nil
}

// abandon lays empty memory over a mapping: its pages are given back at once, and a straggler that still runs touches nothing
// of the file and is not killed by a signal.
func abandon(mem []uint64) {
	p := unsafe.Pointer(unsafe.SliceData(mem))
	_, _ = unix.MmapPtr(-1, 0, p, uintptr(len(mem)*8), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED|unix.MAP_NORESERVE)
}

func unmap(mem []uint64) {
	_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)*8))
}
