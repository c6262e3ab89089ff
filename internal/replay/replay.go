package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/report"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Options of New.
type Options struct {
	// Policy judges. Default policy.Default().
	Policy *policy.Policy
	// TableSize is the memory for counters, in bytes. Default DefaultTable. Full says whether it was too small.
	TableSize int64
	// DetectSize is the memory of detection, in bytes. Default detect.DefaultSize.
	DetectSize int64
	// Prices are what messages cost. Required where the policy has budgets.
	Prices *prices.Table
	// Summarize keeps a Summary.
	Summarize bool
}

// DefaultTable fits half a million numbers under the built-in policy. More memory takes longer to touch than to use.
const DefaultTable = 64 << 20

// Replayer judges one log, line by line. It belongs to one goroutine.
type Replayer struct {
	gate    *gate.Gate
	store   limiter.Store
	detect  *detect.Engine
	now     time.Time
	event   event
	sent    *sent
	words   map[string]string
	alerted uint64 // the last alert that was told
	last    judged // the last send
	prices  *prices.Table
	book    *report.Book
	shadow  *detect.Engine // nil where no detector is in shadow
	summary *Summary
	Counts  Counts
}

// Counts of a replay.
type Counts struct {
	Sends, Outcomes int
	// Unheard outcomes are of sends that were denied, are not in the log, or are forgotten.
	Unheard int
	// Invalid sends are those that the sidecar would have refused to judge, such as an impossible number.
	Invalid int
	// By verdict word.
	Allowed, Flagged, Challenged, Denied int
}

