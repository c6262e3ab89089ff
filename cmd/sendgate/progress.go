package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress tells how far a long command is: on one line of a terminal that it writes over, elsewhere a new line every ten seconds.
type progress struct {
	w           io.Writer
	shown, term bool
	size        int64 // in bytes, 0 where nobody knows
	read        func() int64
	start, last time.Time
}

// barWide is how many characters a whole bar has.
const barWide = 24

func newProgress(w io.Writer, always bool, size int64, read func() int64) *progress {
	p := &progress{w: w, size: size, read: read, start: time.Now(), last: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.term = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	p.shown = p.term || always
	return p
}

func (p *progress) lines(n int) {
	every := 10 * time.Second
	if p.term {
		every = 200 * time.Millisecond
	}
	now := time.Now()
	if !p.shown || now.Sub(p.last) < every {
		return
	}
	p.last = now
	passed := now.Sub(p.start)
	text := fmt.Sprintf("%d lines, %.0f a second", n, float64(n)/passed.Seconds())
	if read := p.read(); p.size > 0 && read > 0 {
		left := time.Duration(float64(passed) * float64(p.size-read) / float64(read))
		done := int(barWide * min(read, p.size) / p.size)
		text = fmt.Sprintf("[%s%s] %3d%%  %s, %s left", strings.Repeat("=", done), strings.Repeat(" ", barWide-done), 100*read/p.size, text, left.Round(time.Second))
	}
	if p.term {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	} else {
		fmt.Fprintln(p.w, text)
	}
}

// end says how it went.
func (p *progress) end(lines int, summary string) {
	if !p.shown {
		return
	}
	passed := time.Since(p.start)
	if p.term {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintf(p.w, "%s (%d lines in %s, %.0f a second)\n", summary, lines, passed.Round(time.Millisecond), float64(lines)/passed.Seconds())
}
