package detect

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// A snapshot is a header, then a chunk for each piece of a section that is not empty, then an end mark with a checksum of all
// before it. Numbers are little-endian; the cells are written as they lie in memory, so a snapshot fits engines of the same size
// and version only. It holds the seed of the hash and the digits of held numbers: keep it as safe as a key.
const (
	snapshotMagic   = "sgdetect"
	snapshotVersion = 1
	endMark         = 1<<32 - 1
)

// ErrSnapshot is wrapped by every error of Restore that is about the content.
var ErrSnapshot = errors.New("detect: not a usable snapshot")

// header of a snapshot. The sizes are there so that a changed layout is noticed even if the version was forgotten.
type snapshotHeader struct {
	Magic       [8]byte
	Version     uint32
	Layout      uint32
	Size        int64
	Seed, Seed2 uint64
	Base        int64
	Next, Due   uint32
	Young       uint32
	BloomSince  uint32
	BloomCount  int64
	LastBlock   uint64
}

func layout() uint32 {
	return uint32(unsafe.Sizeof(countryState{}))<<16 | uint32(unsafe.Sizeof(blockRow{}))<<4 | uint32(unsafe.Sizeof(session{}))/64
}

// Snapshot writes all state. Calls may go on meanwhile: each bucket of cells is written whole, yet not all at the same moment.
// What happens after it was written is lost when the process ends.
func (e *Engine) Snapshot(w io.Writer) error {
	sum := xxhash.New()
	out := &snapshotWriter{w: bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)}
	h := snapshotHeader{Version: snapshotVersion, Layout: layout(), Size: int64(len(e.mem.all)), Seed: e.seed, Seed2: e.seed2,
		Base: e.base.Load(), Young: e.known.young.Load(), BloomSince: e.known.since.Load(), BloomCount: e.known.count.Load()}
	copy(h.Magic[:], snapshotMagic)
	e.sessions.mu.Lock()
	h.Next, h.Due = e.sessions.next, e.sessions.due
	e.sessions.mu.Unlock()
	e.blocks.mu.Lock()
	h.LastBlock = e.blocks.lastID
	e.blocks.mu.Unlock()
	out.put(h)
	e.sections(out.section)
	out.put(uint32(endMark))
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err == nil {
		_, out.err = w.Write(binary.LittleEndian.AppendUint64(nil, sum.Sum64()))
	}
	if out.err != nil {
		return fmt.Errorf("detect: writing a snapshot: %w", out.err)
	}
	return nil
}

// Restore replaces all state by a snapshot. The engine must have the same Size and not be in use yet. On an error it is as it
// was; an error about the content wraps [ErrSnapshot].
func (e *Engine) Restore(r io.Reader) error {
	sum := xxhash.New()
	in := bufio.NewReaderSize(r, 1<<16)
	hashed := io.TeeReader(in, sum)
	var h snapshotHeader
	if err := binary.Read(hashed, binary.LittleEndian, &h); err != nil {
		return fmt.Errorf("%w: it ends in the header", ErrSnapshot)
	}
	switch {
	case string(h.Magic[:]) != snapshotMagic:
		return fmt.Errorf("%w: it does not begin as one", ErrSnapshot)
	case h.Version != snapshotVersion || h.Layout != layout():
		return fmt.Errorf("%w: it is of version %d.%x, this engine reads %d.%x", ErrSnapshot, h.Version, h.Layout, snapshotVersion, layout())
	case h.Size != int64(len(e.mem.all)):
		return fmt.Errorf("%w: it is of an engine of %d bytes, this one has %d: set the same size", ErrSnapshot, h.Size, len(e.mem.all))
	}
	fresh, err := New(Options{Size: h.Size})
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	var all []section
	fresh.sections(func(s section) { all = append(all, s) })
	if err := readChunks(hashed, all); err != nil {
		return err
	}
	want := sum.Sum64()
	var got uint64
	if err := binary.Read(in, binary.LittleEndian, &got); err != nil || got != want {
		return fmt.Errorf("%w: the checksum is wrong or missing", ErrSnapshot)
	}
	if h.Next == 0 || h.Due == 0 || h.Young > 1 {
		return fmt.Errorf("%w: the header makes no sense", ErrSnapshot)
	}
	e.take(fresh, &h)
	return nil
}

