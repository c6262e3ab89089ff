package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sendgate/sendgate/internal/traffic"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type demoCommand struct {
	Seconds int    `help:"How long the morning takes (${default})." placeholder:"N" default:"60"`
	Seed    uint64 `help:"Decides everything that is drawn (${default})." placeholder:"N" default:"1"`
	HTTP    string `name:"http" help:"Where to serve the console meanwhile, to whoever is on this machine, such as 127.0.0.1:7071 (${default})." placeholder:"ADDR" default:"off"`
}

// The morning of the demonstration.
const (
	demoLength = 6 * time.Hour
	demoAttack = 3 * time.Hour
	demoRow    = 20 * time.Minute
)

// Help is what `sendgate demo --help` says below its first line.
func (demoCommand) Help() string {
	return `It starts a sidecar of its own on a socket in a temporary directory, lets time pass fast in it, plays made-up people and an attacker to it, and tells what was let through, stopped and saved. Nothing is sent to anybody, and nothing is left behind.`
}

func (c *demoCommand) Run(s *streams) error {
	if c.Seconds < 5 || c.Seconds > 3600 {
		return errors.New("--seconds: write from 5 to 3600")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC)
	stream, err := traffic.New(traffic.Options{Seed: c.Seed, Start: start, Length: demoLength, Sessions: 24_000, Home: []string{"GB", "IN", "KE", "SG"},
		Attacks: []traffic.Attack{
			{Kind: "ait_range", At: demoAttack, For: demoLength - demoAttack, PerMinute: 40, Country: "UZ"},
			{Kind: "flash_crowd", At: 4 * time.Hour, For: 40 * time.Minute, PerMinute: 40, Country: "IN"},
		}})
	if err != nil {
		return err
	}
	speed := demoLength.Seconds() / float64(c.Seconds)
	dir, err := os.MkdirTemp("", "sendgate-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addr, end, err := c.serve(ctx, dir, speed)
	if err != nil {
		return err
	}
	defer end()
	d, err := newDriver(addr, speed, 0)
	if err != nil {
		return err
	}
	defer d.close()
	fmt.Fprintf(s.out, `A Monday morning from 05:00 to 11:00, in %d seconds. People in GB, IN, KE and SG ask for codes to log in.
At 08:00 somebody begins to ask for codes to numbers in Uzbekistan that he is paid for, through 500 borrowed
addresses, each seen once or twice: no limit by number or address stops that. At 09:00 an advertisement in India
brings a crowd of honest new users: nobody should stop them.

`, c.Seconds)
	if c.HTTP != "off" {
		fmt.Fprintf(s.out, "Watch it: http://%s/\n\n", c.HTTP)
	}
	board := &board{out: s.out, start: start, since: start, told: make(map[string]bool)}
	d.seen = board.seen
	if err := d.run(ctx, stream, newProgress(io.Discard, false, 0, d.played)); err != nil {
		return err
	}
	return board.end(c.Seconds)
}

// serve starts a sidecar and returns where it listens and what ends it.
func (c *demoCommand) serve(ctx context.Context, dir string, speed float64) (addr string, end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	addr = "unix:" + filepath.Join(dir, "s")
	said := new(bytes.Buffer)
	cmd := exec.Command(self, "serve", "--grpc", addr, "--http", c.HTTP, "--console", "loopback", "--data", filepath.Join(dir, "data"),
		"--table-size", "16MiB", "--clock-speed", fmt.Sprint(speed), "--log-level", "error")
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start a sidecar: %w", err)
	}
	end = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err == nil {
		defer conn.Close()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, err = healthgrpc.NewHealthClient(conn).Check(ctx, &healthgrpc.HealthCheckRequest{}, grpc.WaitForReady(true))
	}
	if err != nil {
		end()
		return "", nil, fmt.Errorf("the sidecar does not answer: %w\n%s", err, said)
	}
	return addr, end, nil
}

// notesShown is how many signals are told in words: the ranges within a range that is told already say nothing new.
const notesShown = 5

// board shows what happens, a row for every while.
type board struct {
	out          io.Writer
	start, since time.Time
	mu           sync.Mutex
	row, total   [2]count        // people, attack
	told         map[string]bool // subjects of signals
	notes        []string
	limits       int // people stopped by a limit
}

