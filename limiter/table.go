package limiter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/sendgate/sendgate/internal/mapped"
)

// Options of a [Table]. The zero value is a memory-only table of 256 MiB.
type Options struct {
	// Path of the table's file; empty keeps the table in memory only. An existing file keeps its size and shares, whatever
	// the other options say.
	Path string
	// Size in bytes, from 1 MiB to 1 TiB, allocated in full; 0 means 256 MiB. A key takes 64 bytes for rules of one Group
	// that need up to 7 words together, 128 for up to 15, else 512; a unit of a limit up to MaxExact, a delay and a marker
	// are a word each. A limit above MaxExact has five words for the first units of a key, and a 512-byte slot of its own for keys that
	// hold more.
	Size int64
	// Shares of Size for slots of 64, 128 and 512 bytes, in any unit; all zero means 20, 60, 20.
	Shares [3]int
	// Secret is mixed into the hash of keys beside the seed in the file, so that the file alone does not tell who was
	// counted. A table must always be opened with the same secret: another is ErrSecret.
	Secret []byte
}

// Table is the embedded [Store]: a fixed number of slots in a mapped file, off the Go heap.
//
// # Protocol
//
// A slot is a tag word (48 bits of fingerprint, 16 bits of bank) and words of state. All state is changed by CAS on one word.
//
//   - Take looks up the slots of all charges, denies at once if a rule is full (no trace is left), else claims rule by rule in
//     the order of Define. A claim turns a free word into an undecided one. When every claim is there the check has passed: it
//     turns its words into held ones. If one rule refuses, it puts back what the words were. The last claim is written as
//     held at once: its CAS is the decision. A check of one unit of one rule is only that claim, and looks before it only where
//     the claim does not settle it (takeOne).
//   - A check that finds too few free words, some of them undecided, does not deny: it looks again until they are decided. This
//     is the only wait. It cannot go round in a circle, since all checks claim in the same order, and it is bounded: after
//     [patience] looks the word counts as held (its owner was stopped by the operating system for that long).
//   - A denial stands only if two looks at all words of the rule gave the same: then at the moment between them all were held.
//   - Buckets (limits above MaxExact) cannot name their owner, so undecided amounts are announced beside them; see bucket.go.
//
// # Room for a new key
//
// Only putting a key into a slot takes a lock, one of a thousand, chosen by the key's home, so that no key is put in twice. A
// slot is free for another key when all its words have been free for the reading. The recycler
//
//  1. takes every word away by CAS to undecided; if one became held meanwhile it puts the others back and looks further;
//  2. raises the floor of the table to the latest held-until it is about to forget;
//  3. writes the tag "reserved", then all words as "held until the reading", then the new tag.
//
// Races this is made for:
//   - A check found the slot before it was recycled: it reads the words, then the tag again, then does its CAS. A recycled word
//     is later than any word the slot ever had, so the CAS fails, and the tag tells.
//   - The forgotten key comes back by an older reading, before its forgotten permits ended: it gets a new slot, whose words are
//     held until the floor; the check is then made at the floor, and says so in Decision.At.
//   - The process dies half way: undecided words of another generation are free, a reserved slot of another generation may be
//     taken. An unanswered check may leave part of its charges behind, the strict side; an answered one always left all.
type Table struct {
	mem    []uint64
	memory *mapped.Memory // nil where the test gives a heap
	geo    geometry
	base   [classes]int64 // index of the first word of each region
	gen    uint64         // generation bits of undecided words
	life   *living
	closed atomic.Bool

	keyA, keyB [16]byte // secrets of the two halves of Key

	define sync.Mutex
	reg    *registry
	banks  atomic.Pointer[[]bankView]

	making [makingLocks]paddedMutex

	recycled, fullOpen, fullClosed, lookAgain atomic.Int64
}

const makingLocks = 1024

type paddedMutex struct {
	sync.Mutex
	_ [56]byte
}

// living are the words of the file's second page.
type living struct {
	generation uint64
	newest     uint64    // newest reading, within a millisecond
	_          [6]uint64 // the words above and below are written by every core
	floor      uint64    // latest held-until that was forgotten by recycling
	epoch      uint64    // counts recycled slots of buckets
	occupied   uint64    // slots that ever held a key
	_          [5]uint64
	registry   uint64 // 0 or 1: the copy that counts
}

// bankView is what the hot path needs of a bank.
type bankView struct {
	class  uint8
	past   cut     // of a bank of buckets
	forget []int64 // by word, nil if none
}

// tableRule is a rule as the table uses it.
type tableRule struct {
	owner *Table
	rank  int
	form  form
	n     int64
	span  int64 // window in microseconds
	place
	cut                   // of buckets
	few        *tableRule // the first permits of a rule of buckets, nil if it has none; see few.go
	fewFrom    int64
	stripes    int64
	drain      *tableRule // the place it had before, only for its words
	drainUntil int64
	waits      []int64
	longest    int64 // wait before a stop
	insists    bool
	forget     int64
	jitter     float64
	failOpen   bool
}