// New makes a replayer. Close frees its memory.
func New(ctx context.Context, o Options) (*Replayer, error) {
	r := &Replayer{now: time.Unix(0, 0), sent: newSent(), words: make(map[string]string), prices: o.Prices, book: report.New()}
	if o.Summarize {
		r.summary = newSummary()
	}
	store, err := limiter.Open(limiter.Options{Size: cmp.Or(o.TableSize, DefaultTable)})
	if err != nil {
		return nil, err
	}
	r.store = store
	if r.detect, err = detect.New(detect.Options{Size: o.DetectSize, Seed: 1}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.gate, err = gate.New(ctx, gate.Options{Policy: o.Policy, Store: repeatable{store}, Detect: r.detect,
		Prices: o.Prices, Report: r.book,
		Clock: func() time.Time { return r.now }, Secret: make([]byte, gate.SecretSize),
		OpenShadowDetect: func() (engine *detect.Engine, err error) {
			r.shadow, err = detect.New(detect.Options{Size: o.DetectSize, Seed: 1})
			return r.shadow, err
		}})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close frees the memory.
func (r *Replayer) Close() error {
	var err error
	if r.gate != nil {
		r.gate.Close()
	}
	if r.detect != nil {
		err = r.detect.Close()
	}
	if r.shadow != nil {
		err = errors.Join(err, r.shadow.Close())
	}
	return errors.Join(err, r.store.Close())
}

// LineError is returned for a line that is no event. It does not repeat the line.
type LineError struct{ Err error }

func (e *LineError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// Line judges a line and appends the verdict line to out where it was a send. A *LineError is about the line alone; after any
// other error the replayer is of no use.
func (r *Replayer) Line(ctx context.Context, line, out []byte) ([]byte, error) {
	e := &r.event
	if err := e.parse(line); err != nil {
		return out, &LineError{err}
	}
	return r.judge(ctx, e, out)
}

// Summary is what the replay came to so far; nil where Options did not ask for one.
func (r *Replayer) Summary() *Summary { return r.summary }

// Shadow is what rules in shadow, and candidates, would have done.
func (r *Replayer) Shadow() []report.Entry { return r.book.Entries(time.Time{}) }

// Policy is the one that judges.
func (r *Replayer) Policy() *policy.Policy { return r.gate.Policy() }

// Full is how many charges found no room in the table.
func (r *Replayer) Full() int64 {
	s := r.store.Stats()
	return s.FullOpen + s.FullClosed
}

func (r *Replayer) judge(ctx context.Context, e *event, out []byte) ([]byte, error) {
	if e.at.After(r.now) {
		r.now = e.at
	}
	if string(e.kind) == "outcome" {
		return out, r.outcome(ctx, e)
	}
	return r.send(ctx, e, out)
}

// outcome reports what became of a send. A wrong code may be reported for each try, and what became of a challenged send though
// nobody asked again: detection hears of these, nothing else does.
func (r *Replayer) outcome(ctx context.Context, e *event) error {
	kind, ok := detect.ParseOutcome(string(e.outcome))
	if !ok {
		return &LineError{errors.New("outcome: write verified, failed, expired, delivered, undelivered or not_sent")}
	}
	r.Counts.Outcomes++
	if r.summary != nil && kind == detect.Verified {
		r.summary.verified(hash(e.id))
	}
	w, ok := r.sent.find(hash(e.id))
	if !ok {
		r.Counts.Unheard++
		return nil
	}
	if !w.challenged {
		counted, err := r.gate.Report(ctx, &gate.Report{CheckID: w.checkID, Outcome: outcomes[kind], Account: w.account})
		var refused *gate.RefusedError
		switch {
		case errors.As(err, &refused):
		case err != nil:
			return fmt.Errorf("report an outcome: %w", err)
		case counted == gate.News:
			return nil
		}
		if kind != detect.Failed {
			r.Counts.Unheard++
			return nil
		}
	}
	if !r.gate.DetectOutcome(w.checkID, r.now, kind) {
		r.Counts.Unheard++
	}
	return nil
}

// outcomes are the gate's words for detection's.
var outcomes = [...]gate.Outcome{detect.Verified: gate.Verified, detect.Failed: gate.Failed, detect.Expired: gate.Expired,
	detect.Delivered: gate.Delivered, detect.Undelivered: gate.Undelivered, detect.NotSent: gate.NotSent}

func (r *Replayer) send(ctx context.Context, e *event, out []byte) ([]byte, error) {
	r.Counts.Sends++
	v, err := r.gate.Check(ctx, &gate.Request{
		Number: string(e.number), ClientAddress: string(e.client), Account: r.word(e.account), Subaccount: r.word(e.subaccount),
		Endpoint: r.word(e.endpoint), Channel: r.word(e.channel), Purpose: r.word(e.purpose), Cost: e.cost,
		ChallengePassed: e.challengePassed, Caller: gate.Caller{Trusted: true},
	})
	var invalid *gate.InvalidError
	switch {
	case errors.As(err, &invalid):
		r.Counts.Invalid++
		v = gate.Verdict{Kind: gate.Deny, Reason: "invalid:" + invalid.Violations[0].Field}
	case err != nil:
		return out, fmt.Errorf("judge a send: %w", err)
	}
	if v.Kind == gate.Deny {
		r.sent.drop(hash(e.id))
	} else {
		r.sent.add(hash(e.id), went{v.CheckID, r.word(e.account), v.Kind == gate.Challenge})
	}
	out, word := r.write(out, e.id, &v)
	r.last = judged{id: hash(e.id), stop: stop{cause: Cause{word, v.Reason}, account: r.word(e.account), at: e.at}}
	if r.summary != nil {
		r.describe(e)
		r.summary.send(&r.last)
	}
	return out, nil
}

// describe adds what is told of a send beside its verdict. Country and range are those of the number, where it is one.
func (r *Replayer) describe(e *event) {
	number, err := phone.Parse(string(e.number), r.gate.Policy().Numbers.DefaultRegion)
	if err != nil {
		return
	}
	r.last.stop.country, r.last.stop.area = number.Country(), number.Digits()/10_000
	if r.prices != nil {
		if money, err := r.prices.Cost(number.Digits(), e.cost); err == nil {
			r.last.stop.money = money
		}
	}
}

// write appends the line of a verdict.
func (r *Replayer) write(out, id []byte, v *gate.Verdict) ([]byte, Word) {
	verdict, rule := Allowed, ""
	c := &r.Counts
	switch {
	case v.Kind == gate.Deny:
		verdict, rule = Denied, v.Rule
		c.Denied++
	case v.Kind == gate.Challenge:
		verdict, rule = Challenged, v.Rule
		c.Challenged++
	case v.ByDetection():
		verdict = Flagged
		c.Flagged++
	default:
		c.Allowed++
	}
	out = appendText(append(out, `{"id":`...), string(id))
	out = append(append(append(out, `,"verdict":"`...), verdict.String()...), `","reason":`...)
	out = appendText(out, v.Reason)
	out = appendText(append(out, `,"rule":`...), rule)
	out = append(out, `,"retry_after_ms":`...)
	out = strconv.AppendInt(out, int64((v.RetryAfter+time.Millisecond-1)/time.Millisecond), 10)
	return append(out, "}\n"...), verdict
}

// word returns one string for all equal texts, so that the few names a log repeats are not allocated again and again.
func (r *Replayer) word(b []byte) string {
	if w, ok := r.words[string(b)]; ok {
		return w
	}
	if len(r.words) >= 4096 {
		clear(r.words)
	}
	w := string(b)
	r.words[w] = w
	return w
}
