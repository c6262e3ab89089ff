package lists

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The journal is a text file of one JSON object a line. The first line says what it is, each other line is one change.
const (
	journalName   = "lists.jsonl"
	journalHeader = `{"sendgate":"lists","version":1}`
	maxLine       = 4096 // bytes; reason and author have room even if each character is escaped
)

const (
	opAdd    = "add" // replaces an entry for the same list and target
	opRemove = "remove"
)

// line is one change as it is on disk. The operation comes first, by which a torn line is known.
type line struct {
	Op      string    `json:"op"`
	Time    time.Time `json:"t"`
	List    string    `json:"list"`
	Target  string    `json:"target"` // Target.ID: never a full number
	Reason  string    `json:"reason"`
	Author  string    `json:"author"`
	Expires time.Time `json:"expires,omitzero"`
}

func appendLine(b []byte, op string, e Entry) ([]byte, error) {
	text, err := json.Marshal(line{op, e.Created.UTC(), e.List.String(), e.Target.ID(), e.Reason, e.Author, e.Expires.UTC()})
	if err != nil {
		return nil, err // a year beyond 9999
	}
	return append(append(b, text...), '\n'), nil
}

// change is one line of the journal, read.
type change struct {
	remove bool
	entry  Entry
}

func parseLine(text []byte) (change, error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	// What the decoder says may quote the text, which may hold a number.
	if err := d.Decode(&l); err != nil || d.InputOffset() != int64(len(text)) {
		return change{}, errors.New("not a line that sendgate wrote")
	}
	if l.Op != opAdd && l.Op != opRemove {
		return change{}, errors.New("op: is neither add nor remove")
	}
	list, err := ParseList(l.List)
	if err != nil {
		return change{}, err
	}
	target, err := ParseTarget(l.Target)
	if err != nil {
		return change{}, fmt.Errorf("target: %w", err)
	}
	if target.kind == KindNumber && !target.sealed {
		return change{}, errors.New("target: a number in clear: take the line out and add the number through the admin API, which seals it")
	}
	if l.Time.IsZero() {
		return change{}, errors.New("t: no time")
	}
	e := Entry{List: list, Target: target, Reason: l.Reason, Author: l.Author, Created: l.Time, Expires: l.Expires}
	return change{l.Op == opRemove, e}, e.check()
}

// journal is what readJournal found.
type journal struct {
	edit  *edit
	lines int    // changes
	size  int64  // bytes that are whole lines
	torn  string // what was wrong with the last line, or ""
	open  bool   // the last line is whole and only its end of line is missing
}

// readJournal replays a journal. A torn last line, which is what a crash leaves, is left out and told; it was never
// acknowledged. Anything else that is not a journal is an error with the number of the line.
func readJournal(r io.Reader, sealers []*sealer) (*journal, error) {
	j := &journal{edit: newEdit(sealers)}
	in := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		if err == io.EOF && len(text) == 0 {
			return j, nil
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return nil, err
		}
		whole := err == nil
		text = bytes.TrimSuffix(text, []byte("\n"))
		problem := j.replay(n, text, sealers)
		switch {
		case problem == nil && (whole || err == io.EOF):
			j.size += int64(len(text))
			if whole {
				j.size++
			}
			j.open = !whole
		case err == io.EOF && tornLine(n, text):
			j.torn = fmt.Sprintf("%s:%d: the last line was cut off and is left out, as a crash while writing leaves it", journalName, n)
			return j, nil
		default:
			if problem == nil || err == bufio.ErrBufferFull {
				problem = fmt.Errorf("longer than %d bytes", maxLine)
			}
			return nil, fmt.Errorf("%s:%d: %w: repair or move away the file", journalName, n, problem)
		}
	}
}

func (j *journal) replay(n int, text []byte, sealers []*sealer) error {
	if n == 1 {
		if string(text) != journalHeader {
			return fmt.Errorf("not a list journal of this version, whose first line is %s", journalHeader)
		}
		return nil
	}
	c, err := parseLine(text)
	if err != nil {
		return err
	}
	if id := c.entry.Target.key; id != 0 && !knows(sealers, id) {
		return fmt.Errorf("sealed with another secret (%08x): give that one, too, as an old secret", uint32(id))
	}
	if c.remove {
		j.edit.drop(c.entry.List, c.entry.Target)
	} else {
		j.edit.put(c.entry)
	}
	j.lines++
	return nil
}

func knows(sealers []*sealer, id keyID) bool {
	for _, s := range sealers {
		if s.id == id {
			return true
		}
	}
	return false
}

// tornLine tells whether text can be the beginning of line n. A file system may leave zeros behind it.
func tornLine(n int, text []byte) bool {
	want := `{"op":"`
	if n == 1 {
		want = journalHeader
	}
	got := strings.TrimRight(string(text), "\x00")
	if len(got) <= len(want) {
		return strings.HasPrefix(want, got)
	}
	return n > 1 && strings.HasPrefix(got, want)
}
