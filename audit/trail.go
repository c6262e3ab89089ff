package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
)

// The two logs of a Trail, as folders.
const (
	ChangesDir = "changes"
	ChecksDir  = "checks"
)

// The kinds of records of a Trail. A refused check has that of its verdict: deny or challenge.
const (
	KindStart    = "start"
	KindStop     = "stop"
	KindAdmin    = "admin"  // a change by an operator
	KindReload   = "reload" // another policy is in force
	KindBlock    = "block"  // detection raised an alert, which most often is a block
	KindFeedback = "feedback"
	KindBudget   = "budget" // spent as far as its warn_at
	KindDeny     = "deny"
	KindAsk      = "challenge"
	KindAllow    = "allow"   // of numbers in the sample
	KindOutcome  = "outcome" // of numbers in the sample
	KindCounted  = "counted" // refusals beyond TrailOptions.Refusals, see Counted
)

// TrailOptions of OpenTrail.
type TrailOptions struct {
	// Dir holds both logs. Required.
	Dir string
	// Secret seals and veils. Required, 32 bytes or more.
	Secret []byte
	// Now is the gate's clock. Required.
	Now func() time.Time
	// Log is as in Options.
	Log *slog.Logger
	// AllowSample is the share of numbers, 0 to 1, of which what was allowed and its outcomes are kept too. 0 keeps refusals only.
	AllowSample float64
	// Refusals is how many of a second are written one by one, after a burst of half a minute's; those beyond are counted by reason and
	// account into one record a second. Those of numbers in the sample are always written. 0 writes all.
	Refusals float64
	// MaxSize, MaxAge, Keep and KeepSize are as in Options, for each of the two logs.
	MaxSize  int64
	MaxAge   time.Duration
	Keep     time.Duration
	KeepSize int64
}

// Trail is the audit log of a sidecar: an observer of its gate, and the writer of what operators change. Every method is safe for
// concurrent use, those of an observer from one goroutine.
type Trail struct {
	o                TrailOptions
	veil             *Veil
	flood            *flood
	changes, checks  *Log
	quit             chan struct{}
	watching         sync.WaitGroup
	closing          sync.Once
	closed           error
	lastAlert, lost0 uint64
}

// OpenTrail goes on with both logs, or begins them.
func OpenTrail(o TrailOptions) (*Trail, error) {
	veil, err := NewVeil(o.Secret)
	if err != nil {
		return nil, err
	}
	t := &Trail{o: o, veil: veil, flood: newFlood(o.Refusals), quit: make(chan struct{})}
	if t.changes, err = Open(o.log(ChangesDir)); err != nil {
		return nil, err
	}
	if t.checks, err = Open(o.log(ChecksDir)); err != nil {
		return nil, errors.Join(err, t.changes.Close())
	}
	return t, nil
}

func (o *TrailOptions) log(folder string) Options {
	return Options{Dir: filepath.Join(o.Dir, folder), Secret: o.Secret, Now: o.Now, Log: o.Log,
		MaxSize: o.MaxSize, MaxAge: o.MaxAge, Keep: o.Keep, KeepSize: o.KeepSize}
}

// Start records that a process begins its work, and follows what detection raises (nil for none) and what the gate's observers missed.
func (t *Trail) Start(about any, alerts func(after uint64) []detect.Alert, missed func() uint64) error {
	if err := t.changes.Append(KindStart, about); err != nil {
		return err
	}
	if alerts != nil { // those of an earlier life were recorded by it
		if old := alerts(0); len(old) > 0 {
			t.lastAlert = old[len(old)-1].Seq
		}
	}
	t.watching.Go(func() {
		tick := time.NewTicker(syncEvery)
		defer tick.Stop()
		for {
			select {
			case <-t.quit:
				t.follow(alerts, missed)
				return
			case <-tick.C:
				t.follow(alerts, missed)
			}
		}
	})
	return nil
}

