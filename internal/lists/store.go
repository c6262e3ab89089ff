package lists

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Store is a Set that changes at run time and survives restarts. It is safe for concurrent use: Lookup never waits, not
// even for a change under way; changes wait for one another.
//
// Each change is a line of lists.jsonl in the directory, synced to disk before Add or Remove returns and before Lookup sees it.
// The file is the audit record: who, when, why, also for what was replaced or removed. When it has twice the lines that
// it needs (and 1024 at least) it is written anew with only the entries that count; expired, replaced and removed ones are
// then found in lists.jsonl.old, until the next time.
type Store struct {
	set atomic.Pointer[Set]

	mu        sync.Mutex // guards what follows and all writing
	dir       string
	lock      *os.File
	file      *os.File
	size      int64 // of the whole lines in file
	lines     int   // changes in file
	compactAt int   // lines
	edit      *edit
	broken    error // why no change can be taken any more
	notes     []string
	onChange  func([]Change)
}

const minCompact = 1024

// ErrClosed is returned by changes to a closed Store.
var ErrClosed = errors.New("lists: the store is closed")

// Open reads the journal in the directory, which is made if it is not there. One process can have it open at a time.
//
// The secret seals exact numbers and has 16 bytes at least. Old secrets, three at most, still find the numbers that they
// sealed; each costs every lookup one more HMAC. A journal with a number sealed by none of them is an error.
func Open(dir string, secret []byte, old ...[]byte) (*Store, error) {
	if len(old) >= maxSealers {
		return nil, fmt.Errorf("lists: %d old secrets: give %d at most", len(old), maxSealers-1)
	}
	var sealers []*sealer
	for _, b := range append([][]byte{secret}, old...) {
		k, err := newSealer(b)
		if err != nil {
			return nil, err
		}
		if !knows(sealers, k.id) {
			sealers = append(sealers, k)
		}
	}
	s := &Store{dir: dir}
	if err := s.open(sealers); err != nil {
		return nil, errors.Join(fmt.Errorf("lists: %w", err), s.release())
	}
	return s, nil
}

func (s *Store) open(sealers []*sealer) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, "lists.lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is in use by another process: %w", s.dir, err)
	}
	if s.file, err = os.OpenFile(s.path(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return err
	}
	j, err := readJournal(s.file, sealers)
	if err != nil {
		return err
	}
	s.edit, s.size, s.lines = j.edit, j.size, j.lines
	if j.torn != "" {
		s.notes = append(s.notes, j.torn)
		if err := s.file.Truncate(s.size); err != nil {
			return err
		}
	}
	if s.size == 0 {
		if err := errors.Join(s.write([]byte(journalHeader+"\n")), syncDir(s.dir)); err != nil {
			return err
		}
	} else if j.open {
		if err := s.write([]byte("\n")); err != nil {
			return err
		}
	}
	s.compactAt = max(minCompact, 2*j.edit.set.live)
	s.publish()
	return nil
}

func (s *Store) path() string { return filepath.Join(s.dir, journalName) }

// Notes tell what Open had to repair, to be logged.
func (s *Store) Notes() []string { return s.notes }

// Snapshot is the set of this moment.
func (s *Store) Snapshot() *Set { return s.set.Load() }

// Lookup is Snapshot().Lookup.
func (s *Store) Lookup(q Query, now time.Time) Result { return s.set.Load().Lookup(q, now) }

// Add puts entries on their lists, each in the place of one for the same target. All are taken with one sync, or none.
// It returns them as stored: with Created set to now and numbers sealed. Author is required, Expires must lie after now.
func (s *Store) Add(now time.Time, entries ...Entry) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	var (
		text    []byte
		err     error
		dropped []Entry
		stored  = make([]Entry, 0, len(entries))
	)
	for _, e := range entries {
		e.Created = now
		if err := checkChange(now, e); err != nil {
			return nil, err
		}
		// A number sealed with an old secret moves to the newest one.
		spelled := s.edit.set.spellings(e.Target)
		e.Target = spelled[0]
		for _, t := range spelled[1:] {
			if _, ok := s.edit.set.find(e.List, t); ok {
				moved := Entry{List: e.List, Target: t, Reason: "sealed anew", Author: e.Author, Created: now}
				if text, err = appendLine(text, opRemove, moved); err != nil {
					return nil, err
				}
				dropped = append(dropped, moved)
			}
		}
		if text, err = appendLine(text, opAdd, e); err != nil {
			return nil, fmt.Errorf("lists: %s: %w", e.Target, err)
		}
		stored = append(stored, e)
	}
	if err := s.write(text); err != nil {
		return nil, err
	}
	s.lines += len(stored) + len(dropped)
	if len(stored) > s.edit.set.live {
		s.rebuild() // a large import: building in place beats that many snapshots
	} else {
		s.edit.fork()
	}
	changes := make([]Change, 0, len(dropped)+len(stored))
	for _, e := range dropped {
		s.edit.drop(e.List, e.Target)
		changes = append(changes, Change{true, e})
	}
	for _, e := range stored {
		s.edit.put(e)
		changes = append(changes, Change{false, e})
	}
	s.tellChange(changes)
	return stored, s.finish(now)
}

