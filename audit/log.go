package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of Open.
type Options struct {
	// Dir is where the files are; made with mode 0700. Required. One process has it at a time.
	Dir string
	// Secret seals the lines. Required, 32 bytes or more. With another secret than before a new file is begun.
	Secret []byte
	// Now is the clock of records that have no time of their own. Required.
	Now func() time.Time
	// Log is told of what goes wrong, once until it is well again. Default slog.Default().
	Log *slog.Logger
	// MaxSize and MaxAge are when a new file is begun. Defaults 64 MiB and 24h.
	MaxSize int64
	MaxAge  time.Duration
	// Keep and KeepSize are how long old files are kept, and how much of them in bytes as they are on the disk; the oldest go first.
	// The file that is being written does not count. Defaults 90 days and 1 GiB.
	Keep     time.Duration
	KeepSize int64
	// Queue is how many offered records may wait to be written. Default 16384.
	Queue int
}

func (o *Options) fill() error {
	if o.Dir == "" || o.Now == nil || len(o.Secret) < 32 {
		return errors.New("audit: Options.Dir, Now and Secret, of 32 bytes, are required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxSize == 0 {
		o.MaxSize = 64 << 20
	}
	if o.MaxAge == 0 {
		o.MaxAge = 24 * time.Hour
	}
	if o.Keep == 0 {
		o.Keep = 90 * 24 * time.Hour
	}
	if o.KeepSize == 0 {
		o.KeepSize = 1 << 30
	}
	if o.Queue == 0 {
		o.Queue = 1 << 14
	}
	return nil
}

// syncEvery is how often what was offered is put on the disk. A power cut loses at most so much of it; a killed process only what
// was still queued.
const syncEvery = time.Second

// Log appends records to a chain. Every method is safe for concurrent use.
type Log struct {
	o     Options
	lock  *os.File
	queue chan offered
	quit  chan struct{}
	tidy  chan struct{} // wakes the tidier
	done  sync.WaitGroup

	written, dropped, failed atomic.Uint64
	bytes                    atomic.Int64

	mu    sync.Mutex // guards what follows
	w     writer
	told  uint64 // of dropped, in records
	dirty bool
	ended bool
}

type offered struct {
	at   time.Time
	kind string
	body any
}

// latecomer is a body that is made only when it is written.
type latecomer interface{ later() any }

// Stats of a log. Counters start at 0 with the process.
type Stats struct {
	Written uint64 // records
	Dropped uint64 // records that were offered while the queue was full, or that the disk did not take
	Failed  uint64 // times that the disk did not take something
	Queued  int    // records that wait
	Bytes   int64  // written
}

// Open goes on with the log of a directory, or begins one. What an earlier life left half written is taken off, and said.
func Open(o Options) (*Log, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(o.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %s: another process writes it: %w", o.Dir, err), lock.Close())
	}
	l := &Log{o: o, lock: lock, queue: make(chan offered, o.Queue), quit: make(chan struct{}), tidy: make(chan struct{}, 1)}
	l.w = writer{dir: o.Dir, sealer: newSealer(o.Secret)}
	if err := l.w.resume(o.Now()); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %s: %w", o.Dir, err), lock.Close())
	}
	l.done.Go(l.run)
	l.done.Go(l.keepTidy)
	return l, nil
}

// Append writes a record. It is on the disk when Append returns. If it returns an error, do as if it were not there.
func (l *Log) Append(kind string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return fs.ErrClosed
	}
	err = l.add(l.o.Now(), kind, data)
	if err == nil {
		err = l.sync()
	}
	return err
}

// Offer queues a record and never waits: while the queue is full it is dropped, which is counted and gets a record itself. body is
// read later, on another goroutine.
func (l *Log) Offer(at time.Time, kind string, body any) {
	select {
	case l.queue <- offered{at, kind, body}:
	default:
		l.dropped.Add(1)
	}
}

// Missed says that records were lost before they could be offered.
func (l *Log) Missed(n uint64) { l.dropped.Add(n) }

// Stats is a cheap snapshot.
func (l *Log) Stats() Stats {
	return Stats{Written: l.written.Load(), Dropped: l.dropped.Load(), Failed: l.failed.Load(), Queued: len(l.queue), Bytes: l.bytes.Load()}
}

// Close writes what is queued and ends the log. What is offered later is dropped.
func (l *Log) Close() error {
	close(l.quit)
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeQueued()
	l.tellDropped()
	err := l.sync()
	l.ended = true
	return errors.Join(err, l.w.close(), l.lock.Close())
}

