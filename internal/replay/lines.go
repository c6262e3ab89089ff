package replay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest line, or record of a CSV file, that is read, in bytes. A longer one is passed over as a bad line, so that no
// file can make the program keep more.
const maxLine = 1 << 20

// lines reads a file line by line in a memory that does not grow with it.
type lines struct {
	in   *bufio.Reader
	n    int    // of the last line
	long []byte // a line that did not fit the buffer
}

func newLines(in io.Reader) *lines { return &lines{in: bufio.NewReaderSize(in, 64<<10)} }

// next returns a line without its end, valid until the next call. A *LineError is about the line; io.EOF ends.
func (l *lines) next() ([]byte, error) {
	l.n++
	line, err := l.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = l.in.ReadSlice('\n')
			if len(l.long) <= maxLine {
				l.long = append(l.long, line...)
			}
		}
		line = l.long
	}
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		l.n--
		return nil, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read: %w", err)
	case len(line) > maxLine:
		return nil, &LineError{fmt.Errorf("longer than %d bytes", maxLine)}
	}
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line, nil
}
