package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
)

// Report is what Verify found.
type Report struct {
	Files, Lines int
	// First and Last are the records that the chain begins and ends with now; zero where there are none.
	First, Last Record
	// Head names the last line: keep it elsewhere, and a later Verify can be asked whether the line is still there.
	Head string
	// Faults are in the order of the files. Empty: nothing was tampered with that this can show.
	Faults []Fault
	// Dropped records never got into the log, and Torn bytes were half a line when a process died: both are said in it. Restarts that
	// followed no orderly stop are not faults either.
	Dropped, Torn uint64
	// Retired lines were removed with old files, as configured.
	Retired uint64
}

// Fault is something that the writer of the log did not leave so.
type Fault struct {
	File string // base name; "" for one of the whole log
	Line int    // from 1; 0 where it is the end of the file
	What string
}

func (f Fault) String() string {
	switch {
	case f.File == "":
		return f.What
	case f.Line == 0:
		return f.File + ": " + f.What
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.What)
}

// maxFaults are told; a file that is nonsense would make one a line.
const maxFaults = 1000

// Verify walks the chain in a directory. secrets are all that it may have been written with; expect is a Head of before, or "". It may
// run beside the process that writes: half a line at the very end is no fault. The error is about reading, not about what was read.
func Verify(dir string, secrets [][]byte, expect string) (*Report, error) {
	// The head first: it must not be newer than the lines that are read.
	h, headErr := readHead(dir)
	all, err := segments(dir)
	if err != nil {
		return nil, err
	}
	v := &verifier{sealers: map[string]*sealer{}, report: new(Report), expect: expect}
	for _, secret := range secrets {
		s := newSealer(secret)
		v.sealers[s.id] = s
	}
	for i := range all {
		v.last = i == len(all)-1
		if err := v.file(&all[i]); err != nil {
			return nil, err
		}
	}
	v.finish(&h, headErr)
	return v.report, nil
}

type verifier struct {
	report  *Report
	sealers map[string]*sealer
	expect  string

	name     string
	number   int // of the line
	last     bool
	sealer   *sealer // nil where the secret is not known
	before   seal
	seq      uint64 // the highest so far
	top      seal   // of that line
	retired  uint64 // lines up to here were removed by the log itself
	expected bool   // the expected head was seen
}

func (v *verifier) fault(format string, args ...any) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{v.name, v.number, fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) file(s *segment) error {
	v.name, v.number = filepath.Base(s.path), 0
	v.report.Files++
	in, err := s.open()
	if err != nil {
		v.fault("cannot be read: %v", err)
		return nil
	}
	defer in.Close()
	err = lines(in, func(b []byte, whole bool) bool {
		v.number++
		if !whole {
			if !v.last {
				v.fault("half a line: the rest is missing")
			}
			return false
		}
		l, err := parseLine(b)
		if err != nil {
			v.fault("is %v", err)
			return true
		}
		v.line(&l)
		return true
	})
	switch {
	case err != nil:
		v.fault("cannot be read further: %v", err)
	case v.number == 0 && !v.last:
		v.fault("is empty")
	}
	return nil
}

func (v *verifier) line(l *line) {
	r := v.report
	r.Lines++
	if v.number == 1 {
		v.beginFile(l)
	} else if l.Kind == KindFile {
		v.fault("the head of a file in its middle")
	}
	switch {
	case v.seq == 0: // the oldest that there is
		if l.Kind != KindFile {
			v.before = seal{}
		}
		r.First = l.Record
	case l.Seq <= v.seq:
		v.fault("line %d of the chain stands behind line %d: swapped, repeated or put in", l.Seq, v.seq)
		v.before = v.top
		return
	case l.Seq > v.seq+1:
		v.fault("%s missing before this", between(v.seq+1, l.Seq-1))
		v.before = l.seal // whether this line itself is right cannot be told
		v.accept(l)
		return
	}
	if v.sealer != nil && !l.sealedBy(v.sealer, v.before) {
		v.fault("line %d of the chain was changed", l.Seq)
	}
	v.before = l.seal
	v.accept(l)
}

