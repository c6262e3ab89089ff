package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/internal/phone"
)

type auditCommand struct {
	Verify auditVerifyCommand `cmd:"" help:"Check that no line of the audit log was changed, removed, swapped or cut off. Exit code 1 if one was."`
	Show   auditShowCommand   `cmd:"" help:"Print what the audit log says."`
	Export auditExportCommand `cmd:"" help:"Write the checks of the audit log as a log for sendgate replay, with stand-ins for numbers and addresses."`
}

// auditSource is where an audit log is read. The sidecar may run.
type auditSource struct {
	Data       string   `help:"Data directory of the sidecar (${default})." placeholder:"DIR" default:"data" env:"SENDGATE_DATA"`
	SecretFile []string `help:"File of the secret; again for one that was used before. Default: secret in the data directory." placeholder:"FILE" env:"SENDGATE_SECRET_FILE"`
}

func (f *auditSource) secrets() (all [][]byte, err error) {
	files := f.SecretFile
	if len(files) == 0 {
		files = []string{filepath.Join(f.Data, "secret")}
	}
	for _, file := range files {
		b, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("secret %w", err)
		}
		all = append(all, b)
	}
	return all, nil
}

// logs are the folders that there are.
func (f *auditSource) logs(only string) (names []string, err error) {
	for _, name := range []string{audit.ChangesDir, audit.ChecksDir} {
		if only != "" && only != name {
			continue
		}
		if _, err := os.Stat(filepath.Join(auditDir(f.Data), name)); err == nil {
			names = append(names, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, reason(err)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no audit log in %s: give the data directory of a sidecar with --data", auditDir(f.Data))
	}
	return names, nil
}

type auditVerifyCommand struct {
	auditSource
	Head map[string]string `help:"What verify printed before for a log, such as changes=120:9f86d081884c7d65...: is that line still there?" placeholder:"LOG=HEAD"`
	JSON bool              `name:"json" help:"Print the report as JSON."`
}

// Help is what `sendgate audit verify --help` says below its first line.
func (auditVerifyCommand) Help() string {
	return `Each line is sealed with the secret over itself and the line before, so whoever changes the files without the secret is found out. Whoever has the secret, or puts the whole directory back to an older state, is not: keep the heads that this prints somewhere else, and give them with --head later.`
}

func (c *auditVerifyCommand) Run(s *streams) error {
	secrets, err := c.secrets()
	if err != nil {
		return err
	}
	names, err := c.logs("")
	if err != nil {
		return err
	}
	for name := range c.Head {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--head %s: there is no such log: write changes=HASH or checks=HASH", name)
		}
	}
	reports, faults := map[string]*audit.Report{}, 0
	for _, name := range names {
		r, err := audit.Verify(filepath.Join(auditDir(c.Data), name), secrets, c.Head[name])
		if err != nil {
			return err
		}
		reports[name] = r
		faults += len(r.Faults)
	}
	if c.JSON {
		if err := json.NewEncoder(s.out).Encode(reports); err != nil {
			return err
		}
	} else {
		for _, name := range names {
			printVerified(s, name, reports[name])
		}
	}
	if faults > 0 {
		return exitCode(1)
	}
	return nil
}

func printVerified(s *streams, name string, r *audit.Report) {
	for _, f := range r.Faults {
		fmt.Fprintf(s.out, "%s/%s\n", name, f)
	}
	state := "whole"
	if len(r.Faults) > 0 {
		state = fmt.Sprintf("%d FAULTS", len(r.Faults))
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%s\n", name, state)
	fmt.Fprintf(w, "  lines\t%d in %d files, %s to %s\n", r.Lines, r.Files, r.First.Time.UTC().Format(time.DateTime), r.Last.Time.UTC().Format(time.DateTime))
	if r.Retired > 0 {
		fmt.Fprintf(w, "  removed\t%d older lines, as configured\n", r.Retired)
	}
	if r.Dropped > 0 {
		fmt.Fprintf(w, "  missing\t%d records came faster than they could be written\n", r.Dropped)
	}
	if r.Torn > 0 {
		fmt.Fprintf(w, "  killed\t%d bytes of half a line were taken off at a start\n", r.Torn)
	}
	fmt.Fprintf(w, "  head\t%s\n", r.Head)
	w.Flush()
}

// auditFilter picks records.
type auditFilter struct {
	Log     string    `help:"changes, checks, or nothing for both." enum:"changes,checks," default:""`
	Kind    []string  `help:"Only records of these kinds: deny, challenge, counted, allow, outcome; admin, reload, block, budget, feedback, start, stop." placeholder:"KIND"`
	Since   auditTime `help:"From a time, such as 2026-11-23T09:00:00Z, or so long ago, such as 2h." placeholder:"TIME"`
	Until   auditTime `help:"Up to a time, or so long ago." placeholder:"TIME"`
	Number  string    `help:"Only checks of this number, in E.164." placeholder:"NUMBER"`
	Client  string    `name:"client-ip" help:"Only checks of this client address, or of its /64." placeholder:"ADDRESS"`
	Account string    `help:"Only checks of this account." placeholder:"NAME"`
	Reason  string    `help:"Only checks whose reason begins so, such as detect: or limit:number-minute." placeholder:"TEXT"`
	CheckID string    `name:"check-id" help:"Only this check and its outcomes." placeholder:"ID"`
}

// auditTime is a time, or how long ago.
type auditTime struct{ time.Time }

// UnmarshalText reads either.
func (t *auditTime) UnmarshalText(text []byte) (err error) {
	if ago, err := time.ParseDuration(string(text)); err == nil {
		t.Time = time.Now().Add(-ago)
		return nil
	}
	if t.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return fmt.Errorf("%q is no time: write one like 2026-11-23T09:00:00Z, or how long ago, like 2h", text)
	}
	return nil
}

// entry is a record of either log. Its check is empty where it is about none.
type entry struct {
	audit.Record
	log   string
	check audit.Check
}

// entries merges the logs by time.
func (f *auditFilter) entries(source *auditSource) (iter.Seq2[*entry, error], error) {
	names, err := source.logs(f.Log)
	if err != nil {
		return nil, err
	}
	keep, err := f.keep(source)
	if err != nil {
		return nil, err
	}
	return func(yield func(*entry, error) bool) {
		type stream struct {
			name string
			next func() (audit.Record, error, bool)
			now  audit.Record
		}
		var open []*stream
		advance := func(s *stream) error {
			r, err, more := s.next()
			if !more {
				open = slices.DeleteFunc(open, func(o *stream) bool { return o == s })
			}
			s.now = r
			return err
		}
		for _, name := range names {
			next, stop := iter.Pull2(audit.Read(filepath.Join(auditDir(source.Data), name)))
			defer stop()
			s := &stream{name: name, next: next}
			open = append(open, s)
			if err := advance(s); err != nil {
				yield(nil, err)
				return
			}
		}
		for len(open) > 0 {
			first := slices.MinFunc(open, func(a, b *stream) int { return a.now.Time.Compare(b.now.Time) })
			e := &entry{Record: first.now, log: first.name}
			if e.log == audit.ChecksDir {
				_ = json.Unmarshal(e.Data, &e.check) // Read has parsed the line
			}
			if keep(e) && !yield(e, nil) {
				return
			}
			if err := advance(first); err != nil {
				yield(nil, err)
				return
			}
		}
	}, nil
}

func (f *auditFilter) keep(source *auditSource) (func(*entry) bool, error) {
	var numbers, clients []string // a number is another text under each secret
	if f.Number != "" || f.Client != "" {
		secrets, err := source.secrets()
		if err != nil {
			return nil, err
		}
		for _, secret := range secrets {
			veil, err := audit.NewVeil(secret)
			if err != nil {
				return nil, err
			}
			if f.Number != "" {
				n, err := phone.Parse(f.Number, "")
				if err != nil {
					return nil, fmt.Errorf("--number: %w", err)
				}
				numbers = append(numbers, veil.Number(n))
			}
			if f.Client != "" {
				a, err := netip.ParseAddr(f.Client)
				if err != nil {
					return nil, errors.New("--client-ip: write an address, such as 203.0.113.7")
				}
				clients = append(clients, veil.Address(a))
			}
		}
	}
	return func(e *entry) bool {
		c := &e.check
		return (f.Kind == nil || slices.Contains(f.Kind, e.Kind)) &&
			(f.Since.IsZero() || !e.Time.Before(f.Since.Time)) && (f.Until.IsZero() || !e.Time.After(f.Until.Time)) &&
			(numbers == nil || slices.Contains(numbers, c.Number)) && (clients == nil || slices.Contains(clients, c.Client)) &&
			(f.Account == "" || c.Account == f.Account) && strings.HasPrefix(c.Reason, f.Reason) && (f.CheckID == "" || c.CheckID == f.CheckID)
	}, nil
}

type auditShowCommand struct {
	auditSource
	auditFilter
	Last int  `help:"Only the last so many." placeholder:"N" short:"n"`
	JSON bool `name:"json" help:"Print one JSON object a line, for jq."`
}

func (c *auditShowCommand) Run(s *streams) error {
	all, err := c.entries(&c.auditSource)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(s.out)
	defer out.Flush()
	show := func(e *entry) error {
		if c.JSON {
			return json.NewEncoder(out).Encode(struct {
				Log string `json:"log"`
				audit.Record
			}{e.log, e.Record})
		}
		_, err := fmt.Fprintln(out, e)
		return err
	}
	var last []*entry
	for e, err := range all {
		if err == nil && c.Last == 0 {
			err = show(e)
		}
		if err != nil {
			return err
		}
		if c.Last > 0 {
			if last = append(last, e); len(last) > 2*c.Last {
				last = slices.Clone(last[len(last)-c.Last:])
			}
		}
	}
	for _, e := range last[max(0, len(last)-c.Last):] {
		if err := show(e); err != nil {
			return err
		}
	}
	return nil
}

// String is a line for people.
func (e *entry) String() string {
	c := &e.check
	at := e.Time.UTC().Format("2006-01-02 15:04:05.000")
	if e.log != audit.ChecksDir || c.CheckID == "" {
		return fmt.Sprintf("%s  %-9s  %s", at, e.Kind, plain(e.Data))
	}
	if e.Kind == audit.KindOutcome {
		var o audit.Outcome
		_ = json.Unmarshal(e.Data, &o)
		return fmt.Sprintf("%s  %-9s  %-16s  %s", at, e.Kind, o.Number, o.Outcome)
	}
	text := fmt.Sprintf("%s  %-9s  %-16s  %-28s", at, e.Kind, c.Number, c.Reason)
	for _, part := range [...][2]string{{"client", c.Client}, {"account", c.Account}, {"endpoint", c.Endpoint}, {"purpose", c.Purpose}} {
		if part[1] != "" {
			text += "  " + part[0] + "=" + part[1]
		}
	}
	if c.RetryMS > 0 {
		text += "  retry=" + (time.Duration(c.RetryMS) * time.Millisecond).Round(time.Second).String()
	}
	for _, sig := range c.Signals {
		text += fmt.Sprintf("  [%s %s, evidence %.1f of %.1f]", sig.Kind, sig.Subject, sig.Statistic, sig.Threshold)
	}
	return strings.TrimRight(text, " ")
}

// plain writes the fields of an object as name=value.
func plain(data json.RawMessage) string {
	in := json.NewDecoder(strings.NewReader(string(data)))
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return string(data)
	}
	var parts []string
	for in.More() {
		key, err := in.Token()
		var value json.RawMessage
		if err != nil || in.Decode(&value) != nil {
			return string(data)
		}
		parts = append(parts, fmt.Sprintf("%v=%s", key, value))
	}
	return strings.Join(parts, " ")
}
