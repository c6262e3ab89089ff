package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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

	seen func(*traffic.Event, *sendgatev1.CheckSendResponse) // told of the first verdict of each send; may be nil

	room chan struct{} // one for each call in flight

	mu     sync.Mutex
	sent   map[string]*sent
	order  []*sent // as they came, so that the oldest are forgotten
	failed int
	late   int   // outcomes that came too late, where this machine is too slow for the speed
	first  error // of those that failed
	tally  tally
}

// sent is a send. What is told of it is told in its order: each call waits for the one before.
type sent struct {
	id      string
	at      time.Time // in the log
	account string
	last    chan struct{} // closed when the last call so far is done
	checkID string        // "" where it did not go out
}

// toldWithin is more than the time, in the log, until what became of a send is told.
const toldWithin = time.Hour

// driversInFlight is how many calls a driver has in flight at most.
const driversInFlight = 256

// newDriver connects. The numbers of made-up traffic belong to people: it stays on this machine.
func newDriver(addr string, speedup, rate float64) (*driver, error) {
	if !onThisMachine(addr) {
		return nil, fmt.Errorf("--addr %s: only a sidecar on this machine can be driven: write 127.0.0.1:PORT, [::1]:PORT or unix:/path", addr)
	}
	if !(speedup > 0) || rate < 0 {
		return nil, errors.New("--speedup and --rate: write numbers above 0")
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDefaultServiceConfig(asksAgain))
	if err != nil {
		return nil, fmt.Errorf("--addr %s: write host:port or unix:/path", addr)
	}
	return &driver{conn: conn, client: sendgatev1.NewSendGateServiceClient(conn), speedup: speedup, rate: rate,
		room: make(chan struct{}, driversInFlight), sent: make(map[string]*sent)}, nil
}

// asksAgain has a sidecar that is overloaded asked again: it has charged nothing.
const asksAgain = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.5s", "maxBackoff": "5s",
	"backoffMultiplier": 2, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}`

func onThisMachine(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
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
		play, before, done := d.turn(&e)
		calls.Add(1)
		go func() {
			defer calls.Done()
			defer func() { close(done); <-d.room }()
			if before != nil {
				<-before
			}
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
	bar.end(n, fmt.Sprintf("played; %d outcomes came too late to count", d.late))
	if d.failed > 0 {
		return fmt.Errorf("%d calls failed, the first: %s: %s", d.failed, status.Code(d.first), status.Convert(d.first).Message())
	}
	return nil
}

// turn is what to call for an event, after what, and what to close then.
func (d *driver) turn(e *traffic.Event) (play func(context.Context, traffic.Event) error, before, done chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done = make(chan struct{})
	for len(d.order) > 0 && e.At.Sub(d.order[0].at) > toldWithin {
		delete(d.sent, d.order[0].id)
		d.order = d.order[1:]
	}
	s := d.sent[e.ID]
	if s == nil {
		s = &sent{id: e.ID, at: e.At, account: e.Account}
		d.sent[e.ID] = s
		d.order = append(d.order, s)
	}
	before, s.last = s.last, done
	if e.Outcome == "" {
		return d.check, nil, done
	}
	return d.outcome, before, done
}

// check asks for one send. People solve a challenge and ask again.
func (d *driver) check(ctx context.Context, e traffic.Event) error {
	req := &sendgatev1.CheckSendRequest{Number: e.Number, ClientAddress: e.Client, Account: e.Account, Endpoint: e.Endpoint,
		Purpose: sendgatev1.Purpose(sendgatev1.Purpose_value["PURPOSE_"+strings.ToUpper(e.Purpose)])}
	v, err := d.client.CheckSend(ctx, req)
	if err != nil {
		return err
	}
	d.tally.add(&e, v)
	if d.seen != nil {
		d.seen(&e, v)
	}
	if v.Verdict == sendgatev1.Verdict_VERDICT_CHALLENGE && e.Label == traffic.Benign {
		req.ChallengePassed = true
		if v, err = d.client.CheckSend(ctx, req); err != nil {
			return err
		}
	}
	if v.Verdict == sendgatev1.Verdict_VERDICT_ALLOW {
		d.mu.Lock()
		if s := d.sent[e.ID]; s != nil {
			s.checkID = v.CheckId
		}
		d.mu.Unlock()
	}
	return nil
}

// outcome reports what became of a send, if it went out.
func (d *driver) outcome(ctx context.Context, e traffic.Event) error {
	d.mu.Lock()
	checkID, account := "", ""
	if s := d.sent[e.ID]; s != nil {
		checkID, account = s.checkID, s.account
	}
	d.mu.Unlock()
	if checkID == "" {
		return nil
	}
	_, err := d.client.ReportOutcome(ctx, &sendgatev1.ReportOutcomeRequest{CheckId: checkID, Account: account,
		Outcome: sendgatev1.Outcome(sendgatev1.Outcome_value["OUTCOME_"+strings.ToUpper(e.Outcome)])})
	if status.Code(err) == codes.FailedPrecondition {
		d.mu.Lock()
		d.late++
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
}

func (t *tally) add(e *traffic.Event, v *sendgatev1.CheckSendResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = make(map[string]*row)
	}
	r := t.rows[e.Label]
	if r == nil {
		r = new(row)
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
