package replay_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/prices"
	"github.com/sendgate/sendgate/internal/replay"
	"github.com/sendgate/sendgate/internal/traffic"
	"github.com/sendgate/sendgate/policy"
)

// day is a log of our own with an attack.
func day(t testing.TB, sessions int) []byte {
	t.Helper()
	a, err := traffic.ParseAttack("ait_range:at=9h:for=45m")
	if err != nil {
		t.Fatal(err)
	}
	s, err := traffic.New(traffic.Options{Seed: 3, Length: 12 * time.Hour, Sessions: sessions, Attacks: []traffic.Attack{a}})
	if err != nil {
		t.Fatal(err)
	}
	var log []byte
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		log = e.AppendJSON(log)
	}
	return log
}

// both replays a log by two policies and returns the page, the verdicts and the difference.
func both(t testing.TB, log []byte) (page, verdicts string, d *replay.Difference, a, b *replay.Replayer) {
	t.Helper()
	table, err := prices.Parse("prices", []byte("prefix,price,currency\n65,0.04,USD\n62,0.30,USD\n60,0.10,USD\n44,0.05,USD\n998,0.28,USD\n"))
	if err != nil {
		t.Fatal(err)
	}
	open := func(src string) *replay.Replayer {
		p, err := policy.Parse("p.yaml", []byte("version: 1\n"+src))
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay.New(t.Context(), replay.Options{Policy: p, TableSize: 16 << 20, DetectSize: 16 << 20, Prices: table, Summarize: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	a = open(`detect: {level: "off"}` + "\nlimits: [{name: number, by: [number], limit: 3, window: 30m, candidates: [{limit: 1}]}]")
	b = open("limits: [{name: number, by: [number], limit: 2, window: 30m}]\ndetect: {victim_flood: {mode: shadow}}")
	d = replay.NewDifference()
	var out, html bytes.Buffer
	lines, err := a.Run(t.Context(), bytes.NewReader(log), &out, replay.RunOptions{Strict: true, Beside: b, Difference: d})
	if err != nil {
		t.Fatal(err)
	}
	p := replay.Page{Log: "day.jsonl", Currency: "USD", Lines: lines, A: a, B: b, Difference: d}
	if err := p.Write(&html); err != nil {
		t.Fatal(err)
	}
	return html.String(), out.String(), d, a, b
}

// The same log gives the same bytes, verdicts and report, on one core and on two.
func TestRun_isRepeatable(t *testing.T) {
	log := day(t, 4000)
	sum := func(procs int) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		page, verdicts, _, _, _ := both(t, log)
		return fmt.Sprintf("%x %x", sha256.Sum256([]byte(page)), sha256.Sum256([]byte(verdicts)))
	}
	if one, two, again := sum(1), sum(2), sum(1); one != two || one != again {
		t.Errorf("on one core %s, on two %s, again %s", one, two, again)
	}
}

// What is told of the difference adds up, and both sides are each what they are alone.
func TestCompare(t *testing.T) {
	log := day(t, 3000)
	page, verdicts, d, a, b := both(t, log)
	var all, more, less int64
	for _, from := range []replay.Word{replay.Allowed, replay.Flagged, replay.Challenged, replay.Denied} {
		for _, to := range []replay.Word{replay.Allowed, replay.Flagged, replay.Challenged, replay.Denied} {
			n := d.Moves[from][to].Sends
			all += n
			if from.Stops() != to.Stops() {
				if to.Stops() {
					more += n
				} else {
					less += n
				}
			}
		}
	}
	sa, sb := a.Summary(), b.Summary()
	at, bt := sa.Total.Stopped(), sb.Total.Stopped()
	if all != int64(a.Counts.Sends) || d.Only(true).Sends != more || d.Only(false).Sends != less || bt.Sends-at.Sends != more-less || more == 0 {
		t.Errorf("%d of %d sends, %d more, %d less, from %d to %d stopped", all, a.Counts.Sends, more, less, at.Sends, bt.Sends)
	}
	if strings.Count(verdicts, "\n") != a.Counts.Sends {
		t.Error("a verdict is missing")
	}
	if at.Verified == 0 || at.Money == 0 || len(sa.Countries) < 3 || len(sb.Ranges(5)) == 0 || len(sa.Buckets) == 0 {
		t.Errorf("the summary lacks something: %+v", at)
	}
	for _, want := range []string{"The difference", "limit:number", "ait_range", "number~1", "USD", "<svg", "prefers-color-scheme: dark"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", "<link", "@import"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q: it must need nothing else", never)
		}
	}
}

// endless repeats a log, later each time, until it has given so many bytes.
type endless struct {
	line func(i int) []byte
	i, n int
	left []byte
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.left) == 0 {
		if e.i++; e.i > e.n {
			return 0, io.EOF
		}
		e.left = e.line(e.i)
	}
	n := copy(b, e.left)
	e.left = e.left[n:]
	return n, nil
}

// What a replay keeps on the heap does not grow with the log.
func TestRun_memoryIsBounded(t *testing.T) {
	heap := func(sends int) uint64 {
		p, err := policy.Parse("p.yaml", []byte(`{version: 1, detect: {level: "off"}, limits: [{name: number, by: [number], limit: 1, window: 30m}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay.New(t.Context(), replay.Options{Policy: p, TableSize: 1 << 20, Summarize: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		log := &endless{n: sends, line: func(i int) []byte {
			return fmt.Appendf(nil, `{"t":%q,"type":"send","id":"%d","msisdn":"+6281%08d","ip":"10.%d.%d.%d","account":"a%d"}`+"\n",
				start.Add(time.Duration(i)*50*time.Millisecond).Format(time.RFC3339Nano), i, i/2*7919%100_000_000, i>>16&255, i>>8&255, i&255, i%5000)
		}}
		if _, err := r.Run(t.Context(), log, io.Discard, replay.RunOptions{Strict: true}); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		runtime.KeepAlive(r)
		return m.HeapAlloc
	}
	n := 30_000
	if small, large := heap(n), heap(8*n); large > 200<<20 || large > small+160<<20 {
		t.Errorf("%d sends keep %d MiB, %d keep %d", n, small>>20, 8*n, large>>20)
	}
}
