// Package mapped gives a table its memory: of a fixed size, off the Go heap, in a file that outlives the process or in none.
//
// The file belongs to one process at a time, is allocated in full when it is made, so that a full disk is an error of [Open]
// and not a signal later, and is never grown, shrunk or reset. The kernel writes it back: a killed process loses nothing that
// it stored; after a power failure the file may be some seconds old, and each page as old as it likes.
package mapped

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors of Open that a caller may want to tell apart; all are wrapped with the path and the way on.
var (
	ErrInUse     = errors.New("another process has this file open: give this one another data directory")
	ErrForeign   = errors.New("not the file of this table")
	ErrVersion   = errors.New("made by another version of Sendgate")
	ErrTorn      = errors.New("the header is damaged")
	ErrTruncated = errors.New("shorter or longer than the header says")
)

const wayOn = "stop the process, move the file away and start again to begin with an empty table, or restore it from a copy"

// The sizes that a memory can have, in bytes.
const (
	Page    = 4096
	MinSize = Page
	MaxSize = 1 << 40
)

// Memory is what a table lives in. It begins at a page and is zero where nothing was stored. The caller sees to it that it is
// not touched after Close.
type Memory struct {
	// Bytes is the memory itself.
	Bytes []byte
	// Seed was drawn when the memory was made, and stays with the file.
	Seed [32]byte
	// Plan is that of the Kind with which the memory was made.
	Plan []byte

	file *os.File // nil for memory without a file
}

// Open opens the file at path or makes it, and locks it; an empty path is memory without a file. Size is what Bytes has at
// least, rounded up to whole pages; a file that is there already keeps the size it was made with. A file that is in use,
// damaged, foreign or of another version is an error that says how to go on.
func Open(path string, size int64, kind Kind) (*Memory, error) {
	if size < MinSize || size > MaxSize {
		return nil, fmt.Errorf("a size of %d bytes: must be %d to %d", size, MinSize, int64(MaxSize))
	}
	if len(kind.Plan) > MaxPlan {
		return nil, fmt.Errorf("a plan of %d bytes: at most %d", len(kind.Plan), MaxPlan)
	}
	h := header{kind: kind, size: Page + (size+Page-1)/Page*Page}
	rand.Read(h.seed[:]) // never fails
	if path == "" {
		return mapPages(nil, h)
	}
	for range 3 {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = create(path, h)
			if errors.Is(err, fs.ErrExist) {
				continue // another process made it first
			}
		}
		if err != nil {
			return nil, err
		}
		m, err := adopt(f, kind)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		return m, nil
	}
	return nil, fmt.Errorf("open %s: it comes and goes: %w", path, ErrInUse)
}

// create writes a whole new file beside path and links it into place, so that path never names an unfinished one.
func create(path string, h header) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".mapped-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	err = allocate(f, h.size)
	if err == nil {
		_, err = f.WriteAt(h.marshal(), 0)
	}
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func adopt(f *os.File, kind Kind) (*Memory, error) {
	if err := lock(f); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrForeign)
	}
	start := make([]byte, headerLen+MaxPlan)
	n, _ := f.ReadAt(start, 0) // too little is told by parse
	h, err := parse(start[:n], info.Size(), kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, wayOn)
	}
	// A copy of the file may have holes; touching one on a full disk would be a signal.
	if err := allocate(f, h.size); err != nil {
		return nil, err
	}
	return mapPages(f, h)
}

// mapPages maps what is behind the header; without a file, memory of the same size.
func mapPages(f *os.File, h header) (*Memory, error) {
	fd, flags, offset := -1, unix.MAP_PRIVATE|unix.MAP_ANON, int64(0)
	if f != nil {
		fd, flags, offset = int(f.Fd()), unix.MAP_SHARED, Page
	}
	length := h.size - Page
	p, err := unix.MmapPtr(fd, offset, nil, uintptr(length), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", length, err)
	}
	return &Memory{Bytes: unsafe.Slice((*byte)(p), length), Seed: h.seed, Plan: h.kind.Plan, file: f}, nil
}

// lock takes the one lock of the file. It is flock: it goes with the open file, so a killed process leaves none behind.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

func allocate(f *os.File, size int64) error {
	if err := Reserve(f, size); err != nil {
		return fmt.Errorf("allocate %d bytes for %s: %w: free some space or ask for less", size, f.Name(), err)
	}
	return nil
}

// Reserve makes the file at least size bytes long and has its disk set all of them aside: a page that is touched later never fails.
func Reserve(f *os.File, size int64) error {
	// Asked first: the kernel would fill the disk, to everybody's harm, before it says that there is not enough.
	var disk unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &disk) == nil && unix.Fstat(int(f.Fd()), &st) == nil &&
		size-st.Blocks*512 > int64(disk.Bavail)*int64(disk.Bsize) {
		return unix.ENOSPC
	}
	return reserve(f, size)
}

// Close gives the memory back and unlocks the file.
func (m *Memory) Close() error {
	if m.Bytes == nil {
		return nil
	}
	err := unmap(m.Bytes)
	m.Bytes = nil
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}

// Abandon is Close for who cannot know that nobody touches Bytes any more: empty memory takes their place, so that a straggler
// changes nothing of the file and is not killed by a signal. The addresses are given back with the last reference to m.
func (m *Memory) Abandon() error {
	p := unsafe.Pointer(unsafe.SliceData(m.Bytes))
	_, err := unix.MmapPtr(-1, 0, p, uintptr(len(m.Bytes)), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED|unix.MAP_NORESERVE)
	runtime.AddCleanup(m, func(b []byte) { _ = unmap(b) }, m.Bytes)
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}

func unmap(b []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}
