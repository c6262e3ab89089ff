package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sendgate/sendgate/internal/traffic"
)

type simulateCommand struct {
	Out      string        `help:"Where the log goes; - for standard output (${default})." placeholder:"FILE" default:"-"`
	Seed     uint64        `help:"Decides everything that is drawn (${default})." placeholder:"N" default:"1"`
	Start    string        `help:"When it begins, as 2026-03-02T00:00:00Z (${default})." placeholder:"TIME" default:"2026-03-02T00:00:00Z"`
	For      time.Duration `help:"For how long it goes on (${default})." placeholder:"TIME" default:"24h"`
	Sessions int           `help:"How many people ask for a code in a day (${default})." placeholder:"N" default:"20000"`
	Home     []string      `help:"Countries where people live, the first the most (${default})." placeholder:"CC" default:"SG,ID,MY,GB"`
	Attack   []string      `help:"KIND[:at=9h][:for=1h][:rate=60][:country=UZ]; may be given again. rate is in sends a minute." placeholder:"ATTACK" sep:"none"`

	Addr    string  `help:"Drive a sidecar on this machine instead: host:port or unix:/path." placeholder:"ADDR"`
	Speedup float64 `help:"How many times as fast as the log's time, when driving (${default})." placeholder:"N" default:"1"`
	Rate    float64 `help:"Checks a second when driving, whatever the log's time." placeholder:"N"`

	Progress bool `help:"Tell progress on standard error, also where it is no terminal."`
}

// Help is what `sendgate simulate --help` says below its first line.
func (simulateCommand) Help() string {
	b := new(strings.Builder)
	b.WriteString("An ordinary day of people who ask for codes, labelled, the same for the same seed; with --addr it is played to a running sidecar, outcomes included. People solve challenges, attackers do not.\n\nKinds of attack:\n\n")
	for _, k := range traffic.Kinds() {
		fmt.Fprintf(b, "  %-20s %s\n", k[0], k[1])
	}
	b.WriteString("\n  sendgate simulate --attack ait_range:at=9h:for=2h --out day.jsonl\n  sendgate replay --in day.jsonl --out verdicts.jsonl")
	return b.String()
}

func (c *simulateCommand) Run(s *streams) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stream, err := c.stream()
	if err != nil {
		return err
	}
	if c.Addr != "" {
		d, err := newDriver(c.Addr, c.Speedup, c.Rate)
		if err != nil {
			return err
		}
		defer d.close()
		bar := newProgress(s.err, c.Progress, int64(c.For), d.played)
		if err := d.run(ctx, stream, bar); err != nil {
			return err
		}
		return d.tally.print(s.out)
	}
	out, closeOut, err := createOut(c.Out, s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOut()) }()
	at := stream.Start
	bar := newProgress(s.err, c.Progress, int64(c.For), func() int64 { return int64(at.Sub(stream.Start)) })
	lines, err := write(ctx, stream, out, func(n int, now time.Time) { at = now; bar.lines(n) })
	if err == nil {
		bar.end(lines, "written")
	}
	return err
}

func (c *simulateCommand) stream() (*traffic.Stream, error) {
	start, err := time.Parse(time.RFC3339, c.Start)
	if err != nil {
		return nil, fmt.Errorf("--start %s: write a time like 2026-03-02T00:00:00Z", c.Start)
	}
	o := traffic.Options{Seed: c.Seed, Start: start, Length: c.For, Sessions: c.Sessions, Home: c.Home}
	for _, text := range c.Attack {
		a, err := traffic.ParseAttack(text)
		if err != nil {
			return nil, fmt.Errorf("--attack %s: %w", text, err)
		}
		o.Attacks = append(o.Attacks, a)
	}
	return traffic.New(o)
}

// write writes a stream as a log.
func write(ctx context.Context, stream *traffic.Stream, out io.Writer, progress func(lines int, at time.Time)) (lines int, err error) {
	w := bufio.NewWriterSize(out, 1<<16)
	var line []byte
	for e, ok := stream.Next(); ok; e, ok = stream.Next() {
		line = e.AppendJSON(line[:0])
		if _, err := w.Write(line); err != nil {
			return lines, err
		}
		if lines++; lines%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return lines, err
			}
			progress(lines, e.At)
		}
	}
	return lines, w.Flush()
}
