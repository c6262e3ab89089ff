package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// book is a log in memory: what a store has, in order.
type book struct {
	entries [][]byte
	from    int // what was before is gone
	away    bool
	lose    bool // appends, and answers nothing
}

func (b *book) End(context.Context) (string, error) {
	if b.away {
		return "", errors.New("away")
	}
	return fmt.Sprint(len(b.entries)), nil
}

func (b *book) Exchange(_ context.Context, entries [][]byte, after string, got func(string, []byte)) (n int, err error) {
	if b.away {
		return 0, errors.New("away")
	}
	b.entries = append(b.entries, entries...)
	if b.lose {
		return 0, errors.New("the answer is lost")
	}
	var at int
	if _, err := fmt.Sscan(after, &at); err != nil {
		return 0, err
	}
	for at = max(at, b.from); at < len(b.entries) && n < readAtOnce; at++ {
		n++
		got(fmt.Sprint(at+1), b.entries[at])
	}
	return n, nil
}

type one struct {
	*gate.Gate
	*Evidence
	engine *detect.Engine
}

var start = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

func newOne(t *testing.T, b *book) *one {
	t.Helper()
	secret := make([]byte, gate.SecretSize)
	e, err := NewEvidence(b, secret, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	table, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := detect.New(detect.Options{Size: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(t.Context(), gate.Options{Policy: policy.Default(), Store: table, Detect: engine, Clock: func() time.Time { return start }, Secret: secret, Peers: e})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close(); engine.Close(); table.Close() })
	return &one{g, e, engine}
}

// exchange lets each in turn tell and hear.
func exchange(t *testing.T, all ...*one) {
	t.Helper()
	for _, o := range all {
		if err := o.Exchange(t.Context(), o.Gate); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *one) send(i int) *gate.Sighting {
	return &gate.Sighting{What: gate.SightWent, Send: detect.Send{ID: uint64(i) + 1, At: start.Add(time.Duration(i) * time.Second).UnixNano(), Number: 6581000000 + uint64(i)*7919,
		Country: detect.CountryOf("SG"), Client: netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})}}
}

// TestEvidence_faults: nothing is learned twice, what is lost is counted, and what waits is bounded.
func TestEvidence_faults(t *testing.T) {
	var b book
	x, y := newOne(t, &b), newOne(t, &b)
	exchange(t, x, y)
	tell := func(n int) {
		for i := range n {
			x.Saw(x.send(i), true)
		}
	}
	learned := func(want int64) {
		t.Helper()
		exchange(t, y)
		if got := y.Evidence.Stats().Learned; got != want {
			t.Errorf("learned %d, want %d: %+v", got, want, y.Evidence.Stats())
		}
	}
	tell(10)
	exchange(t, x)
	learned(10)

	b.lose = true // it is there, and nobody knows
	tell(10)
	if err := x.Exchange(t.Context(), x.Gate); err == nil {
		t.Error("a lost answer is an answer")
	}
	b.lose = false
	learned(20)
	exchange(t, x, y)
	learned(20)

	tell(5)
	exchange(t, x)
	b.from = len(b.entries) // trimmed before it was read
	tell(5)
	exchange(t, x)
	learned(25)
	if got := y.Evidence.Stats().Lost; got != 1 {
		t.Errorf("%d batches lost, want 1", got)
	}

	b.entries = append(b.entries, []byte("something else"))
	learned(25)
	if got := y.Evidence.Stats().Refused; got != 1 {
		t.Errorf("%d refused, want 1", got)
	}

	b.away = true
	const most = waiting * batchSize / 25
	tell(most)
	if st := x.Evidence.Stats(); st.Dropped == 0 || st.Dropped > most/2 {
		t.Errorf("%+v", st)
	}
	b.away = false
	exchange(t, x, x, x, x, x, y)
	if st := y.Evidence.Stats(); st.Learned != x.Evidence.Stats().Told-5-x.Evidence.Stats().Dropped || st.Refused != 1 || st.Lost != 1 {
		t.Errorf("heard %+v of %+v", st, x.Evidence.Stats())
	}
}

// TestEvidence_earlyOutcome: an outcome that is faster than its send waits for it, and not for ever.
func TestEvidence_earlyOutcome(t *testing.T) {
	var b book
	x, y := newOne(t, &b), newOne(t, &b)
	exchange(t, x, y)
	outcome := func(id uint64) {
		s := &gate.Sighting{What: gate.SightOutcome, Send: detect.Send{ID: id, At: start.UnixNano()}, Outcome: detect.Verified}
		y.Saw(s, y.Learn(s))
	}
	x.Saw(x.send(0), true)
	if r := x.engine.Observe(&x.send(0).Send); r.Advice.Stops() {
		t.Fatal(r)
	}
	outcome(1)
	outcome(99)
	exchange(t, y)
	if y.engine.Outcome(start.UnixNano(), 1, detect.Delivered) {
		t.Fatal("the send is known already")
	}
	exchange(t, x, y)
	if !y.engine.Outcome(start.UnixNano(), 1, detect.Delivered) || y.Evidence.Stats().Unlearned != 0 {
		t.Errorf("%+v", y.Evidence.Stats())
	}
	for range unlearnedFor {
		exchange(t, y)
	}
	if st := y.Evidence.Stats(); st.Unlearned != 1 {
		t.Errorf("of two outcomes %d were given up: %+v", st.Unlearned, st)
	}
}

// TestEvidence_release: a block that is ended by hand ends everywhere.
func TestEvidence_release(t *testing.T) {
	var b book
	x, y := newOne(t, &b), newOne(t, &b)
	exchange(t, x, y)
	flood := func(o *one) {
		for i := range 12 {
			s := o.send(i)
			s.Send.Number, s.Send.At = 6581234567, start.Add(time.Duration(i-12)*time.Minute*10).UnixNano()
			s.Send.Client = netip.AddrFrom4([4]byte{20, byte(i), 1, 1})
			o.engine.Observe(&s.Send)
		}
	}
	flood(x)
	flood(y)
	blocks := func(o *one) []detect.Block { return o.engine.Blocks(start.UnixNano()) }
	if len(blocks(x)) != 1 || len(blocks(y)) != 1 {
		t.Fatalf("%v, %v", blocks(x), blocks(y))
	}
	if !x.Release(blocks(x)[0].ID) {
		t.Fatal("not released")
	}
	exchange(t, x, y)
	if len(blocks(x)) != 0 || len(blocks(y)) != 0 {
		t.Errorf("%v, %v", blocks(x), blocks(y))
	}
	if x.Release(12345) {
		t.Error("released what is not there")
	}
}