// place is where a rule's words lie in a slot of its bank.
type place struct {
	bank  uint16
	class uint8
	off   int64
	cap   int64
}

var _ Store = (*Table)(nil)

// Open opens the table at Options.Path, or makes it. It locks the file: a second process gets ErrInUse. A file that is
// damaged, truncated, foreign or of another version is an error that says how to go on (ErrTorn, ErrTruncated, ErrForeign,
// ErrVersion, ErrSecret); nothing is reset silently.
func Open(o Options) (*Table, error) {
	if o.Size == 0 {
		o.Size = defaultSize
	}
	if o.Size < minSize || o.Size > maxSize {
		return nil, fmt.Errorf("limiter: Options.Size %d: must be %d to %d bytes", o.Size, minSize, int64(maxSize))
	}
	if o.Shares == [3]int{} {
		o.Shares = [3]int{20, 60, 20}
	}
	m, geo, err := openMemory(o)
	if err != nil {
		return nil, err
	}
	t, err := newTable(unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(m.Bytes))), len(m.Bytes)/8), geo, m.Seed, o.Secret)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("limiter: open %s: %w", o.Path, err), m.Close())
	}
	t.memory = m
	return t, nil
}

func newTable(mem []uint64, geo geometry, seed [32]byte, secret []byte) (*Table, error) {
	t := &Table{mem: mem, geo: geo, reg: &registry{}}
	t.life = (*living)(unsafe.Pointer(&mem[livingAt/8]))
	// The regions start at a page, so that no slot straddles a line and a narrow slot is one line.
	at := (registryAt + 2*geo.registry) / 8
	for i := range classes {
		t.base[i] = at
		at += geo.slots[i] * classWords[i]
	}
	for _, reading := range []uint64{t.life.newest, t.life.floor} {
		if reading > 0 && !exactly(int64(reading)).valid() {
			return nil, fmt.Errorf("%w: a reading after 2111: %s", ErrTorn, wayOn)
		}
	}
	h := xxhash.New()
	for i, half := range []*[16]byte{&t.keyA, &t.keyB} {
		for j := range 2 {
			h.Reset()
			_, _ = h.Write([]byte{byte(i), byte(j)})
			_, _ = h.Write(seed[:])
			_, _ = h.Write(secret)
			binary.LittleEndian.PutUint64(half[8*j:], h.Sum64())
		}
	}
	if err := t.readRegistry(); err != nil {
		return nil, err
	}
	t.publishBanks()
	t.gen = atomic.AddUint64(&t.life.generation, 1) % genCount << genShift
	return t, nil
}

// Close gives the table's memory back and unlocks its file. The caller has seen to it that no call is under way: a straggler
// is not killed, but what it takes is lost.
func (t *Table) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	if t.memory == nil {
		return nil
	}
	return t.memory.Abandon()
}

// Newest is the newest reading the table has seen, up to a millisecond early, and zero if it has seen none. A process whose
// clock is behind it after a restart should go on from here, or every key waits until the clock has caught up.
func (t *Table) Newest() time.Time {
	us := atomic.LoadUint64(&t.life.newest)
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(us) + newestStep)
}

const newestStep = 1000 // microseconds

func (t *Table) sawReading(lo int64) {
	// Only one write a millisecond, or every core would fight for this line.
	if uint64(lo) > atomic.LoadUint64(&t.life.newest)+newestStep {
		raise(&t.life.newest, uint64(lo))
	}
}

// Key implements [Store]: xxhash under two secrets, each a prefix of the hashed bytes.
func (t *Table) Key(b []byte) Key {
	var buf [16 + 112]byte
	if len(b) > len(buf)-16 {
		return t.longKey(b)
	}
	copy(buf[:], t.keyA[:])
	n := 16 + copy(buf[16:], b)
	a := xxhash.Sum64(buf[:n])
	copy(buf[:], t.keyB[:])
	return Key{Fingerprint: a, Place: xxhash.Sum64(buf[:n])}
}

func (t *Table) longKey(b []byte) Key {
	h := xxhash.New()
	_, _ = h.Write(t.keyA[:])
	_, _ = h.Write(b)
	k := Key{Fingerprint: h.Sum64()}
	h.Reset()
	_, _ = h.Write(t.keyB[:])
	_, _ = h.Write(b)
	k.Place = h.Sum64()
	return k
}