func (v *verifier) accept(l *line) {
	r := v.report
	v.seq, v.top = l.Seq, l.seal
	r.Last, r.Head = l.Record, headText(l)
	v.expected = v.expected || r.Head == v.expect
	var lines retired
	var n struct {
		Records uint64
		Bytes   uint64
	}
	switch l.Kind {
	case KindRetired:
		if json.Unmarshal(l.Data, &lines) == nil {
			v.retired = max(v.retired, lines.To)
		}
	case KindDropped:
		_ = json.Unmarshal(l.Data, &n) // sealed by us
		r.Dropped += n.Records
	case KindTorn:
		_ = json.Unmarshal(l.Data, &n)
		r.Torn += n.Bytes
	}
}

// beginFile reads the head of a file: with which secret it was written, and on what it follows.
func (v *verifier) beginFile(l *line) {
	var h fileHead
	v.sealer = nil
	if l.Kind != KindFile || json.Unmarshal(l.Data, &h) != nil || h.Version != formatVersion {
		v.fault("the file does not begin with its head")
		return
	}
	if v.sealer = v.sealers[h.Key]; v.sealer == nil {
		v.fault("written with another secret, %s: give that too; its lines cannot be checked without", h.Key)
	}
	if v.seq == 0 {
		v.before = h.Before // nothing is before it to compare with
	} else if l.Seq == v.seq+1 && h.Before != v.before {
		v.fault("does not follow on the file before")
	}
}

func (v *verifier) finish(h *head, headErr error) {
	r := v.report
	v.name, v.number = "", 0
	if first := r.First.Seq; first > 1 {
		if v.retired < first-1 {
			v.fault("%s missing at the beginning, and the log did not remove them itself", between(v.retired+1, first-1))
		}
		r.Retired = first - 1
	}
	v.name = headName
	s := v.sealers[h.Key]
	switch {
	case r.Lines == 0 && h.Seq == 0:
	case headErr != nil || h.Seq == 0:
		v.fault("missing or not readable: lines cut off at the end would not show")
	case s == nil:
		v.fault("written with another secret, %s", h.Key)
	case h.Proof != s.proof(h):
		v.fault("was changed")
	case h.Seq > v.seq:
		v.fault("%s missing at the end", between(v.seq+1, h.Seq))
	}
	if v.expect != "" && !v.expected && !v.expectRetired() {
		v.name = ""
		v.fault("the line %s, which was there once, is not there any more", v.expect)
	}
}

// expectRetired says that the expected line is among those that the log removed itself.
func (v *verifier) expectRetired() bool {
	number, _, _ := strings.Cut(v.expect, ":")
	seq, err := strconv.ParseUint(number, 10, 64)
	return err == nil && seq < v.report.First.Seq && seq <= v.retired
}

func headText(l *line) string { return fmt.Sprintf("%d:%s", l.Seq, l.seal) }

func between(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("line %d of the chain is", from)
	}
	return fmt.Sprintf("lines %d to %d of the chain are", from, to)
}

// Read yields the records of a directory, oldest first, without checking seals. Lines that are none are left out; see Verify.
// An error ends it.
func Read(dir string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		all, err := segments(dir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for i := range all {
			in, err := all[i].open()
			if err != nil {
				yield(Record{}, err)
				return
			}
			more := true
			err = lines(in, func(b []byte, whole bool) bool {
				if l, err := parseLine(b); whole && err == nil {
					more = yield(l.Record, nil)
				}
				return more
			})
			if err = errors.Join(err, in.Close()); more && err != nil {
				more = yield(Record{}, fmt.Errorf("%s: %w", all[i].path, err))
			}
			if !more {
				return
			}
		}
	}
}