func (t *Trail) follow(alerts func(uint64) []detect.Alert, missed func() uint64) {
	if missed != nil {
		if n := missed(); n > t.lost0 {
			t.checks.Missed(n - t.lost0)
			t.lost0 = n
		}
	}
	t.tellCounted()
	if alerts == nil {
		return
	}
	for _, a := range alerts(t.lastAlert) {
		t.lastAlert = a.Seq
		t.changes.Offer(time.Unix(0, a.At), KindBlock, t.alert(&a))
	}
}

// tellCounted writes what refusals were counted since.
func (t *Trail) tellCounted() {
	if c := t.flood.take(); c != nil && t.checks.Append(KindCounted, c) != nil {
		t.checks.Missed(c.Total())
	}
}

// Append records a change; it is on the disk when Append returns.
func (t *Trail) Append(kind string, body any) error { return t.changes.Append(kind, body) }

// Write records a change by an operator, one JSON object; it is on the disk when Write returns.
func (t *Trail) Write(object []byte) (int, error) {
	body := json.RawMessage(bytes.TrimSpace(object))
	if !json.Valid(body) {
		return 0, errors.New("audit: not a JSON object")
	}
	if err := t.changes.Append(KindAdmin, body); err != nil {
		return 0, err
	}
	return len(object), nil
}

// Stats are those of both logs, by folder.
func (t *Trail) Stats() map[string]Stats {
	return map[string]Stats{ChangesDir: t.changes.Stats(), ChecksDir: t.checks.Stats()}
}

// Close records the end and closes both logs.
func (t *Trail) Close() error {
	t.closing.Do(func() {
		close(t.quit)
		t.watching.Wait()
		t.tellCounted()
		t.closed = errors.Join(t.changes.Append(KindStop, struct {
			PID int `json:"pid"`
		}{os.Getpid()}), t.changes.Close(), t.checks.Close())
	})
	return t.closed
}

// Checked records a refusal, one by one or in the second's count, or a check of a number in the sample.
func (t *Trail) Checked(e *gate.Event) {
	v := &e.Verdict
	for _, w := range e.Warned {
		if w.First {
			t.changes.Offer(v.At, KindBudget, budget{w.Rule, w.Spent, w.Budget})
		}
	}
	kind := v.Kind.String()
	switch {
	case t.veil.sampled(e.Send.Number, t.o.AllowSample):
	case v.Kind == gate.Allow:
		return
	case !t.flood.pass(v.At):
		t.flood.count(refusal{kind, v.Reason, e.Send.Account})
		return
	}
	t.checks.Offer(v.At, kind, &check{veil: t.veil, Event: *e})
}

// Reported records an outcome of a number in the sample.
func (t *Trail) Reported(e *gate.Event) {
	if !t.veil.sampled(e.Send.Number, t.o.AllowSample) {
		return
	}
	r := e.Reported
	t.checks.Offer(r.OccurredAt, KindOutcome, Outcome{CheckID: e.Verdict.CheckID, Outcome: r.Outcome.String(),
		Number: t.veil.Number(e.Send.Number), Account: Clean(e.Send.Account), Detail: Clean(r.Detail)})
}

// FeedbackChanged records that outcomes stay away, or came back.
func (t *Trail) FeedbackChanged(e *gate.Event) {
	t.changes.Offer(e.Verdict.At, KindFeedback, struct {
		State string `json:"state"`
	}{e.Feedback.String()})
}

type budget struct {
	Rule   string `json:"rule"`
	Spent  int64  `json:"spent_millionths"`
	Budget int64  `json:"budget_millionths"`
}

