package main

import (
	"bytes"
	"fmt"
	"os"
)

// report is what a run found, as Markdown, told on standard output as well.
type report struct{ text bytes.Buffer }

// table begins a table.
func (r *report) table(columns ...string) {
	r.text.WriteString("\n|")
	for _, c := range columns {
		fmt.Fprintf(&r.text, " %s |", c)
	}
	r.text.WriteString("\n|")
	for range columns {
		r.text.WriteString("---|")
	}
	r.text.WriteByte('\n')
}

// row adds a row of a name and one cell, each with its arguments.
func (r *report) row(name string, of []any, cell string, a ...any) {
	r.cells(fmt.Sprintf(name, of...), fmt.Sprintf(cell, a...))
}

func (r *report) cells(cells ...string) {
	r.text.WriteByte('|')
	for _, c := range cells {
		fmt.Fprintf(&r.text, " %s |", c)
	}
	r.text.WriteByte('\n')
}

func (r *report) line(format string, a ...any) { fmt.Fprintf(&r.text, format+"\n", a...) }

// write tells what there is, and writes it to a file that has a name.
func (r *report) write(name string) error {
	fmt.Printf("\n%s", r.text.String())
	if name == "" {
		return nil
	}
	return os.WriteFile(name, r.text.Bytes(), 0o644)
}