// readChunks fills the sections until the end mark.
func readChunks(r io.Reader, all []section) error {
	var word [8]byte
	for {
		if _, err := io.ReadFull(r, word[:4]); err != nil {
			return fmt.Errorf("%w: it ends in the middle", ErrSnapshot)
		}
		id := binary.LittleEndian.Uint32(word[:])
		if id == endMark {
			return nil
		}
		if _, err := io.ReadFull(r, word[:]); err != nil {
			return fmt.Errorf("%w: it ends in the middle", ErrSnapshot)
		}
		i, n := binary.LittleEndian.Uint32(word[:]), binary.LittleEndian.Uint32(word[4:])
		if int64(id) >= int64(len(all)) || int64(i) >= int64(all[id].chunks) {
			return fmt.Errorf("%w: a chunk lies outside", ErrSnapshot)
		}
		first, second := all[id].pieces(int(i))
		if int(n) != len(first)+len(second) {
			return fmt.Errorf("%w: a chunk has the wrong length", ErrSnapshot)
		}
		for _, piece := range [...][]byte{first, second} {
			if _, err := io.ReadFull(r, piece); err != nil {
				return fmt.Errorf("%w: it ends in the middle", ErrSnapshot)
			}
		}
	}
}

// take moves the tables of another engine here, which gets the old ones.
func (e *Engine) take(f *Engine, h *snapshotHeader) {
	e.mem, f.mem = f.mem, e.mem
	e.numbers, e.ranges, e.addresses, e.origins, e.accounts = f.numbers, f.ranges, f.addresses, f.origins, f.accounts
	e.ids, e.countries, e.known.gens, e.sessions.rows, e.blocks.rows = f.ids, f.countries, f.known.gens, f.sessions.rows, f.blocks.rows
	e.seed, e.seed2 = h.Seed, h.Seed2
	e.base.Store(h.Base)
	e.sessions.next, e.sessions.due = h.Next, h.Due
	e.known.young.Store(h.Young)
	e.known.since.Store(h.BloomSince)
	e.known.count.Store(h.BloomCount)
	e.blocks.lastID = h.LastBlock
}

// section is a part of the state as a number of chunks.
type section struct {
	id     uint32
	chunks int
	lock   func(i int) (unlock func())
	pieces func(i int) (first, second []byte) // the memory of a chunk; the second may be empty
}

// sections lists all parts, always in the same order.
func (e *Engine) sections(do func(section)) {
	do(tableSection(0, &e.numbers))
	do(tableSection(1, &e.ranges))
	do(tableSection(2, &e.addresses))
	do(tableSection(3, &e.origins))
	do(tableSection(4, &e.accounts))
	do(plainSection(5, e.sessions.rows, func(i int) func() { return e.sessions.lock(uint32(i)).Unlock }))
	do(plainSection(6, e.ids.lines, func(i int) func() {
		l := &e.ids.locks[i%stripes]
		l.Lock()
		return l.Unlock
	}))
	none := func(int) func() { return func() {} }
	do(plainSection(7, e.known.gens[0], none))
	do(plainSection(8, e.known.gens[1], none))
	do(plainSection(9, e.blocks.rows, func(int) func() {
		e.blocks.mu.Lock()
		return e.blocks.mu.Unlock
	}))
	do(section{id: 10, chunks: len(e.countries),
		lock: func(i int) func() {
			e.countries[i].mu.Lock()
			return e.countries[i].mu.Unlock
		},
		pieces: func(i int) ([]byte, []byte) { return raw(unsafe.Slice(&e.countries[i].countryState, 1)), nil }})
}

func tableSection[T any](id uint32, t *table[T]) section {
	return section{id: id, chunks: len(t.heads),
		lock: func(i int) func() {
			l := &t.locks[i%stripes]
			l.Lock()
			return l.Unlock
		},
		pieces: func(i int) ([]byte, []byte) { return raw(t.heads[i : i+1]), raw(t.cells[i*ways : (i+1)*ways]) }}
}

func plainSection[T any](id uint32, rows []T, lock func(int) func()) section {
	return section{id: id, chunks: len(rows), lock: lock,
		pieces: func(i int) ([]byte, []byte) { return raw(rows[i : i+1]), nil }}
}

// raw is the memory of values without pointers.
func raw[T any](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}

// snapshotWriter keeps the first error.
type snapshotWriter struct {
	w   *bufio.Writer
	buf []byte
	err error
}

func (o *snapshotWriter) put(v any) {
	if o.err == nil {
		o.err = binary.Write(o.w, binary.LittleEndian, v)
	}
}

// section writes the chunks that are not empty.
func (o *snapshotWriter) section(s section) {
	for i := range s.chunks {
		unlock := s.lock(i)
		first, second := s.pieces(i)
		o.buf = binary.LittleEndian.AppendUint32(o.buf[:0], s.id)
		o.buf = binary.LittleEndian.AppendUint32(o.buf, uint32(i))
		o.buf = binary.LittleEndian.AppendUint32(o.buf, uint32(len(first)+len(second)))
		o.buf = append(append(o.buf, first...), second...)
		unlock()
		if o.err == nil && !empty(o.buf[12:]) {
			_, o.err = o.w.Write(o.buf)
		}
	}
}

func empty(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
