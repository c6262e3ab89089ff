package alert

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// Options of New.
type Options struct {
	// Source returns the alerts after a sequence number, oldest first, as [detect.Engine.Alerts] does. Required.
	Source func(after uint64) []detect.Alert
	// Now is the clock that alerts are stamped by. Required.
	Now func() time.Time
	// Log gets every notice. Required.
	Log *slog.Logger
	// Webhook gets every notice too. Default none.
	Webhook *Webhook
	// DeadLetter is the file that gets what could not be delivered. Default none: it is logged and lost.
	DeadLetter string
	// Every is how often the source is asked: what comes within it is put together. Default 10s.
	Every time.Duration
	// Silence is how long nothing is told of what was told. Default 1h.
	Silence time.Duration
}

// Teller tells operators.
type Teller struct {
	Options
	groups groups
	after  uint64
	queue  chan letter
	dead   *deadLetters
}

// letter is a message on its way.
type letter struct {
	id   string
	body []byte
}

// queued is how many messages wait for a webhook at most; what comes beyond is a dead letter at once.
const queued = 256

// tries are the pauses before each try of a message. Each is lengthened or shortened by up to a tenth, so that many sidecars do not
// ask in step.
var tries = []time.Duration{0, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}

// New makes a teller. Nothing happens before Run.
func New(o Options) (*Teller, error) {
	if o.Source == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("alert: Options.Source, Now and Log are required")
	}
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	if o.Silence == 0 {
		o.Silence = time.Hour
	}
	if o.Every < 0 || o.Silence < 0 {
		return nil, errors.New("alert: Options.Every and Silence: write times above 0")
	}
	return &Teller{Options: o, groups: groups{silence: o.Silence, told: make(map[[2]string]*told)}, queue: make(chan letter, queued),
		dead: &deadLetters{path: o.DeadLetter}}, nil
}

// Run tells until ctx ends. Messages that are not delivered by then are dead letters.
func (t *Teller) Run(ctx context.Context) {
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		t.deliver(ctx)
	}()
	tick := time.NewTicker(t.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.ask() // what was seen last is told too
			close(t.queue)
			<-delivered
			return
		case <-tick.C:
			t.ask()
		}
	}
}

// ask tells what is new.
func (t *Teller) ask() {
	alerts := t.Source(t.after)
	if len(alerts) > 0 {
		t.after = alerts[len(alerts)-1].Seq
	}
	for _, n := range t.groups.add(alerts, t.Now()) {
		t.Log.Warn("detection: "+n.String(), "kind", n.Kind, "about", n.About, "alerts", n.Count, "again", n.Again)
		if t.Webhook == nil {
			continue
		}
		l, err := newLetter(n, t.Now())
		if err != nil {
			t.Log.Error("an alert cannot be written", "error", err)
			continue
		}
		select {
		case t.queue <- l:
		default:
			t.bury(l, errors.New("too many messages wait for the webhook"))
		}
	}
}

// newLetter is a notice as Standard Webhooks have messages.
func newLetter(n *Notice, at time.Time) (letter, error) {
	body, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      *Notice   `json:"data"`
	}{"detection.alert", at.UTC(), n})
	return letter{"msg_" + rand.Text(), body}, err
}

// lastWords is how long a process that ends goes on delivering. Each message gets one more try within it.
const lastWords = 10 * time.Second

// deliver posts messages one after the other, each until it is taken or given up.
func (t *Teller) deliver(ctx context.Context) {
	posting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cut) })()
	for l := range t.queue {
		if err := t.try(ctx, posting, l); err != nil {
			t.bury(l, err)
		}
	}
}

// try posts a message until it is taken. It returns the last error when it is given up, as it is when ctx has ended.
func (t *Teller) try(ctx, posting context.Context, l letter) error {
	var last error
	for i, pause := range tries {
		var r *refused
		if errors.As(last, &r) {
			if r.gone() {
				return last
			}
			pause = max(pause, r.after)
		}
		if i > 0 {
			pause += time.Duration((mathrand.Float64()*.2 - .1) * float64(pause))
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return errors.Join(errors.New("the process ended before it was delivered"), last)
			}
		}
		if last = t.Webhook.post(posting, l.id, t.Now(), l.body); last == nil {
			return nil
		}
		t.Log.Warn("an alert was not delivered", "id", l.id, "try", i+1, "of", len(tries), "error", last)
	}
	return last
}

func (t *Teller) bury(l letter, why error) {
	err := t.dead.add(t.Now(), l, why)
	t.Log.Error("an alert is given up", "id", l.id, "reason", why, "kept_in", t.DeadLetter)
	if err != nil {
		t.Log.Error("a dead letter cannot be kept", "id", l.id, "error", err)
	}
}

func sortByFirst(all []*Notice) {
	slices.SortStableFunc(all, func(a, b *Notice) int { return a.First.Compare(b.First) })
}