// Remove takes the entry for exactly this target off a list and returns it. False means that there was none.
// The target can be a number or the ID of its entry. Reason and author are for the journal; author is required.
func (s *Store) Remove(now time.Time, list List, target Target, reason, author string) (Entry, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return Entry{}, false, s.broken
	}
	change := Entry{List: list, Target: target, Reason: reason, Author: author, Created: now}
	if err := checkChange(now, change); err != nil {
		return Entry{}, false, err
	}
	gone, ok := s.edit.set.Find(list, target)
	if !ok {
		return Entry{}, false, nil
	}
	change.Target = gone.Target
	text, err := appendLine(nil, opRemove, change)
	if err != nil {
		return Entry{}, false, err
	}
	if err := s.write(text); err != nil {
		return Entry{}, false, err
	}
	s.lines++
	s.edit.fork()
	s.edit.drop(list, gone.Target)
	s.tellChange([]Change{{true, change}})
	return gone, true, s.finish(now)
}

func checkChange(now time.Time, e Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	if e.Author == "" {
		return errors.New("lists: author: write who makes this change")
	}
	if now.IsZero() || !e.Expires.IsZero() && !e.Expires.After(now) {
		return errors.New("lists: expires: lies not after now: write a later time, or none for an entry that stays")
	}
	return nil
}

// Close releases the directory. Snapshots stay valid.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = ErrClosed
	}
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	for _, f := range []**os.File{&s.file, &s.lock} {
		if *f != nil {
			errs = append(errs, (*f).Close())
			*f = nil
		}
	}
	return errors.Join(errs...)
}

// write appends whole lines and syncs them. If that fails nothing of them counts; if it is not even sure that nothing
// of them stays in the file, the store takes no further changes until it is opened again.
func (s *Store) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	_, err := s.file.Write(text)
	if err == nil {
		// After a failed sync the kernel may drop the pages and report the next sync as good: never go on.
		if err = s.file.Sync(); err != nil {
			s.broken = fmt.Errorf("lists: sync failed, open the store again: %w", err)
		}
	}
	if err != nil {
		if cut := s.file.Truncate(s.size); cut != nil && s.broken == nil {
			s.broken = fmt.Errorf("lists: a half-written line could not be taken back, open the store again: %w", cut)
		}
		return fmt.Errorf("lists: write: %w", err)
	}
	s.size += int64(len(text))
	return nil
}

// finish makes a change visible, which is on disk already, and compacts when it is time. The change stands even if that fails.
func (s *Store) finish(now time.Time) error {
	var err error
	if s.lines >= s.compactAt {
		if err = s.compact(now); err != nil {
			s.compactAt = 2 * s.lines // try again later, not at each change
			err = fmt.Errorf("lists: the change is done, but compacting failed: %w", err)
		}
	}
	s.publish()
	return err
}

func (s *Store) publish() { s.set.Store(s.edit.set) }

// rebuild makes a fresh edit with the entries of the present one.
func (s *Store) rebuild() {
	next := newEdit(s.edit.set.sealers)
	for e := range s.edit.set.All() {
		next.put(e)
	}
	s.edit = next
}

// compact writes the entries that have not expired to a new journal and puts it in the place of the old one, atomically.
func (s *Store) compact(now time.Time) error {
	next := newEdit(s.edit.set.sealers)
	f, err := os.OpenFile(s.path()+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := writeAll(f, s.edit.set, now, next)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = keepOld(s.path())
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path())
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	// From here on the name belongs to the new file, so changes must go there whatever else fails.
	closed := s.file.Close()
	s.file, s.size, s.lines, s.edit = f, size, next.set.live, next
	s.compactAt = max(minCompact, 2*s.lines)
	return errors.Join(closed, syncDir(s.dir))
}

func writeAll(f *os.File, from *Set, now time.Time, to *edit) (size int64, err error) {
	text := []byte(journalHeader + "\n")
	flush := func() error {
		n, err := f.Write(text)
		size += int64(n)
		text = text[:0]
		return err
	}
	for e := range from.All() {
		if !e.Expires.IsZero() && !e.Expires.After(now) {
			continue
		}
		if text, err = appendLine(text, opAdd, e); err != nil {
			return size, err
		}
		to.put(e)
		if len(text) > 1<<16 {
			if err := flush(); err != nil {
				return size, err
			}
		}
	}
	return size, flush()
}

// keepOld gives the journal a second name, so that the rename over its first does not lose it.
func keepOld(path string) error {
	if err := os.Remove(path + ".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(path, path+".old")
}

// syncDir makes names durable: without it a crash can lose a file whose content was synced.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
