package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/replay"
	"github.com/sendgate/sendgate/policy"
)

type replayCommand struct {
	In       string `help:"The log, one JSON object a line; *.gz is unpacked; - for standard input (${default})." placeholder:"LOG" default:"-"`
	Out      string `help:"Where the verdicts go, one line a send; - for standard output (${default})." placeholder:"FILE" default:"-"`
	Policy   string `help:"Policy file. Default: the built-in policy." placeholder:"FILE"`
	Compare  string `help:"Another policy file, judged beside the first on the same log: what it would stop more, or no longer, and whom that hurts." placeholder:"FILE"`
	HTML     string `name:"html" help:"Where to write a report, one HTML file that needs nothing else." placeholder:"FILE"`
	Prices   string `help:"CSV file of prices by number prefix (prefix,price,currency), for budgets and for what the report says of money." placeholder:"FILE"`
	Columns  string `help:"The log is CSV, and these of its columns are fields: FIELD=COLUMN,... Fields that are not written come from columns of their own names. A log named *.csv or *.csv.gz is CSV without it." placeholder:"MAP"`
	Alerts   string `help:"Where to write what detection would have alerted an operator of, one JSON object a line." placeholder:"FILE"`
	Strict   bool   `help:"End at the first line that is no event. Else such lines are counted and passed over."`
	Progress bool   `help:"Tell progress on standard error, also where it is no terminal."`

	TableSize  size `help:"Memory for counters (${default})." placeholder:"SIZE" default:"64MiB"`
	DetectSize size `help:"Memory for detection (${default})." placeholder:"SIZE" default:"64MiB"`
}

// Help is what `sendgate replay --help` says below its first line.
func (replayCommand) Help() string {
	return `A line is a send or an outcome; fields that it does not know are ignored:

  {"t":"2026-01-05T00:00:02.597Z","type":"send","id":"a1","msisdn":"+6581237910","ip":"198.51.100.77","account":"acme","endpoint":"login","purpose":"otp"}
  {"t":"2026-01-05T00:00:07.656Z","type":"outcome","id":"a1","outcome":"verified"}

Each send is answered by a line like {"id":"a1","verdict":"deny","reason":"limit:number-minute","rule":"number-minute","retry_after_ms":42000}, where verdict is allow, flag, challenge or deny. Time is the log's, and the same log gives the same bytes. With --in - each verdict is written before the next line is read. See docs/replay.md for CSV, --compare and --html.`
}

// badShown is how many lines that are no events are shown.
const badShown = 10

func (c *replayCommand) Run(s *streams) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := readPolicy(c.Policy)
	if err != nil {
		return err
	}
	columns, err := c.columns()
	if err != nil {
		return err
	}
	money, err := readPrices(c.Prices)
	if err != nil {
		return err
	}
	var second *policy.Policy
	if c.Compare != "" {
		if second, err = readPolicy(c.Compare); err != nil {
			return err
		}
	}
	in, err := openLog(c.In)
	if err != nil {
		return err
	}
	defer in.Close()
	out, closeOut, err := createOut(c.Out, s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOut()) }()
	o := replay.Options{Policy: p, TableSize: int64(c.TableSize), DetectSize: int64(c.DetectSize), Prices: money, Summarize: c.HTML != "" || c.Compare != ""}
	r, err := replay.New(ctx, o)
	if err != nil {
		return err
	}
	defer r.Close()
	page := replay.Page{Log: filepath.Base(c.In), A: r}
	if money != nil {
		page.Currency = money.Currency()
	}
	if second != nil {
		o.Policy = second
		if page.B, err = replay.New(ctx, o); err != nil {
			return err
		}
		defer page.B.Close()
		page.Difference = replay.NewDifference()
	}

	alert, closeAlerts, err := c.alerts()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAlerts()) }()

	bar := newProgress(s.err, c.Progress, in.size, in.read)
	bad := 0
	lines, err := r.Run(ctx, in, out, replay.RunOptions{
		LineByLine: c.In == "-", Strict: c.Strict, Progress: bar.lines, Alert: alert, CSV: columns, Beside: page.B, Difference: page.Difference,
		Bad: func(line int, err error) {
			if bad++; bad <= badShown {
				fmt.Fprintf(s.err, "line %d: %v\n", line, err)
			}
		},
	})
	if err != nil {
		return err
	}
	n := &r.Counts
	bar.end(lines, fmt.Sprintf("%d sends: %d allowed, %d flagged, %d challenged, %d denied; %d outcomes",
		n.Sends, n.Allowed, n.Flagged, n.Challenged, n.Denied, n.Outcomes))
	if bad > 0 {
		fmt.Fprintf(s.err, "%d of %d lines are no events and were passed over; --strict ends at the first\n", bad, lines)
	}
	if full := r.Full(); full > 0 {
		fmt.Fprintf(s.err, "the table had no room for %d charges, so limits counted too little: give a larger --table-size\n", full)
	}
	if n.Invalid > 0 {
		fmt.Fprintf(s.err, "%d sends would have been refused as invalid; they are answered deny with the reason invalid:FIELD\n", n.Invalid)
	}
	if page.B != nil {
		printDifference(s.err, &page)
	}
	if c.HTML == "" {
		return nil
	}
	page.Lines, page.Bad = lines, bad
	return writePage(c.HTML, &page)
}

