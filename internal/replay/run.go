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
	// Bad is told of lines that are no events, and are passed over. May be nil.
	Bad func(line int, err error)
	// Alert is told of what detection would have alerted an operator of. May be nil.
	Alert func(detect.Alert)
	// Progress is called every few thousand lines with how many were read. May be nil.
	Progress func(lines int)
}

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

// Run judges all lines of in and writes the verdicts to out. Empty lines are passed over.
func (r *Replayer) Run(ctx context.Context, in io.Reader, out io.Writer, o RunOptions) (lines int, err error) {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	w := bufio.NewWriterSize(out, 64<<10)
	var verdict []byte
	for scanner.Scan() {
		lines++
		line := scanner.Bytes()
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		verdict, err = r.Line(ctx, line, verdict[:0])
		var bad *LineError
		switch {
		case errors.As(err, &bad) && !o.Strict:
			if o.Bad != nil {
				o.Bad(lines, bad)
			}
		case err != nil:
			return lines, errors.Join(fmt.Errorf("line %d: %w", lines, err), w.Flush())
		}
		if len(verdict) > 0 {
			if _, err := w.Write(verdict); err != nil {
				return lines, fmt.Errorf("write verdicts: %w", err)
			}
			if o.LineByLine {
				if err := w.Flush(); err != nil {
					return lines, fmt.Errorf("write verdicts: %w", err)
				}
			}
		}
		if lines%128 == 0 { // the engine keeps 1024
			r.alerts(o.Alert)
		}
		if lines%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return lines, errors.Join(err, w.Flush())
			}
			if o.Progress != nil {
				o.Progress(lines)
			}
		}
	}
	if err := scanner.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("longer than %d bytes", maxLine)
		}
		return lines, errors.Join(fmt.Errorf("line %d: %w", lines+1, err), w.Flush())
	}
	if err := w.Flush(); err != nil {
		return lines, fmt.Errorf("write verdicts: %w", err)
	}
	r.alerts(o.Alert)
	return lines, nil
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
