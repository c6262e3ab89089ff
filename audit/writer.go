package audit

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// writer is the end of a chain. What it was given is in buf until flush; only what was flushed counts.
type writer struct {
	dir    string
	sealer *sealer

	file  *os.File
	since time.Time // when the file was begun
	size  int64     // of what was flushed
	seq   uint64    // of the last line flushed
	last  seal      // of it
	count uint64    // lines flushed or buffered in this file

	buf     []byte
	pending uint64 // lines in buf
	next    seal   // of the last line in buf
}

// add seals a record into the buffer.
func (w *writer) add(at time.Time, kind string, data []byte) error {
	before := w.last
	if w.pending > 0 {
		before = w.next
	}
	buf, now, err := w.sealer.appendLine(w.buf, before, w.seq+w.pending+1, at, kind, data)
	if err != nil {
		return err
	}
	w.buf, w.next = buf, now
	w.pending++
	w.count++
	return nil
}

// flush hands the buffer to the system: a process that is killed now loses nothing of it. If it fails, nothing of it stays.
func (w *writer) flush() (records uint64, size int, err error) {
	records, size = w.pending, len(w.buf)
	if records == 0 {
		return 0, 0, nil
	}
	_, err = w.file.Write(w.buf)
	w.buf, w.pending = w.buf[:0], 0
	if err != nil {
		w.count -= records
		// O_APPEND writes at the end, wherever that is: the half line must go.
		return records, 0, errors.Join(err, w.file.Truncate(w.size))
	}
	w.size += int64(size)
	w.seq += records
	w.last = w.next
	return records, size, nil
}

// sync puts what was flushed on the disk, and then says so in the head.
func (w *writer) sync() error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	h := head{Seq: w.seq, Seal: w.last, Key: w.sealer.id}
	h.Proof = w.sealer.proof(&h)
	return h.write(w.dir)
}

func (w *writer) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// begin makes a new file. All was flushed.
func (w *writer) begin(at time.Time) error {
	path := filepath.Join(w.dir, segmentName(w.seq+1))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	old := *w
	w.file, w.since, w.size, w.count = f, at, 0, 0
	data, err := json.Marshal(fileHead{formatVersion, w.sealer.id, w.last})
	if err == nil {
		err = w.add(at, KindFile, data)
	}
	if err == nil {
		_, _, err = w.flush()
	}
	if err = errors.Join(err, syncDir(w.dir)); err == nil {
		err = w.sync()
	}
	if err != nil {
		*w = old
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	if old.file != nil {
		return old.file.Close()
	}
	return nil
}

// resume goes on after the last whole line on the disk, or begins the first file.
func (w *writer) resume(at time.Time) error {
	leftovers, _ := filepath.Glob(filepath.Join(w.dir, ".pack-*"))
	for _, name := range leftovers {
		_ = os.Remove(name) // only room
	}
	all, err := segments(w.dir)
	if err != nil {
		return err
	}
	h, err := readHead(w.dir)
	known := err == nil && h.Seq > 0 && h.Key == w.sealer.id && h.Proof == w.sealer.proof(&h)
	var torn int64
	for len(all) > 0 {
		s := &all[len(all)-1]
		end, err := lastLine(s)
		if err != nil {
			return err
		}
		torn += s.size - end.at
		if end.at == 0 { // not even its first line was written
			if err := os.Remove(s.path); err != nil {
				return err
			}
			all = all[:len(all)-1]
			continue
		}
		if end.at < s.size {
			if err := os.Truncate(s.path, end.at); err != nil {
				return err
			}
		}
		w.seq, w.last = max(end.line.Seq, s.first), end.line.seal // whatever the file holds, its name is taken
		w.since, w.size, w.count = end.begun, end.at, end.lines
		if !s.packed && end.key == w.sealer.id {
			if w.file, err = os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND, 0); err != nil {
				return err
			}
		}
		break
	}
	lost := retired{w.seq + 1, h.Seq}
	if known && h.Seq > w.seq {
		w.seq = h.Seq // no number is given twice
	}
	if w.file == nil {
		if err := w.begin(at); err != nil {
			return err
		}
	}
	if known && lost.To >= lost.From {
		err = w.note(at, KindLost, lost)
	}
	if torn > 0 && err == nil {
		err = w.note(at, KindTorn, struct {
			Bytes int64 `json:"bytes"`
		}{torn})
	}
	return err
}

// note writes a record about the log itself.
func (w *writer) note(at time.Time, kind string, body any) error {
	data, err := json.Marshal(body)
	if err == nil {
		err = w.add(at, kind, data)
	}
	if err == nil {
		_, _, err = w.flush()
	}
	if err != nil {
		return err
	}
	return w.sync()
}

// ending is where a file can be gone on with.
type ending struct {
	line  line
	at    int64 // where the line ends; 0 where there is none
	lines uint64
	key   string
	begun time.Time
}

// lastLine finds the last whole line of a file. What stands behind it is torn.
func lastLine(s *segment) (end ending, err error) {
	f, err := s.open()
	if err != nil {
		return ending{}, err
	}
	defer f.Close()
	var newest []byte
	at := int64(0)
	err = lines(f, func(b []byte, whole bool) bool {
		at += int64(len(b)) + 1
		if !whole {
			return false
		}
		if end.lines == 0 {
			end.readHead(b)
		}
		if len(b) > tailSize { // a line that is none is found by Verify; we only go on behind it
			newest = append(newest[:0], b...)
		}
		end.lines++
		end.at = at
		return true
	})
	if err != nil || end.lines == 0 {
		return end, err
	}
	if s.packed {
		s.size = end.at
	}
	if end.line, err = parseLine(newest); err != nil {
		return lastParsed(s)
	}
	end.line.text = nil
	return end, nil
}

func (e *ending) readHead(b []byte) {
	var h fileHead
	if first, err := parseLine(b); err == nil && json.Unmarshal(first.Data, &h) == nil {
		e.key, e.begun = h.Key, first.Time
	}
}

// lastParsed is lastLine for a file that somebody wrote nonsense into: behind the last line that is one.
func lastParsed(s *segment) (end ending, err error) {
	f, err := s.open()
	if err != nil {
		return ending{}, err
	}
	defer f.Close()
	at := int64(0)
	err = lines(f, func(b []byte, whole bool) bool {
		at += int64(len(b)) + 1
		if l, err := parseLine(b); err == nil && whole {
			l.text = nil
			end.line = l
		}
		end.lines++
		end.at = at // the nonsense stays, as evidence; the chain goes on from what is before it
		return true
	})
	end.key = "" // go on in a new file
	return end, err
}
