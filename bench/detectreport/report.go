package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	Made      time.Time
	Bars      []bar
	Results   []*result
	SmallSize string    `json:",omitempty"`
	Small     []*result `json:",omitempty"`
	Trips     map[string]int
	Sessions  int // of the benign runs that trips are counted over
}

// printBars prints each bar beside what was measured, and says whether all are met.
func printBars(w io.Writer, all []bar) (met bool) {
	met = true
	fmt.Fprintf(w, "%-62s %12s  %-14s %s\n", "", "measured", "must", "worst case")
	for i := range all {
		b := &all[i]
		mark := "ok    "
		switch {
		case !b.met():
			mark, met = "MISSED", false
		case b.stretched():
			mark = "ok +  "
		}
		fmt.Fprintf(w, "%s %-55s %12s  %s %-11s %s\n", mark, b.name, b.format(b.measured), b.sign(), b.format(b.must), b.of)
	}
	fmt.Fprintln(w, "ok + also reaches the stretch goal")
	return met
}

func (r *report) attacks() []*attack {
	var all []*attack
	for _, s := range r.Results {
		for _, a := range s.Attacks {
			all = append(all, a)
		}
	}
	sortAttacks(all)
	return all
}

// write writes the report into a folder.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"detect.json": append(body, '\n'), "detect.md": r.markdown(), "detect.svg": r.plot()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) markdown() []byte {
	b := new(bytes.Buffer)
	fmt.Fprintf(b, `# What detection catches, and whom it hurts

Made by `+"`make detect-report`"+` on %s: the development scenarios, played through `+"`sendgate replay`"+` with the built-in policy, as whoever is
protected would live them (a denied send never happened; people solve challenges, bots do not), scored by score.py. The traffic
is made up: it ranks designs and finds mistakes, it does not predict production.

![Recall and messages until detection](detect.svg)

## Bars

| | measured | must | stretch | worst case |
|---|---|---|---|---|
`, r.Made.Format("2006-01-02"))
	for i := range r.Bars {
		x := &r.Bars[i]
		mark := ""
		if !x.met() {
			mark = " **missed**"
		}
		fmt.Fprintf(b, "| %s | %s%s | %s %s | %s | %s |\n", x.name, x.format(x.measured), mark, x.sign(), x.format(x.must), x.format(x.stretch), x.of)
	}
	fmt.Fprintf(b, "\n## Attacks\n\n| attack | kind | a minute | messages | stopped | let through | before the first signal | seconds to it | USD lost of | named |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, a := range r.attacks() {
		fmt.Fprintf(b, "| %s | %s | %g | %d | %.1f %% | %d | %d | %.0f | %.2f of %.2f | %s |\n", a.Label, a.Type, a.rate, a.N, 100*a.Recall, a.Through, a.Before, a.Seconds,
			a.USDLost, a.USDTotal, strings.Join(a.TopReason, ", "))
	}
	fmt.Fprintf(b, "\n## Honest people\n\nOf the sends of each scenario, how many detection denied, how many it challenged, and how many a plain limit asked to wait.\n\n| scenario | sends | denied | challenged | by limits |\n|---|---|---|---|---|\n")
	subs := map[string]sub{}
	for _, s := range r.Results {
		n := &s.Benign
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d |\n", s.Name, n.N, n.Hard, n.Challenge, n.Limit)
		for name, x := range n.BySub {
			y := subs[name]
			subs[name] = sub{x.N + y.N, x.Hard + y.Hard, x.Challenge + y.Challenge, x.Limit + y.Limit}
		}
	}
	fmt.Fprintf(b, "\n| who | sends | denied | challenged | by limits |\n|---|---|---|---|---|\n")
	var names []string
	for name := range subs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		x := subs[name]
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d |\n", name, x.N, x.Hard, x.Challenge, x.Limit)
	}
	if r.Sessions > 0 {
		fmt.Fprintf(b, "\nTrips in %d sessions of benign traffic of fresh seeds, by scope:", r.Sessions)
		var scopes []string
		for scope, n := range r.Trips {
			scopes = append(scopes, fmt.Sprintf(" %s %d", scope, n))
		}
		slices.Sort(scopes)
		if len(scopes) == 0 {
			scopes = []string{" none"}
		}
		fmt.Fprintf(b, "%s.\n", strings.Join(scopes, ","))
	}
	return b.Bytes()
}