// Check is the data of KindDeny, KindAsk and KindAllow. What is empty is left out.
type Check struct {
	CheckID    string   `json:"check_id"`
	Number     string   `json:"number"` // as Veil.Number
	Country    string   `json:"country,omitempty"`
	NumberType string   `json:"number_type,omitempty"`
	Client     string   `json:"client,omitempty"` // as Veil.Address
	Account    string   `json:"account,omitempty"`
	Subaccount string   `json:"subaccount,omitempty"`
	Endpoint   string   `json:"endpoint,omitempty"`
	Channel    string   `json:"channel,omitempty"`
	Purpose    string   `json:"purpose,omitempty"`
	Cost       int64    `json:"cost,omitempty"` // left out where it is 1
	KnownGood  bool     `json:"known_good,omitempty"`
	Passed     bool     `json:"challenge_passed,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Rule       string   `json:"rule,omitempty"`
	RetryMS    int64    `json:"retry_after_ms,omitempty"`
	Skipped    []string `json:"skipped,omitempty"` // rules whose fail mode let it pass
	Replayed   bool     `json:"replayed,omitempty"`
	Signals    []Signal `json:"signals,omitempty"`
	Policy     string   `json:"policy"`
}

// Signal is what detection saw.
type Signal struct {
	Kind      string  `json:"kind"`
	Subject   string  `json:"subject"`          // numbers in it are masked
	Number    string  `json:"number,omitempty"` // as Veil.Number, where it is about one
	Statistic float64 `json:"statistic"`
	Threshold float64 `json:"threshold"`
	Sessions  int     `json:"sessions"`
	Verified  int     `json:"verified"`
	Shadow    bool    `json:"shadow,omitempty"`
}

// Outcome is the data of KindOutcome.
type Outcome struct {
	CheckID string `json:"check_id"`
	Outcome string `json:"outcome"`
	Number  string `json:"number"`
	Account string `json:"account,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// check is an event that becomes a Check when it is written, off the goroutine that observes; see later.
type check struct {
	veil *Veil
	gate.Event
}

func (c *check) later() any {
	s, v := &c.Send, &c.Verdict
	out := Check{
		CheckID: v.CheckID, Number: c.veil.Number(s.Number), Country: s.Country, Client: c.veil.Address(s.Client),
		Account: Clean(s.Account), Subaccount: Clean(s.Subaccount), Endpoint: Clean(s.Endpoint), Channel: Clean(s.Channel), Purpose: s.Purpose,
		KnownGood: s.KnownGood, Passed: s.ChallengePassed, Reason: v.Reason, Rule: v.Rule, RetryMS: v.RetryAfter.Milliseconds(),
		Skipped: v.Skipped, Replayed: v.Replayed, Policy: v.PolicyVersion,
	}
	if s.NumberType != 0 {
		out.NumberType = s.NumberType.String()
	}
	if c.Cost != 1 {
		out.Cost = c.Cost
	}
	for i := range v.Signals {
		out.Signals = append(out.Signals, signalOf(c.veil, &v.Signals[i]))
	}
	return &out
}

func signalOf(veil *Veil, s *detect.Signal) Signal {
	out := Signal{Kind: s.Kind.String(), Subject: s.Subject.String(), Statistic: finite(s.Statistic), Threshold: finite(s.Threshold),
		Sessions: s.Sessions, Verified: s.Verified, Shadow: s.Shadow}
	if s.Subject.Scope == detect.ScopeNumber {
		if n, err := phone.FromDigits(s.Subject.Digits); err == nil {
			out.Number = veil.Number(n)
		}
	}
	if p := s.Subject.Prefix(); p.IsValid() { // an address stands for a person; the bits of the veil that are shared stay so
		out.Subject = fmt.Sprintf("%s/%d", veil.Address(p.Addr()), p.Bits())
	}
	return out
}

// alert is the data of KindBlock.
func (t *Trail) alert(a *detect.Alert) any {
	if a.Text != "" {
		return struct {
			Text string `json:"text"`
		}{Clean(a.Text)}
	}
	s := signalOf(t.veil, &a.Signal)
	return &s
}

// finite is f as JSON can have it.
func finite(f float64) float64 { return max(-math.MaxFloat64, min(f, math.MaxFloat64)) }