type count struct {
	sends, through, challenged, denied int
	spent, saved                       float64 // USD
}

func (c *count) add(o count) {
	c.sends += o.sends
	c.through += o.through
	c.challenged += o.challenged
	c.denied += o.denied
	c.spent += o.spent
	c.saved += o.saved
}

const (
	people = iota
	attackers
)

func (b *board) seen(e *traffic.Event, v *sendgatev1.CheckSendResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e.At.Sub(b.since) >= demoRow && b.since.Sub(b.start) < demoLength-demoRow {
		b.flush()
	}
	who := attackers
	if e.Label == traffic.Benign {
		who = people
	}
	one, price := count{sends: 1}, traffic.Price(e.Number)
	switch v.Verdict {
	case sendgatev1.Verdict_VERDICT_ALLOW:
		one.through, one.spent = 1, price
	case sendgatev1.Verdict_VERDICT_CHALLENGE:
		one.challenged, one.saved = 1, price
	default:
		one.denied, one.saved = 1, price
	}
	if who == people && one.through == 0 && strings.HasPrefix(v.Reason, "limit:") {
		b.limits++
	}
	b.row[who].add(one)
	if byDetection := strings.HasPrefix(v.Reason, "detect:") || strings.HasPrefix(v.Reason, "block:"); byDetection && one.through == 0 {
		b.note(e.At, v)
	}
}

// note tells the first stop of each subject, in words.
func (b *board) note(at time.Time, v *sendgatev1.CheckSendResponse) {
	sig := v.Signals[0]
	key := sig.Kind + sig.Subject + v.Verdict.String()
	if b.told[key] {
		return
	}
	if b.told[key] = true; len(b.told) > notesShown {
		return
	}
	evidence := map[string]float64{}
	for _, e := range sig.Evidence {
		evidence[e.Name] = e.Value
	}
	b.notes = append(b.notes, fmt.Sprintf("       %s  %s on %s: %.0f sessions, %.0f verified, evidence %.1f of %.1f -> %s", at.Format("15:04"), sig.Kind, sig.Subject,
		evidence["sessions"], evidence["verified"], sig.Statistic, sig.Threshold, strings.ToLower(strings.TrimPrefix(v.Verdict.String(), "VERDICT_"))))
}

func (b *board) flush() {
	p, a := &b.row[people], &b.row[attackers]
	fmt.Fprintf(b.out, "%s  people %4d of %4d let through", b.since.Format("15:04"), p.through, p.sends)
	if a.sends > 0 {
		stopped := a.challenged + a.denied
		fmt.Fprintf(b.out, "   attack %4d of %4d stopped  %s  USD %7.2f saved", stopped, a.sends, bar(float64(stopped)/float64(a.sends)), a.saved)
	}
	fmt.Fprintln(b.out)
	for _, n := range b.notes {
		fmt.Fprintln(b.out, n)
	}
	b.notes = nil
	for who := range b.row {
		b.total[who].add(b.row[who])
		b.row[who] = count{}
	}
	b.since = b.since.Add(demoRow)
}

// bar draws a share in twenty cells.
func bar(share float64) string {
	full := int(share*20 + .5)
	return strings.Repeat("█", full) + strings.Repeat("░", 20-full)
}

func (b *board) end(seconds int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	p, a := &b.total[people], &b.total[attackers]
	share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
	_, err := fmt.Fprintf(b.out, `
let through   %5d messages of people (USD %.2f) and %d of the attack (USD %.2f)
stopped       %5d of %d messages of the attack: %.1f %%
saved         USD %.2f, about %.0f a day
people        %d of %d were told to wait by a limit (%.1f %%, those who ask again too soon), %d met detection
`, p.through, p.spent, a.through, a.spent, a.challenged+a.denied, a.sends, share(a.challenged+a.denied, a.sends), a.saved, a.saved*24/(demoLength-demoAttack).Hours(),
		b.limits, p.sends, share(b.limits, p.sends), p.challenged+p.denied-b.limits)
	return err
}