// run writes what is offered.
func (l *Log) run() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			return
		case r := <-l.queue:
			l.mu.Lock()
			l.addOffered(&r)
			l.takeQueued()
			_ = l.flush() // told already
			l.mu.Unlock()
		case <-tick.C:
			l.mu.Lock()
			l.tellDropped()
			if l.dirty {
				_ = l.sync()
			}
			l.mu.Unlock()
		}
	}
}

func (l *Log) takeQueued() {
	for range len(l.queue) {
		r := <-l.queue
		l.addOffered(&r)
	}
}

func (l *Log) addOffered(r *offered) {
	if b, ok := r.body.(latecomer); ok {
		r.body = b.later()
	}
	data, err := json.Marshal(r.body)
	if err == nil {
		err = l.add(r.at, r.kind, data)
	}
	if err != nil {
		l.dropped.Add(1)
		l.fail(err)
	}
}

// tellDropped writes how many records are missing.
func (l *Log) tellDropped() {
	n := l.dropped.Load()
	if n == l.told {
		return
	}
	data, _ := json.Marshal(struct { // cannot fail
		Records uint64 `json:"records"`
	}{n - l.told})
	if l.add(l.o.Now(), KindDropped, data) == nil && l.flush() == nil {
		l.o.Log.Warn("audit: records came faster than they could be written", "dir", l.o.Dir, "dropped", n-l.told)
		l.told = n
	}
}

// add puts a record into the buffer, in a new file if it is time for one.
func (l *Log) add(at time.Time, kind string, data []byte) error {
	if w := &l.w; w.count > 1 && (w.size+int64(len(w.buf)) >= l.o.MaxSize || at.Sub(w.since) >= l.o.MaxAge) {
		if err := l.sync(); err != nil {
			return err
		}
		if err := w.begin(at); err != nil {
			l.fail(err)
			return err
		}
		select {
		case l.tidy <- struct{}{}:
		default:
		}
	}
	if err := l.w.add(at, kind, data); err != nil {
		return err
	}
	if len(l.w.buf) >= 256<<10 {
		return l.flush()
	}
	return nil
}

// flush hands the buffer to the system. If that fails, what was in it is counted as dropped.
func (l *Log) flush() error {
	records, size, err := l.w.flush()
	if err != nil {
		l.dropped.Add(records)
		l.fail(err)
		return err
	}
	l.written.Add(records)
	l.bytes.Add(int64(size))
	l.dirty = l.dirty || records > 0
	return nil
}

func (l *Log) sync() error {
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.w.sync(); err != nil {
		l.fail(err)
		return err
	}
	l.dirty = false
	return nil
}

func (l *Log) fail(err error) {
	if n := l.failed.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th ...
		l.o.Log.Error("audit: a record could not be written", "dir", l.o.Dir, "error", err, "times", n)
	}
}

// keepTidy packs files that are done, and removes those that are too old or too many.
func (l *Log) keepTidy() {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := l.clear(); err != nil && !errors.Is(err, fs.ErrClosed) {
			l.o.Log.Error("audit: old files could not be packed or removed", "dir", l.o.Dir, "error", err)
		}
		select {
		case <-l.quit:
			return
		case <-l.tidy:
		case <-tick.C:
		}
	}
}

func (l *Log) clear() error {
	all, err := segments(l.o.Dir)
	if err != nil || len(all) < 2 {
		return err
	}
	done := all[:len(all)-1] // the last is being written
	for i := range done {
		if done[i].packed {
			continue
		}
		if err := done[i].pack(); err != nil {
			return err
		}
	}
	if all, err = segments(l.o.Dir); err != nil {
		return err
	}
	size := int64(0)
	for _, s := range all[:len(all)-1] {
		size += s.size
	}
	gone := 0
	for ; gone < len(all)-1; gone++ {
		info, err := os.Stat(all[gone].path)
		if err != nil {
			return err
		}
		if size <= l.o.KeepSize && l.o.Now().Sub(info.ModTime()) < l.o.Keep {
			break
		}
		size -= all[gone].size
	}
	if gone == 0 {
		return nil
	}
	// First said, then done: files that are there all the same do not look like a fault.
	if err := l.Append(KindRetired, retired{all[0].first, all[gone].first - 1}); err != nil {
		return err
	}
	for _, s := range all[:gone] {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// retired is the data of KindRetired, and of KindLost: the lines that are gone.
type retired struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}