// Define implements [Store]. A change that a rule's words cannot follow (an N that outgrows them, another window of buckets,
// another division) gives it new ones; what the old ones hold counts until their window is over. A permit that is held when
// its rule's window is changed ends when it would have. A word that a rule was given stays its own for the life of the file.
func (t *Table) Define(_ context.Context, limits []Limit) ([]*Rule, error) {
	if t.closed.Load() {
		return nil, ErrClosed
	}
	if err := Validate(limits); err != nil {
		return nil, err
	}
	t.define.Lock()
	defer t.define.Unlock()
	next := t.reg.clone()
	recs, err := next.pack(limits, t.geo.slots, int64(atomic.LoadUint64(&t.life.newest))+newestStep)
	if err != nil {
		return nil, err
	}
	if err := t.writeRegistry(next); err != nil {
		return nil, err
	}
	t.reg = next
	// Order matters: no slot may carry a bank before every goroutine can look it up.
	t.publishBanks()
	rules := make([]*Rule, len(limits))
	for i, r := range recs {
		rules[i] = &Rule{limit: limits[i], table: t.rule(limits[i], r, i)}
	}
	return rules, nil
}

func (t *Table) rule(l Limit, r *record, rank int) *tableRule {
	tr := t.words(r)
	tr.owner, tr.rank, tr.n, tr.failOpen, tr.span = t, rank, l.N, l.FailOpen, micros(l.Window)
	if r.Form == delay {
		tr.waits, tr.forget, tr.jitter = l.Backoff.delayTable(), micros(l.Backoff.ForgetAfter), l.Backoff.Jitter
		tr.longest, tr.insists = micros(l.Backoff.Max), l.Backoff.Insist
	}
	return tr
}

// words is what a rule is that has only its place.
func (t *Table) words(r *record) *tableRule {
	tr := &tableRule{form: r.Form, span: r.Window, stripes: max(1, r.Stripes)}
	tr.place = place{bank: r.Bank, class: t.reg.Banks[r.Bank].Class, off: r.Off, cap: r.Cap}
	if r.Form == buckets {
		tr.cut = cutOf(r.Window)
		if r.Few != nil {
			tr.few = t.words(r.Few)
			tr.few.cap = fewPermits
			tr.fewFrom = r.FewFrom
		}
	}
	if r.Drain != nil {
		tr.drain, tr.drainUntil = t.words(r.Drain), r.DrainUntil
	}
	return tr
}

func (t *Table) publishBanks() {
	views := make([]bankView, len(t.reg.Banks))
	for i, b := range t.reg.Banks {
		v := bankView{class: b.Class}
		if b.Window > 0 {
			v.past = cutOf(b.Window)
		}
		if len(b.Forget) > 0 {
			v.forget = make([]int64, classWords[b.Class])
			for off, f := range b.Forget {
				v.forget[off] = f
			}
		}
		views[i] = v
	}
	t.banks.Store(&views)
}

func (t *Table) registryCopy(i uint64) []byte {
	p := unsafe.Pointer(&t.mem[(registryAt+int64(i)*t.geo.registry)/8])
	return unsafe.Slice((*byte)(p), t.geo.registry)
}

// writeRegistry writes the copy that does not count, then makes it count: a process killed between keeps the old one.
func (t *Table) writeRegistry(g *registry) error {
	b, err := g.marshal()
	if err != nil {
		return err
	}
	if int64(len(b))+16 > t.geo.registry {
		return fmt.Errorf("limiter: %d rules do not fit this table's header of %d bytes: use fewer, or begin a larger file", len(g.Rules), t.geo.registry)
	}
	next := 1 - atomic.LoadUint64(&t.life.registry)
	c := t.registryCopy(next)
	binary.LittleEndian.PutUint64(c, uint64(len(b)))
	binary.LittleEndian.PutUint64(c[8:], xxhash.Sum64(b))
	copy(c[16:], b)
	atomic.StoreUint64(&t.life.registry, next)
	return nil
}

func (t *Table) readRegistry() error {
	which := atomic.LoadUint64(&t.life.registry)
	if which > 1 {
		return fmt.Errorf("%w: %s", ErrTorn, wayOn)
	}
	c := t.registryCopy(which)
	n := binary.LittleEndian.Uint64(c)
	if n == 0 {
		return nil // a table in which nothing was ever defined
	}
	if n > uint64(len(c)-16) || xxhash.Sum64(c[16:16+n]) != binary.LittleEndian.Uint64(c[8:]) {
		return fmt.Errorf("%w: the registry of rules does not match its checksum: %s", ErrTorn, wayOn)
	}
	if err := t.reg.unmarshal(c[16 : 16+n]); err != nil {
		return fmt.Errorf("%w: %w: %s", ErrTorn, err, wayOn)
	}
	if !t.reg.fits(t.geo.slots) {
		return fmt.Errorf("%w: the registry of rules makes no sense: %s", ErrTorn, wayOn)
	}
	return nil
}

// Stats implements [Store].
func (t *Table) Stats() Stats {
	s := Stats{
		Occupied:   int64(atomic.LoadUint64(&t.life.occupied)),
		Recycled:   t.recycled.Load(),
		FullOpen:   t.fullOpen.Load(),
		FullClosed: t.fullClosed.Load(),
		LookAgain:  t.lookAgain.Load(),
	}
	for _, n := range t.geo.slots {
		s.Capacity += n
	}
	return s
}
