package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/sendgate/sendgate/internal/replay"
)

// topChanges is how many reasons of each side are told.
const topChanges = 5

// printDifference tells how two policies differ on one log.
func printDifference(out io.Writer, p *replay.Page) {
	d := p.Difference
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nfrom \\ to\t")
	all := []replay.Word{replay.Allowed, replay.Flagged, replay.Challenged, replay.Denied}
	for _, to := range all {
		fmt.Fprintf(w, "%s\t", to)
	}
	fmt.Fprintln(w)
	for _, from := range all {
		fmt.Fprintf(w, "%s\t", from)
		for _, to := range all {
			fmt.Fprintf(w, "%d\t", d.Moves[from][to].Sends)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	side := func(second bool, name, what string) {
		t := d.Only(second)
		money := ""
		if p.Currency != "" {
			money = ", " + amount(t.Money, p.Currency)
		}
		fmt.Fprintf(out, "\n%s stops %d sends that the other does not%s; %d of those were verified (%s)%s\n", name, t.Sends, money, t.Verified, percentOf(t.Verified, t.Sends), what)
		for _, c := range d.Top(second, topChanges) {
			t, by := d.Causes[c], c.From
			if second {
				by = c.To
			}
			fmt.Fprintf(out, "  %s %s: %d, %d verified\n", by.Word, by.Reason, t.Sends, t.Verified)
		}
	}
	side(true, "the second policy", ": people it would hurt")
	side(false, "the first policy", "")
}

// writePage writes a whole report or none.
func writePage(path string, p *replay.Page) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--html %s: %w", path, reason(err))
	}
	if err := errors.Join(p.Write(f), f.Close()); err != nil {
		return fmt.Errorf("--html %s: %w", path, errors.Join(reason(err), os.Remove(path)))
	}
	return nil
}
