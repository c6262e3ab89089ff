package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sendgate/sendgate/detect"
)

// RunOptions of Run.
type RunOptions struct {
	// LineByLine writes each verdict before the next line is read.
	LineByLine bool
	// Strict ends at the first line that is no event.
	Strict bool
	// CSV reads a CSV file with these columns. Nil: a JSON object a line.
	CSV Columns
	// Beside judges the same log by another policy; Difference tells how. May be nil.
	Beside     *Replayer
	Difference *Difference
	// Bad is told of lines that are no events, and are passed over. May be nil.
	Bad func(line int, err error)
	// Alert is told of what detection would have alerted an operator of. May be nil.
	Alert func(detect.Alert)
	// Progress is called every few thousand lines with how many were read. May be nil.
	Progress func(lines int)
}

// errEmpty is an empty line, which is passed over.
var errEmpty = errors.New("empty")

// source reads the events of a log.
type source struct {
	in    *lines
	table *table // nil for JSON
}

func (s *source) next(e *event) error {
	if s.table != nil {
		return s.table.next(e)
	}
	line, err := s.in.next()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return errEmpty
	}
	if err := e.parse(line); err != nil {
		return &LineError{err}
	}
	return nil
}

// Run judges all lines of in and writes the verdicts to out. Empty lines are passed over.
func (r *Replayer) Run(ctx context.Context, in io.Reader, out io.Writer, o RunOptions) (read int, err error) {
	from := source{in: newLines(in)}
	if o.CSV != nil {
		if from.table, err = newTable(from.in, o.CSV); err != nil {
			return 0, err
		}
	}
	w := bufio.NewWriterSize(out, 64<<10)
	var verdict []byte
	for turn := 1; ; turn++ {
		err := from.next(&r.event)
		if errors.Is(err, io.EOF) {
			break
		}
		at := from.in.n
		verdict = verdict[:0]
		if err == nil {
			verdict, err = r.judge(ctx, &r.event, verdict)
			if err == nil && o.Beside != nil {
				err = r.compare(ctx, &o)
			}
		}
		var bad *LineError
		switch {
		case err == nil, errors.Is(err, errEmpty):
		case errors.As(err, &bad) && !o.Strict:
			if o.Bad != nil {
				o.Bad(at, bad)
			}
		default:
			return at, errors.Join(fmt.Errorf("line %d: %w", at, err), w.Flush())
		}
		if len(verdict) > 0 {
			if _, err := w.Write(verdict); err != nil {
				return at, fmt.Errorf("write verdicts: %w", err)
			}
			if o.LineByLine {
				if err := w.Flush(); err != nil {
					return at, fmt.Errorf("write verdicts: %w", err)
				}
			}
		}
		if turn%128 == 0 { // the engine keeps 1024
			r.alerts(o.Alert)
		}
		if turn%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return at, errors.Join(err, w.Flush())
			}
			if o.Progress != nil {
				o.Progress(at)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return from.in.n, fmt.Errorf("write verdicts: %w", err)
	}
	r.alerts(o.Alert)
	return from.in.n, nil
}

func (r *Replayer) alerts(tell func(detect.Alert)) {
	if tell == nil {
		return
	}
	for _, a := range r.detect.Alerts(r.alerted) {
		r.alerted = a.Seq
		tell(a)
	}
}