// columns are those of a CSV log; nil for JSON.
func (c *replayCommand) columns() (replay.Columns, error) {
	if c.Columns == "" && !strings.HasSuffix(strings.TrimSuffix(c.In, ".gz"), ".csv") {
		return nil, nil
	}
	columns, err := replay.ParseColumns(c.Columns)
	if err != nil {
		return nil, fmt.Errorf("--columns: %w", err)
	}
	return columns, nil
}

// alerts opens the file of alerts, if there is to be one.
func (c *replayCommand) alerts() (tell func(detect.Alert), done func() error, err error) {
	if c.Alerts == "" {
		return nil, func() error { return nil }, nil
	}
	f, err := os.Create(c.Alerts)
	if err != nil {
		return nil, nil, fmt.Errorf("--alerts %s: %w", c.Alerts, reason(err))
	}
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	var failed error
	tell = func(a detect.Alert) {
		s := &a.Signal
		failed = errors.Join(failed, lines.Encode(struct {
			T        time.Time `json:"t"`
			Kind     string    `json:"kind"`
			Scope    string    `json:"scope"`
			Subject  string    `json:"subject"`
			Text     string    `json:"text"`
			Sessions int       `json:"sessions"`
			Verified int       `json:"verified"`
		}{time.Unix(0, a.At).UTC(), s.Kind.String(), s.Subject.Scope.String(), s.Subject.String(), cmp.Or(a.Text, s.String()), s.Sessions, s.Verified}))
	}
	return tell, func() error { return errors.Join(failed, w.Flush(), f.Close()) }, nil
}

// log is an open log file.
type log struct {
	io.Reader
	file *os.File
	size int64        // of the file, 0 where nobody knows
	read func() int64 // how much of the file was read
}

// Close closes the file.
func (l *log) Close() error { return l.file.Close() }

func openLog(path string) (*log, error) {
	if path == "-" {
		count := &countingReader{r: os.Stdin}
		return &log{count, os.Stdin, 0, count.read}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--in %s: %w", path, reason(err))
	}
	count := &countingReader{r: f}
	l := &log{Reader: count, file: f, read: count.read}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		l.size = info.Size()
	}
	if strings.HasSuffix(path, ".gz") {
		if l.Reader, err = gzip.NewReader(bufio.NewReaderSize(count, 1<<20)); err != nil {
			f.Close()
			return nil, fmt.Errorf("--in %s: %w", path, err)
		}
	}
	return l, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) read() int64 { return c.n }

// createOut opens where a command writes; - is standard output. What was written is complete when the function it returns says so.
func createOut(path string, stdout io.Writer) (io.Writer, func() error, error) {
	if path == "-" {
		return stdout, func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--out %s: %w", path, reason(err))
	}
	return f, f.Close, nil
}
