package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sendgate/sendgate/internal/traffic"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// driver plays traffic to a running sidecar: each event at its time, each outcome only of what went out.
type driver struct {
	conn    *grpc.ClientConn
	client  sendgatev1.SendGateServiceClient
	speedup float64
	rate    float64
	at      atomic.Int64 // how far in the log's time, nanoseconds

	room chan struct{} // one for each call in flight

	mu     sync.Mutex
	sent   map[string]sent
	silent bool // the sidecar takes no outcomes
	failed int
	first  error // of those that failed
	tally  tally
}

// sent is a send that went out, or is being judged.
type sent struct {
	checkID string
	done    chan struct{} // closed when the verdict is there
	out     bool
}

// driversInFlight is how many calls a driver has in flight at most.
const driversInFlight = 256

// newDriver connects. The numbers of made-up traffic belong to people: it stays on this machine.
func newDriver(addr string, speedup, rate float64) (*driver, error) {
	if host, _, _ := strings.Cut(strings.TrimPrefix(addr, "["), "]"); !strings.HasPrefix(addr, "unix:") && !onThisMachine(addr, host) {
		return nil, fmt.Errorf("--addr %s: only a sidecar on this machine can be driven: write 127.0.0.1:PORT, [::1]:PORT or unix:/path", addr)
	}
	if !(speedup > 0) || rate < 0 {
		return nil, errors.New("--speedup and --rate: write numbers above 0")
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, fmt.Errorf("--addr %s: write host:port or unix:/path", addr)
	}
	return &driver{conn: conn, client: sendgatev1.NewSendGateServiceClient(conn), speedup: speedup, rate: rate,
		room: make(chan struct{}, driversInFlight), sent: make(map[string]sent)}, nil
}

func onThisMachine(addr, host string) bool {
	if name, _, ok := strings.Cut(addr, ":"); ok && name != "" {
		host = name
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.TrimPrefix(host, "["))
	return err == nil && ip.IsLoopback()
}

func (d *driver) close() error { return d.conn.Close() }

// played is how far in the log's time it is.
func (d *driver) played() int64 { return d.at.Load() }

// run plays the whole stream, or until ctx ends.
func (d *driver) run(ctx context.Context, stream *traffic.Stream, bar *progress) error {
	start, n, checks := time.Now(), 0, 0
	var calls sync.WaitGroup
	defer calls.Wait()
	for e, ok := stream.Next(); ok; e, ok = stream.Next() {
		due := start.Add(time.Duration(float64(e.At.Sub(stream.Start)) / d.speedup))
		if e.Outcome == "" {
			checks++
		}
		if d.rate > 0 {
			due = start.Add(time.Duration(float64(checks) / d.rate * float64(time.Second)))
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		d.at.Store(int64(e.At.Sub(stream.Start)))
		n++
		bar.lines(n)
		select {
		case d.room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		play := d.outcome
		if e.Outcome == "" {
			play = d.check
			d.mu.Lock()
			d.sent[e.ID] = sent{done: make(chan struct{})}
			d.mu.Unlock()
		}
		calls.Add(1)
		go func() {
			defer calls.Done()
			defer func() { <-d.room }()
			if err := play(ctx, e); err != nil {
				d.mu.Lock()
				if d.failed++; d.first == nil {
					d.first = err
				}
				d.mu.Unlock()
			}
		}()
	}
	calls.Wait()
	bar.end(n, "played")
	if d.failed > 0 {
		return fmt.Errorf("%d calls failed, the first: %s: %s", d.failed, status.Code(d.first), status.Convert(d.first).Message())
	}
	return nil
}

// check asks for one send. People solve a challenge and ask again.
func (d *driver) check(ctx context.Context, e traffic.Event) error {
	req := &sendgatev1.CheckSendRequest{Number: e.Number, ClientAddress: e.Client, Account: e.Account, Endpoint: e.Endpoint,
		Purpose: sendgatev1.Purpose(sendgatev1.Purpose_value["PURPOSE_"+strings.ToUpper(e.Purpose)])}
	v, err := d.client.CheckSend(ctx, req)
	d.mu.Lock()
	s := d.sent[e.ID]
	d.mu.Unlock()
	defer close(s.done)
	if err != nil {
		return err
	}
	d.tally.add(&e, v)
	if v.Verdict == sendgatev1.Verdict_VERDICT_CHALLENGE && e.Label == traffic.Benign {
		req.ChallengePassed = true
		if v, err = d.client.CheckSend(ctx, req); err != nil {
			return err
		}
	}
	s.checkID, s.out = v.CheckId, v.Verdict == sendgatev1.Verdict_VERDICT_ALLOW
	d.mu.Lock()
	d.sent[e.ID] = s
	d.mu.Unlock()
	return nil
}

// outcome reports what became of a send, if it went out.
func (d *driver) outcome(ctx context.Context, e traffic.Event) error {
	d.mu.Lock()
	s, silent := d.sent[e.ID], d.silent
	d.mu.Unlock()
	if s.done == nil || silent {
		return nil
	}
	<-s.done
	d.mu.Lock()
	s = d.sent[e.ID]
	if e.Outcome != "failed" { // more may follow that
		delete(d.sent, e.ID)
	}
	d.mu.Unlock()
	if !s.out {
		return nil
	}
	_, err := d.client.ReportOutcome(ctx, &sendgatev1.ReportOutcomeRequest{CheckId: s.checkID,
		Outcome: sendgatev1.Outcome(sendgatev1.Outcome_value["OUTCOME_"+strings.ToUpper(e.Outcome)])})
	if status.Code(err) == codes.Unimplemented {
		d.mu.Lock()
		d.silent = true
		d.mu.Unlock()
		return nil
	}
	return err
}

// tally counts what became of the sends of each label.
type tally struct {
	mu     sync.Mutex
	labels []string // in the order they came
	rows   map[string]*row
}

type row struct {
	sends, allowed, challenged, denied int
	saved, spent                       float64 // USD
	reasons                            map[string]int
}

func (t *tally) add(e *traffic.Event, v *sendgatev1.CheckSendResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = make(map[string]*row)
	}
	r := t.rows[e.Label]
	if r == nil {
		r = &row{reasons: make(map[string]int)}
		t.rows[e.Label] = r
		t.labels = append(t.labels, e.Label)
	}
	r.sends++
	price := traffic.Price(e.Number)
	switch v.Verdict {
	case sendgatev1.Verdict_VERDICT_ALLOW:
		r.allowed++
		r.spent += price
		return
	case sendgatev1.Verdict_VERDICT_CHALLENGE:
		r.challenged++
	default:
		r.denied++
	}
	r.saved += price
	r.reasons[v.Reason]++
}

// print writes the tally as a table.
func (t *tally) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "traffic\tsends\tlet through\tchallenged\tdenied\tUSD spent\tUSD not spent\t")
	for _, label := range t.labels {
		r := t.rows[label]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t\n", label, r.sends, r.allowed, r.challenged, r.denied, r.spent, r.saved)
	}
	return w.Flush()
}
